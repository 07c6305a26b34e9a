"""The documents of volumes: who serves each, who uses it, and how it stands. Part of `documents.model`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class UseDocument:
    """A served volume as one node has it: mounted at `target`, or as the raw device `target`.

    `phase` is ``ready``, ``starting`` or ``failed``, ``unknown`` when nobody says; a failed one names the `layer` that
    refuses (network, portal, login, CHAP, device, file system, mount, keeper), and why. `way` is ``kernel`` or ``user
    space``, `because` its reason; `version` is NFS's. `active` is the portal in use; the others are on `standby`, or
    `down`.
    """

    volume: str
    node: str
    target: str
    read_only: bool
    raw: bool
    phase: Literal["ready", "starting", "failed", "unknown"]
    layer: str | None
    message: str | None
    hint: str | None
    way: str | None
    because: str | None
    version: str | None
    active: str | None
    standby: list[str]
    down: list[str]
    wwid: str | None
    since: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVolume:
    """A volume with who serves and who uses it. `name_there` is its export or target; sizes are in bytes.

    `size` is null where there is no limit but the disk, `used` is what it takes of the server's disk, null when the
    server does not run.
    """

    name: str
    type: str
    server: str | None
    name_there: str | None
    portals: list[str]
    size: int | None
    used: int | None
    reclaim: Literal["Retain", "Delete"]
    uses: list[UseDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageDocument:
    """The volumes of a lab: ``labctl status --storage``, ``labctl volume list``."""

    version: Literal[1] = 1
    kind: Literal["storage"] = "storage"
    lab: str
    volumes: list[StoredVolume]
