"""Whether served volumes are in their places in a node: waiting for it, and the words when they are not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labctl.errors import DeadlineError, LabctlError
from labctl.plan.model import DesiredNode, ObservedNode

if TYPE_CHECKING:
    from labctl.providers.base import Provider

STALE = 15.0
"""Seconds after which the keeper's word is no longer believed: it looks every second."""

PATIENCE = 45.0
"""Seconds for which a mount may be called failed while it is waited for: its server may only be starting."""


class NotMountedError(LabctlError):
    """A volume could not be brought to its node; the message names the layer that refuses."""

    code = "LAB-VOL-003"


def said(provider: Provider, machine: DesiredNode | ObservedNode) -> dict[str, Any]:
    """What a machine says of the volumes that it brings to itself, in the form of a keeper's word on it; empty when it
    does not say anything. Its clock need not be the host's.
    """
    try:
        done = provider.shell(machine).run(("sh", "-c", _ASK), timeout=20.0)
        now, _, text = done.stdout.decode(errors="replace").partition("\n")
        told = json.loads(text)
        age = float(now) - float(told["time"])
        return {"time": time.time() - age, "nodes": {machine.name: {"volumes": told["volumes"]}}}
    except (LabctlError, ValueError, KeyError, TypeError):
        return {}


_ASK = "date +%s.%N; cat /run/lab/state.json"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The volumes that have to be in a node: those mounted, and raw disks."""

    node: str
    volumes: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()
    machine: bool = False

    @classmethod
    def of(cls, node: DesiredNode) -> Wanted:
        """What the lab file wants in the node."""
        mounted = (mount.volume for mount in node.node.mounts if mount.volume and mount.target in node.mounts)
        raw = tuple(each.volume for each in node.node.devices)
        return cls(node.name, tuple(mounted), raw, machine=bool(node.attached))

    @classmethod
    def attached(cls, node: ObservedNode) -> Wanted:
        """What a machine was made to bring to itself."""
        volumes, disks = ([each.volume for each in node.attached if each.raw is raw] for raw in (False, True))
        return cls(node.name, tuple(volumes), tuple(disks), machine=True)

    @classmethod
    def kept(cls, node: str, keeping: Mapping[str, Any]) -> Wanted:
        """What the keeper was told to have in the node."""
        known = (keeping.get("nodes") or {}).get(node) or {}
        volumes, disks = ([each["volume"] for each in known.get(kind) or ()] for kind in ("mounts", "devices"))
        return cls(node, tuple(volumes), tuple(disks))


def missing(wanted: Wanted, told: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the keeper says of the first volume that is not in its place; None when all of them are."""
    if not told or time.time() - float(told.get("time", 0)) > STALE:
        if wanted.machine:
            return {"message": "it does not say how its volumes stand", "hint": f"see `labctl logs {wanted.node}`"}
        return {"layer": "keeper", "message": "the keeper of the lab's storage does not report", "hint": _LOGS}
    known = (told.get("nodes") or {}).get(wanted.node) or {}
    for volume in wanted.volumes:
        said = (known.get("volumes") or {}).get(volume) or {}
        if not (said.get("mounted") and said.get("phase", "ready") == "ready"):
            return {"volume": volume, **said}
    for volume in wanted.disks:
        said = ((known.get("volumes") if wanted.machine else told.get("disks")) or {}).get(volume) or {}
        if said.get("phase") != "ready":
            return {"volume": volume, **said}
    return None


_LOGS = "see `labctl logs _keeper`"


def wait_mounted(
    wanted: Wanted, told: Callable[[], Mapping[str, Any]], *, end: float, stop: threading.Event, since: float = 0.0
) -> None:
    """Return when all of them are in their places by the keeper's word (not older than `since`, epoch).

    Raises `NotMountedError` when a layer goes on refusing, `DeadlineError` at `end` (monotonic).
    """
    failing = 0.0
    pause = 0.05
    while True:
        now = told()
        lacks = missing(wanted, now)
        if lacks is None and float(now.get("time", 0)) >= since:
            return
        lacks = lacks or {}
        if lacks.get("phase") == "failed":
            failing = failing or time.monotonic()
            if time.monotonic() - failing > PATIENCE:
                raise lacking(wanted, now)
        else:
            failing = 0.0
        if stop.wait(pause):
            raise NotMountedError(f"interrupted while waiting for the volumes of {wanted.node}")
        if time.monotonic() >= end:
            raise DeadlineError(
                _words(wanted.node, lacks), details=_details(lacks), hint=lacks.get("hint") or _LOGS, code="LAB-VOL-003"
            )
        pause = min(pause * 1.5, 0.5)


def lacking(wanted: Wanted, told: Mapping[str, Any]) -> NotMountedError:
    """The error of a node whose volumes are not there: the layer that refuses, and what to do."""
    lacks = missing(wanted, told) or {}
    return NotMountedError(_words(wanted.node, lacks), details=_details(lacks), hint=lacks.get("hint") or _LOGS)


def _words(node: str, lacks: Mapping[str, Any]) -> str:
    volume = lacks.get("volume")
    if volume is None:
        return f"{node}: {lacks.get('message') or 'its volumes are not mounted in time'}"
    what = f"{node}: volume {volume} is not there"
    return f"{what} ({lacks['layer']}: {lacks.get('message', 'no word')})" if lacks.get("layer") else f"{what} in time"


def _details(lacks: Mapping[str, Any]) -> list[str]:
    return [f"{key}: {lacks[key]}" for key in ("phase", "way", "because") if lacks.get(key)]
