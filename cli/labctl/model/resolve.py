"""A topology becomes a lab: counts expanded, short forms spelled out, and everything checked that values mean together.

Pure: what the file refers to outside itself comes through a `Reader`. `defaults` have been merged under the nodes
before (`source.tree.with_defaults`), where it is still known which line each value came from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from labctl.errors import KeyPath, Problem
from labctl.model.draft import Draft, Reader
from labctl.model.lab import Lab, Node, Volume
from labctl.model.ports import same_socket
from labctl.model.resolve_checks import checks, domains, scenarios
from labctl.model.resolve_network import address_clashes, networks, reachable
from labctl.model.resolve_node import node
from labctl.model.resolve_order import cycles, dependencies
from labctl.model.resolve_storage import sharing, volumes
from labctl.model.scalars import NAME_LIMIT, parse_duration
from labctl.model.topology import Topology

_RESERVED = frozenset({"all", "localhost"})


def resolve(
    topology: Topology,
    directory: Path,
    *,
    reader: Reader,
    boxes: Collection[str] = (),
    broken: Collection[KeyPath] = (),
) -> tuple[Lab | None, list[Problem]]:
    """The lab that `topology` describes, or all that is wrong with it.

    `directory` is where the file lies; `boxes` are the known operating systems (empty: any name will do); `broken` are
    paths that were wrong by themselves and left out of `topology`, so that nothing is concluded from their absence.
    """
    draft = Draft(topology, directory, reader, boxes, frozenset(broken))
    _names(draft)
    if topology.ttl is not None and parse_duration(topology.ttl) <= 0:
        draft.add(("ttl",), "a lab needs time to live: more than 0s")
    all_networks = networks(draft)
    all_volumes = volumes(draft, {name: topology.node(name) for name in topology.nodes})
    all_domains = domains(draft)
    nodes: dict[str, Node] = {}
    for name in topology.nodes:
        for copy in node(draft, name, topology.node(name), all_networks, all_volumes):
            nodes.setdefault(copy.name, copy)
    for name in topology.nodes:
        awaited = dependencies(draft, name, nodes)
        for copy_name in draft.copies[name] if awaited else ():
            nodes[copy_name] = replace(nodes[copy_name], depends_on=awaited)
    cycles(draft, nodes, all_volumes)
    address_clashes(draft, nodes)
    reachable(draft, nodes, all_networks)
    _port_clashes(draft, nodes)
    sharing(draft, nodes, all_volumes)
    all_checks = checks(draft, nodes)
    scenarios(draft, all_networks)
    if draft.problems:
        return None, draft.problems
    return Lab(
        topology.name,
        directory,
        nodes,
        networks=all_networks,
        volumes=all_volumes,
        domains=all_domains,
        checks=all_checks,
        groups=draft.groups,
        ttl=parse_duration(topology.ttl) if topology.ttl else None,
        message=topology.message,
        notices=(*draft.notices, *_left_out(topology, nodes, all_volumes)),
    ), []


def _names(draft: Draft) -> None:
    """Expand `count`, and see that every name stands for one thing."""
    topology = draft.topology
    owner: dict[str, str] = {}
    if not topology.nodes and not draft.unsure("nodes"):
        draft.add(("nodes",), "a lab has at least one node", at_key=True)
    for name in topology.nodes:
        count = topology.node(name).count
        draft.copies[name] = (name,) if count is None else tuple(f"{name}-{n}" for n in range(1, count + 1))
        if name in _RESERVED:
            draft.add(("nodes", name), f"`{name}` has a meaning of its own, choose another name", at_key=True)
        if len(draft.copies[name][-1]) > NAME_LIMIT:
            longest = draft.copies[name][-1]
            draft.add(("nodes", name), f"with its number the name is longer than {NAME_LIMIT}: {longest}", at_key=True)
    for name, copies in draft.copies.items():
        for label in dict.fromkeys((name, *copies)):
            if owner.setdefault(label, name) != name:
                # Told where the number is made: that is the surprising one.
                path = ("nodes", name) if label != name else ("nodes", owner[label])
                other = owner[label] if label != name else name
                what = f"`{label}` is a copy of node {path[1]} and the name of {other}"
                draft.add(path, f"{what}, one of them needs another name", at_key=True)
        draft.groups[name] = copies
        for copy in copies:
            draft.groups.setdefault(copy, (copy,))


def _port_clashes(draft: Draft, nodes: Mapping[str, Node]) -> None:
    """Fixed ports of the host that two nodes want."""
    fixed = [
        (member, port, index)
        for member in nodes.values()
        for index, port in enumerate(member.ports)
        if port.host is not None
    ]
    for position, (member, port, index) in enumerate(fixed):
        for other, taken, _ in fixed[:position]:
            if other.group != member.group and same_socket(port, taken):
                message = f"port {port.host}/{port.protocol} of the host is already that of node {other.name}"
                draft.add((*member.source, "ports", index), message)


def _left_out(topology: Topology, nodes: Mapping[str, Node], volumes: Mapping[str, Volume]) -> list[str]:
    """One line for each part of the language that this version validates and does not execute."""
    screens = [name for name, value in nodes.items() if value.ide]
    lines = (
        (screens, "the browser IDE is not started by this version"),
        (list(topology.domains or ()), "failure domains cannot be selected in this version"),
        (list(topology.scenarios or ()), "scenarios are not rehearsed by this version"),
    )
    return [f"{words}: {', '.join(names)}" for names, words in lines if names]
