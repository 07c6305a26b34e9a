"""What of a lab is kept under a name, and whether it can be brought back by what its lab file says. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from labctl.errors import LabctlError, NotFoundError
from labctl.model.lab import ProviderName
from labctl.plan import digests
from labctl.plan.model import Desired, Observed, ObservedNode, ObservedVolume

Kind = Literal["node", "volume", "inner"]
"""A node, a volume of the lab, or one that somebody else's image has of its own (``NODE:/path``)."""


@dataclass(frozen=True, slots=True)
class Part:
    """One thing in one snapshot. `parts` names all that belong to the snapshot, so that it is known what is missing.

    `id` is where its provider keeps it; `shape`, `content` and `packages` are the node's when it was taken, `created`
    when that was. One `with_memory` is set back where it stands; any other node is made anew from it.
    """

    snapshot: str
    lab: str
    kind: Kind
    name: str
    provider: ProviderName
    parts: tuple[str, ...] = ()
    id: str = ""
    shape: str = ""
    content: str = ""
    packages: tuple[str, ...] = ()
    created: float = 0.0
    with_memory: bool = False

    @property
    def ref(self) -> str:
        return f"{self.kind}/{self.name}"

    @property
    def node(self) -> str:
        """The node that it is of; "" for a volume of the lab."""
        return "" if self.kind == "volume" else self.name.partition(":")[0]

    def labels(self) -> dict[str, str]:
        """All that has to be known of it again, as labels."""
        return {
            "labctl.snapshot": self.snapshot,
            "labctl.lab": self.lab,
            "labctl.part": self.kind,
            "labctl.name": self.name,
            "labctl.parts": json.dumps(self.parts),
            "labctl.shape": self.shape,
            "labctl.content": self.content,
            "labctl.packages": " ".join(self.packages),
            "labctl.taken": f"{self.created:.0f}",
        }


def part(labels: Mapping[str, str], provider: ProviderName, id: str, *, with_memory: bool) -> Part | None:
    """The part that these labels tell of; None when they tell of none."""
    kind, snapshot = labels.get("labctl.part"), labels.get("labctl.snapshot")
    if kind not in ("node", "volume", "inner") or not snapshot:
        return None
    try:
        parts = tuple(str(each) for each in json.loads(labels.get("labctl.parts", "[]")))
        created = float(labels.get("labctl.taken", 0))
    except (ValueError, TypeError):
        return None
    return Part(
        snapshot=snapshot,
        lab=labels.get("labctl.lab", ""),
        kind=kind,  # type: ignore[arg-type]
        name=labels.get("labctl.name", ""),
        provider=provider,
        parts=parts,
        id=id,
        shape=labels.get("labctl.shape", ""),
        content=labels.get("labctl.content", ""),
        packages=tuple(labels.get("labctl.packages", "").split()),
        created=created,
        with_memory=with_memory,
    )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All parts of one name that are there, in the order in which they were named."""

    name: str
    lab: str
    parts: tuple[Part, ...]

    @property
    def created(self) -> float:
        return min(each.created for each in self.parts)

    @property
    def missing(self) -> tuple[str, ...]:
        """What belongs to it and is not there: it was interrupted, or a machine was made anew since."""
        there = {each.ref for each in self.parts}
        return tuple(ref for ref in dict.fromkeys(r for each in self.parts for r in each.parts) if ref not in there)

    @property
    def nodes(self) -> list[str]:
        return [each.name for each in self.parts if each.kind == "node"]

    @property
    def volumes(self) -> list[str]:
        return [each.name for each in self.parts if each.kind == "volume"]


def grouped(parts: Iterable[Part]) -> dict[tuple[str, str], Snapshot]:
    """Snapshots by lab and name, the oldest first."""
    found: dict[tuple[str, str], list[Part]] = {}
    for each in parts:
        found.setdefault((each.lab, each.snapshot), []).append(each)
    made = [
        Snapshot(name, lab, tuple(sorted(own, key=lambda p: p.parts.index(p.ref) if p.ref in p.parts else 0)))
        for (lab, name), own in found.items()
    ]
    return {(each.lab, each.name): each for each in sorted(made, key=lambda each: (each.created, each.name))}


def drawn_up(
    snapshot: str,
    observed: Observed,
    nodes: Collection[ObservedNode],
    inner: Mapping[str, Iterable[str]],
    *,
    whole: bool,
    now: float,
) -> dict[Part, ObservedNode | ObservedVolume]:
    """The parts that a snapshot of these nodes has, each with what it is of.

    The `whole` lab has all its volumes, some nodes have those that they hold; a machine's are disks of its own, and
    kept with it. `inner` maps nodes to the places of volumes that their images have of their own.
    """
    held = {name for node in nodes for name in node.volumes}
    volumes = [each for each in observed.volumes.values() if (whole or each.name in held) and each.provider == "docker"]
    refs = (
        *(f"node/{node.name}" for node in nodes),
        *(f"volume/{each.name}" for each in volumes),
        *(f"inner/{node.name}:{path}" for node in nodes for path in inner.get(node.name, ())),
    )

    def made(kind: Kind, name: str, target: ObservedNode | ObservedVolume) -> Part:
        node = target if isinstance(target, ObservedNode) else None
        return Part(
            snapshot=snapshot,
            lab=observed.lab,
            kind=kind,
            name=name,
            provider="vagrant" if target.provider == "vagrant" else "docker",
            parts=refs,
            shape=node.shape if node else "",
            content=node.content if node else "",
            packages=tuple(sorted(node.packages)) if node else (),
            created=now,
        )

    found: dict[Part, ObservedNode | ObservedVolume] = {made("node", node.name, node): node for node in nodes}
    found |= {made("volume", each.name, each): each for each in volumes}
    found |= {made("inner", f"{n.name}:{path}", n): n for n in nodes for path in inner.get(n.name, ())}
    return found


def named(snapshots: Mapping[tuple[str, str], Snapshot], lab: str, name: str) -> Snapshot:
    """The snapshot of that name. Raises `NotFoundError` with the nearest name."""
    if (lab, name) in snapshots:
        return snapshots[lab, name]
    own = [each for of, each in snapshots if of == lab]
    near = get_close_matches(name, own, n=1)
    raise NotFoundError(
        f"lab {lab} has no snapshot {name}",
        details=[f"snapshots: {', '.join(own) or 'none'}"],
        hint=f"did you mean {near[0]}?" if near else "labctl snapshot list",
        code="LAB-SNAP-002",
    )


def chosen(snapshot: Snapshot, names: Collection[str], observed: Observed) -> list[Part]:
    """What is brought back: all, or what the named nodes have. Raises `LabctlError` or `NotFoundError`."""
    unknown = sorted(set(names) - set(snapshot.nodes) - {ref.removeprefix("node/") for ref in snapshot.missing})
    if unknown:
        raise NotFoundError(
            f"snapshot {snapshot.name} has no node {', '.join(unknown)}",
            details=[f"nodes: {', '.join(snapshot.nodes)}"],
            code="LAB-SNAP-002",
        )
    held = {name for each in names if each in observed.nodes for name in observed.nodes[each].volumes}
    missing = [ref for ref in snapshot.missing if not names or ref.partition("/")[2].partition(":")[0] in names]
    if missing:
        raise LabctlError(
            f"snapshot {snapshot.name} is not whole: {', '.join(missing)} is not in it",
            hint=f"name the nodes to bring back, or give it up: labctl snapshot delete {snapshot.name}",
            code="LAB-SNAP-003",
        )
    parts = [each for each in snapshot.parts if not names or each.node in names or each.name in held]
    volumes = {each.name for each in parts if each.kind == "volume"}
    nodes = {each.name for each in parts if each.kind == "node"}
    for node in observed.nodes.values():
        shared = sorted(volumes & set(node.volumes))
        if shared and node.role == "node" and node.name not in nodes:
            raise LabctlError(
                f"{node.name} has volume {', '.join(shared)} too, and would find it changed under its feet",
                hint=f"bring back {node.name} too, or the whole lab",
                code="LAB-SNAP-003",
            )
    return parts


def refuse_others(snapshot: str, parts: Iterable[Part], desired: Desired) -> None:
    """Raise `LabctlError` when a node, or a volume, is not in the lab file as it was when the snapshot was taken."""
    for each in parts:
        if each.kind == "volume" and each.name not in desired.volumes:
            raise _changed(f"volume {each.name} is in snapshot {snapshot}, and not in the lab file", snapshot)
        if each.kind != "node":
            continue
        node = desired.nodes.get(each.name)
        if node is None:
            raise _changed(f"node {each.name} is in snapshot {snapshot}, and not in the lab file", snapshot)
        if node.shape != each.shape:
            what = ", ".join(digests.changed(each.shape, node.shape)) or "its shape"
            raise _changed(
                f"the lab file has node {each.name} otherwise than when snapshot {snapshot} was taken: {what}", snapshot
            )


def _changed(message: str, snapshot: str) -> LabctlError:
    return LabctlError(
        message,
        hint=f"put back what the lab file said, or give the snapshot up: labctl snapshot delete {snapshot}",
        code="LAB-SNAP-003",
    )
