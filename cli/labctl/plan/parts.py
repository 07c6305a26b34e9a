"""What shared storage adds to each node of a lab, and makes of each container of labctl's own. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labctl.features.iscsi_target import TargetOf
from labctl.model.lab import Lab
from labctl.plan import attached
from labctl.plan.model import KEEPER, Attached, Confinement
from labctl.plan.storage import (
    LOOP_MAJOR,
    Addresses,
    Use,
    confinement,
    disk_of,
    document,
    exports,
    keeping,
    kinds,
    loop,
    place,
    served,
    storage_of,
    targets,
)
from labctl.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Part:
    """What shared storage adds to one node, or makes of one of labctl's own containers.

    `told` is what it is told, without secrets: a difference is content; `shape` is what only a new one can have.
    """

    serves: tuple[tuple[str, str], ...] = ()
    mounts: tuple[str, ...] = ()
    raw: tuple[tuple[str, int, int], ...] = ()
    waits_for: frozenset[str] = frozenset()
    confined: Confinement = field(default_factory=Confinement)
    attached: tuple[Attached, ...] = ()
    shape: Mapping[str, Any] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)


def part(lab: Lab, name: str, used: Sequence[Use], addresses: Addresses, recipe: Recipe) -> Part:
    """The part of the node, or container of labctl's own, called `name`."""
    if name == KEEPER:
        return Part(confined=confinement(lab.name, name), told={"keeping": keeping(lab.name, used)})
    if storage_of(name) or disk_of(name):
        own = [use for use in used if (use.volume.name == disk_of(name) if use.raw else use.node == storage_of(name))]
        return Part(
            waits_for=frozenset(use.volume.server for use in own if use.volume.server),
            confined=confinement(lab.name, name),
            told={"storage": document(lab, name, used, addresses, _unknown)},
        )
    own = [use for use in used if use.node == name]
    machine = [use for use in own if use.machine]
    own = [use for use in own if not use.machine]
    serves = tuple((volume.name, place(volume)) for volume in served(lab, name))
    raw = tuple((use.target, LOOP_MAJOR, loop(lab.name, use.volume.name)) for use in own if use.raw)
    shape: dict[str, Any] = {}
    told: dict[str, Any] = {}
    if serves:
        shape["serves"] = (serves, sorted(kinds(lab, name)))
        told["clients"] = (exports(lab, name, used, addresses), _open(targets(lab, name, used, _unknown)))
    if raw:
        shape["devices"] = raw
    if machine:
        shape["devices"] = [(use.volume.name, use.target) for use in machine if use.raw]
        told["storage"] = attached.document(lab, name, used, addresses, _unknown)
    return Part(
        serves=serves,
        mounts=tuple(use.target for use in (*own, *machine) if not use.raw),
        raw=raw,
        waits_for=frozenset(use.volume.server for use in machine if use.volume.server),
        attached=attached.attached(used, name) if machine else (),
        confined=Confinement(
            device_rules=tuple(f"b {major}:{minor} rw" for _, major, minor in raw),
            security=(f"seccomp={recipe.seccomp}",) if recipe.seccomp else (),
        ),
        shape=shape,
        told=told,
    )


def _unknown(login: str) -> str:
    return ""


def _open(found: Iterable[TargetOf]) -> list[tuple[Any, ...]]:
    """Targets with the secrets of their accounts in what is compared: the file's own may have changed."""
    return [(each, [(known.user, known.password) for known in each.accounts]) for each in found]
