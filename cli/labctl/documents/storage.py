"""The documents of shared storage, made from the engine's labels and the keeper's word, without the lab file. Pure."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from labctl.documents.model import NodeDocument, stamp
from labctl.documents.stored import StorageDocument, StoredVolume, UseDocument
from labctl.plan.model import DISK, STORAGE, Observed, ObservedVolume

STALE = 15.0
"""Seconds after which the keeper's word is old: it looks every second."""

Told = Mapping[str, Any]


def uses(observed: Observed, keeping: Told, state: Told, *, now: float | None = None) -> dict[str, list[UseDocument]]:
    """The uses of each node. `keeping` is what the keeper was told to do, `state` what it says of it."""
    found: dict[str, list[UseDocument]] = {}
    age = (time.time() if now is None else now) - float(state.get("time") or 0)
    for node, told in (keeping.get("nodes") or {}).items():
        if node not in observed.nodes:
            continue
        known = (state.get("nodes") or {}).get(node) or {}
        for mount in told.get("mounts") or ():
            said = (known.get("volumes") or {}).get(mount["volume"]) or {}
            said = _alive(observed, STORAGE + node, said, age=age)
            found.setdefault(node, []).append(_use(node, mount, said, raw=False))
        for device in told.get("devices") or ():
            said = (state.get("disks") or {}).get(device["volume"]) or {}
            said = _alive(observed, DISK + device["volume"], said, age=age)
            found.setdefault(node, []).append(_use(node, device, said, raw=True))
    return found


def machine_uses(
    observed: Observed, said: Mapping[str, Told], *, now: float | None = None
) -> dict[str, list[UseDocument]]:
    """The uses of machines that bring volumes to themselves, by what each says."""
    found: dict[str, list[UseDocument]] = {}
    for node in observed.nodes.values():
        told = said.get(node.name) or {}
        age = (time.time() if now is None else now) - float(told.get("time") or 0)
        known = ((told.get("nodes") or {}).get(node.name) or {}).get("volumes") or {}
        for use in node.attached:
            word: Told = known.get(use.volume) or {}
            if node.state != "running":
                word = {"phase": "failed", "layer": "mount", "message": "the machine does not run",
                        "hint": f"labctl start {node.name}"}  # fmt: skip
            elif age > STALE:
                word = {"phase": "unknown", "layer": "mount", "message": "the machine does not say how it stands",
                        "hint": f"labctl logs {node.name}"}  # fmt: skip
            where = {"volume": use.volume, "target": use.target, "read_only": use.read_only}
            found.setdefault(node.name, []).append(_use(node.name, where, word, raw=use.raw))
    return found


def healthy(node: NodeDocument) -> Literal["healthy", "unhealthy", "starting"] | None:
    """The health of a running node with its volumes counted in."""
    if node.state != "running" or not node.storage:
        return node.health
    if any(use.phase in ("failed", "unknown") for use in node.storage):
        return "unhealthy"
    if any(use.phase == "starting" for use in node.storage):
        return "starting" if node.health != "unhealthy" else node.health
    return node.health or "healthy"


def storage_document(
    observed: Observed, by_node: Mapping[str, Sequence[UseDocument]], used: Mapping[str, tuple[int | None, int]]
) -> StorageDocument:
    """All volumes of the lab; `used` has the size of each, and the bytes that it takes, as far as they are known."""
    known = [use for each in by_node.values() for use in each]
    return StorageDocument(
        lab=observed.lab,
        volumes=[
            _volume(
                observed,
                volume,
                [use for use in known if use.volume == volume.name],
                used.get(volume.name, (None, None)),
            )
            for volume in sorted(observed.volumes.values(), key=lambda each: _natural(each.name))
        ],
    )


def _volume(
    observed: Observed, volume: ObservedVolume, users: list[UseDocument], used: tuple[int | None, int | None]
) -> StoredVolume:
    holders = [node for node in observed.nodes.values() if volume.name in node.volumes and node.role == "node"]
    server = holders[0].name if holders and volume.type != "local" else None
    portals = [each for use in users for each in (use.active, *use.standby, *use.down) if each]
    return StoredVolume(
        name=volume.name,
        type=volume.type,
        server=server,
        name_there=volume.target or (f"/{volume.name}" if volume.type == "nfs" else None),
        portals=list(dict.fromkeys(portals)),
        size=used[0] or volume.size,
        used=used[1],
        reclaim=volume.reclaim,
        uses=users,
    )


def _alive(observed: Observed, name: str, said: Told, *, age: float) -> Told:
    """What is said of a volume, unless nobody can know: the container that brings it is dead, or the keeper silent."""
    container = observed.nodes.get(name)
    if container is not None and container.state == "paused":
        return {**said, "phase": "unknown", "layer": "mount", "message": "it stands still", "hint": "labctl resume"}
    if container is None or container.state != "running":
        status = container.status if container is not None else "missing"
        return {**said, "phase": "failed", "layer": "mount", "message": f"what mounts it does not run ({status})",
                "hint": "the keeper starts it again; see `labctl logs _keeper`"}  # fmt: skip
    if age > STALE:
        return {"phase": "unknown", "layer": "keeper", "message": "the keeper of the lab's storage does not report",
                "hint": "labctl up"}  # fmt: skip
    began = _JUST_STARTED.match(container.status)
    if began and age > float(began[1] or 0):  # what was said is older than the container
        return {"phase": "starting"}
    return said


_JUST_STARTED = re.compile(r"Up (?:(\d+) seconds?|Less than a second)")
"""The engine's words on a container that runs for less than a minute."""


def _use(node: str, told: Told, said: Told, *, raw: bool) -> UseDocument:
    phase = said.get("phase") or "starting"
    if phase == "ready" and not raw and not said.get("mounted", True):
        phase = "starting"
    since = said.get("since")
    return UseDocument(
        volume=told["volume"],
        node=node,
        target=told["target"],
        read_only=bool(told.get("read_only")),
        raw=raw,
        phase=cast(Literal["ready", "starting", "failed", "unknown"], phase),
        layer=said.get("layer") if phase != "ready" else None,
        message=said.get("message") if phase != "ready" else None,
        hint=said.get("hint") if phase != "ready" else None,
        way=said.get("way"),
        because=said.get("because"),
        version=said.get("version"),
        active=said.get("active"),
        standby=list(said.get("standby") or ()),
        down=list(said.get("down") or ()),
        wwid=said.get("wwid"),
        since=stamp(since) if isinstance(since, int | float) and since else None,
    )


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"\d+|\D+", name)]
