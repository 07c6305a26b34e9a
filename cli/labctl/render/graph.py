"""A lab as a graph: what the pictures show, and its text as Mermaid and as DOT."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from labctl.model.lab import Domain, Lab, Network, Node, Volume

PALETTE = ("#2f7ed8", "#d9822b", "#3d9970", "#b5489a", "#c94c4c", "#7a5cc9", "#2a9da5", "#8a7a2f")
"""Colours of networks in their order; each can be read on white and on black."""

_UNITS: Mapping[str, int] = MappingProxyType({"TiB": 2**40, "GiB": 2**30, "MiB": 2**20, "KiB": 2**10})


@dataclass(frozen=True, slots=True)
class Use:
    """A node's use of a volume: where it appears in the node (`device`: as a block device)."""

    node: str
    volume: str
    target: str
    read_only: bool = False
    device: bool = False

    @property
    def words(self) -> str:
        """``/srv/home (ro)``."""
        target = printable(self.target)
        return f"{target} (ro)" if self.read_only else target


@dataclass(frozen=True, slots=True)
class Wait:
    """`node` starts when `target` has reached `condition`."""

    node: str
    target: str
    condition: str


def uses(lab: Lab) -> list[Use]:
    """All uses of the lab's volumes, in the order of the file."""
    return [
        use
        for node in lab.nodes.values()
        for use in (
            *(Use(node.name, m.volume, m.target, read_only=m.read_only) for m in node.mounts if m.volume),
            *(Use(node.name, device.volume, device.target, device=True) for device in node.devices),
        )
    ]


def waits(lab: Lab) -> list[Wait]:
    """All of `depends_on`, in the order of the file."""
    return [Wait(node.name, each.node, each.condition) for node in lab.nodes.values() for each in node.depends_on]


def what(node: Node) -> str:
    """What the node is made from: its image or box, and that it is a virtual machine."""
    made_from = printable(node.image or node.box or "")
    return f"{made_from} · VM" if node.provider == "vagrant" else made_from


def network_words(network: Network) -> str:
    """The network's subnet, and that it is internal."""
    words = [str(network.subnet) if network.subnet else "", "internal" if network.internal else ""]
    return " · ".join(word for word in words if word)


def volume_words(volume: Volume) -> str:
    """The volume's type and size: ``iscsi 1 GiB``."""
    return f"{volume.type} {_size(volume.size)}" if volume.size else volume.type


def domain_words(domain: Domain) -> str:
    """The domain with its kind: ``rack rack-a1``."""
    if domain.kind and domain.kind not in domain.name:
        return f"{printable(domain.kind)} {domain.name}"
    return domain.name


def printable(text: str) -> str:
    """`text` with spaces for control characters: no picture shows them, and a terminal would obey them."""
    return "".join(character if character.isprintable() else " " for character in text)


def _size(size: int) -> str:
    for unit, factor in _UNITS.items():
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} B"


# ---------------------------------------------------------------- Mermaid


def mermaid(lab: Lab) -> str:
    """The lab as a Mermaid flowchart."""
    lines = ["flowchart TB"]
    lines += [
        f"  {_id('net', network.name)}([{_quoted(network.name, network_words(network))}])"
        for network in lab.networks.values()
    ]
    lines += _grouped(
        lab,
        _mermaid_node,
        lambda domain: (f"subgraph {_id('dom', domain.name)}[{_quoted(domain_words(domain))}]", "end"),
    )
    for volume in lab.volumes.values():
        lines.append(f"  {_id('vol', volume.name)}[({_quoted(volume.name, volume_words(volume))})]")
    for node in lab.nodes.values():
        for network_name, address in node.interfaces.items():
            label = f"|{_quoted(str(address))}|" if address else ""
            lines.append(f"  {_id('net', network_name)} ---{label} {_id('node', node.name)}")
    for volume in lab.volumes.values():
        if volume.server:
            lines.append(f"  {_id('node', volume.server)} == serves ==> {_id('vol', volume.name)}")
    for use in uses(lab):
        lines.append(f"  {_id('vol', use.volume)} -->|{_quoted(use.words)}| {_id('node', use.node)}")
    for wait in waits(lab):
        lines.append(f"  {_id('node', wait.node)} -. {wait.condition} .-> {_id('node', wait.target)}")
    for place, network in enumerate(lab.networks.values()):
        colour = PALETTE[place % len(PALETTE)]
        lines.append(f"  style {_id('net', network.name)} fill:{colour},stroke:{colour},color:#fff")
    return "\n".join(lines) + "\n"


def _mermaid_node(node: Node) -> str:
    return f"{_id('node', node.name)}[{_quoted(node.name, what(node), _desktop(node))}]"


def _quoted(*parts: str) -> str:
    """The parts as lines of one quoted label; what Mermaid would read as markup is spelled by number."""
    safe = (re.sub(r'[#"<>&`\\]', lambda match: f"#{ord(match[0])};", part) for part in parts if part)
    return '"' + "<br/>".join(safe) + '"'


# ---------------------------------------------------------------- DOT


def dot(lab: Lab) -> str:
    """The lab as a DOT graph."""
    lines = [
        f"digraph {_dot_text(lab.name)} {{",
        '  graph [rankdir=TB, ranksep=0.7, nodesep=0.35, fontname="Helvetica", compound=true];',
        '  node [shape=box, style="rounded", fontname="Helvetica", fontsize=11];',
        '  edge [fontname="Helvetica", fontsize=9];',
    ]
    for place, network in enumerate(lab.networks.values()):
        label = _dot_text(network.name, network_words(network))
        colour = PALETTE[place % len(PALETTE)]
        shape = f'style="rounded,filled", color="{colour}", fillcolor="{colour}", fontcolor=white, width=3'
        lines.append(f"  {_id('net', network.name)} [label={label}, {shape}];")
    lines += _grouped(
        lab,
        _dot_node,
        lambda domain: (
            f"subgraph cluster_{_id('dom', domain.name)} {{ label={_dot_text(domain_words(domain))}; style=rounded;",
            "}",
        ),
    )
    for volume in lab.volumes.values():
        lines.append(
            f"  {_id('vol', volume.name)} [label={_dot_text(volume.name, volume_words(volume))}, shape=cylinder];"
        )
    networks = list(lab.networks)
    for node in lab.nodes.values():
        for network_name, address in node.interfaces.items():
            colour = PALETTE[networks.index(network_name) % len(PALETTE)]
            label = f", label={_dot_text(str(address))}" if address else ""
            lines.append(
                f'  {_id("net", network_name)} -> {_id("node", node.name)} [dir=none, color="{colour}"{label}];'
            )
    for volume in lab.volumes.values():
        if volume.server:
            lines.append(f'  {_id("node", volume.server)} -> {_id("vol", volume.name)} [penwidth=2, label="serves"];')
    for use in uses(lab):
        lines.append(f"  {_id('vol', use.volume)} -> {_id('node', use.node)} [label={_dot_text(use.words)}];")
    for wait in waits(lab):
        label = _dot_text(wait.condition)
        edge = f"{_id('node', wait.node)} -> {_id('node', wait.target)}"
        lines.append(f"  {edge} [style=dashed, constraint=false, label={label}];")
    return "\n".join([*lines, "}"]) + "\n"


def _dot_node(node: Node) -> str:
    return f"{_id('node', node.name)} [label={_dot_text(node.name, what(node), _desktop(node))}];"


def _dot_text(*parts: str) -> str:
    safe = (part.replace("\\", "\\\\").replace('"', '\\"') for part in parts if part)
    return '"' + "\\n".join(safe) + '"'


# ---------------------------------------------------------------- both


def _id(kind: str, name: str) -> str:
    """An identifier that every syntax takes; names are DNS labels, so that it stays unique."""
    return f"{kind}_{name.replace('-', '_')}"


def _desktop(node: Node) -> str:
    return f"desktop {node.desktop.width}x{node.desktop.height}" if node.desktop else ""


def _grouped(lab: Lab, draw: Callable[[Node], str], frame: Callable[[Domain], tuple[str, str]]) -> list[str]:
    """The nodes as lines, inside the frames of their domains; domains without nodes are left out."""

    def inside(parent: str | None, depth: int) -> list[str]:
        space = "  " * depth
        lines = [space + draw(node) for node in lab.nodes.values() if node.domain == parent]
        for domain in lab.domains.values():
            if domain.parent == parent and (within := inside(domain.name, depth + 1)):
                head, foot = frame(domain)
                lines += [space + head, *within, space + foot]
        return lines

    return inside(None, 1)
