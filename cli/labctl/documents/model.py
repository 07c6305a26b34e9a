"""The documents behind ``-o json`` and ``-o yaml``: what scripts may rely on, as typed and versioned data.

Each has `version` and `kind`. Fields are added, never renamed or removed, while `version` stays 1. Time stamps are
ISO 8601 in UTC; values of environments, files and passwords are never part of a document.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from labctl.documents.snapshots import SnapshotDocument as SnapshotDocument
from labctl.documents.snapshots import SnapshotsDocument
from labctl.documents.stored import StorageDocument, UseDocument
from labctl.documents.stored import StoredVolume as StoredVolume
from labctl.documents.verdicts import (
    ChecksDocument,
    PipelineDocument,
    WhyDocument,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortDocument:
    """A port of a node, published on `address` of the host."""

    address: str
    host: int | None
    container: int
    protocol: Literal["tcp", "udp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDocument:
    """A node as it is now. `state` is the engine's word, or ``missing`` when the lab file has it and the host has not.

    `health` is null without a healthcheck and without served volumes, which have to be there; `desktop` is the geometry
    in pixels, null without one; `exit_code` is null while it runs; `created` is null when it is missing.
    """

    name: str
    group: str
    provider: str
    kind: Literal["box", "image"]
    image: str
    state: Literal["created", "running", "paused", "restarting", "exited", "dead", "missing"]
    health: Literal["healthy", "unhealthy", "starting"] | None
    exit_code: int | None
    addresses: dict[str, str]
    ports: list[PortDocument]
    desktop: str | None
    volumes: list[str]
    storage: list[UseDocument]
    created: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkDocument:
    """A network of a lab."""

    name: str
    subnet: str
    internal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeDocument:
    """A volume of a lab."""

    name: str
    type: str
    reclaim: Literal["Retain", "Delete"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusDocument:
    """One lab: what ``labctl status`` saw. `directories` are those that it was made from.

    `unfinished` are nodes that could not be configured whole; the next ``labctl up`` goes on with them.
    """

    version: Literal[1] = 1
    kind: Literal["status"] = "status"
    lab: str
    directories: list[str]
    nodes: list[NodeDocument]
    networks: list[NetworkDocument]
    volumes: list[VolumeDocument]
    unfinished: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSummary:
    """One of the host's labs. `running` and `total` count its nodes; `created` is its oldest node's time.

    `owner` is the user who made it; `expires` is null when it has no end; `memory` (now) and `disk` (what its nodes
    have written beyond their images) are in bytes, null when that is not known.
    """

    name: str
    running: int
    total: int
    directory: str | None
    created: str | None
    owner: str | None
    expires: str | None
    memory: int | None
    disk: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabsDocument:
    """All labs on the host: ``labctl ls``."""

    version: Literal[1] = 1
    kind: Literal["labs"] = "labs"
    labs: list[LabSummary]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecificationDocument:
    """What the lab file says of a node, defaults merged. Values of `environment` are masked."""

    box: str | None
    image: str | None
    domain: str | None
    cpus: float | None
    memory: int | None
    """In bytes."""
    capabilities: list[str]
    environment: dict[str, str]
    command: str | list[str] | None
    packages: list[str]
    users: list[str]
    files: list[str]
    """Their paths in the node."""
    run: list[str | list[str]]
    services: list[str]
    mounts: list[str]
    """As in the lab file: ``NAME:PATH[:ro]``."""
    devices: list[str]
    depends_on: dict[str, Literal["started", "healthy", "completed"]]
    healthcheck: str | list[str] | None
    ide: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedNode:
    """All that is known of a node. `specification` is null when the lab file is gone or no longer names the node."""

    name: str
    id: str | None
    """The engine's own."""
    status: str
    """The engine's own words."""
    shape: str
    content: str
    node: NodeDocument
    specification: SpecificationDocument | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectDocument:
    """Nodes of one lab in full: ``labctl inspect``."""

    version: Literal[1] = 1
    kind: Literal["nodes"] = "nodes"
    lab: str
    nodes: list[InspectedNode]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDocument:
    """One step of a plan. `after` are the ids of steps that come first; `destroys` says that the user loses data."""

    id: str
    verb: Literal[
        "build", "create", "start", "configure", "verify", "stop", "remove", "suspend", "resume", "save", "restore"
    ]
    ref: str
    because: str
    after: list[str]
    destroys: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDocument:
    """What ``labctl up`` would do: ``labctl plan``."""

    version: Literal[1] = 1
    kind: Literal["plan"] = "plan"
    lab: str
    changes: bool
    steps: list[StepDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpDocument:
    """What ``labctl up`` did. `steps` counts outcomes; `nodes` is the lab afterwards."""

    version: Literal[1] = 1
    kind: Literal["up"] = "up"
    lab: str
    exit_code: int
    seconds: float
    steps: dict[Literal["done", "failed", "skipped"], int]
    nodes: list[NodeDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionDocument:
    """``labctl version``."""

    version: Literal[1] = 1
    kind: Literal["version"] = "version"
    labctl: str
    python: str
    platform: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingDocument:
    """One thing that the host has, or has not. `missing`: such labs cannot run; `limited`: not everything works.

    `fix` are the commands, as root, that `labctl doctor --fix` runs for it.
    """

    id: str
    title: str
    status: Literal["ok", "missing", "limited", "unknown"]
    evidence: str
    remedy: str | None
    packages: list[str]
    fix: list[list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDocument:
    """What a host can and cannot do: ``labctl doctor``. `able` says whether labs of the `providers` can run."""

    version: Literal[1] = 1
    kind: Literal["host"] = "host"
    providers: list[Literal["docker", "vagrant"]]
    able: bool
    findings: list[FindingDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxDocument:
    """An operating system that nodes can have. `base` says whether its plain image is in the engine; `images` counts
    what is baked on it, `used` how many of these have containers; `size` is in bytes, what images share counted once
    for each. `machines` counts its boxes for virtual machines, `machines_size` is theirs.
    """

    name: str
    title: str
    default: bool
    base: bool
    images: int
    used: int
    size: int
    machines: int
    machines_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxesDocument:
    """The boxes and what of them is on this host: ``labctl box list``."""

    version: Literal[1] = 1
    kind: Literal["boxes"] = "boxes"
    boxes: list[BoxDocument]


Document = (
    StatusDocument
    | StorageDocument
    | SnapshotsDocument
    | LabsDocument
    | BoxesDocument
    | InspectDocument
    | PlanDocument
    | UpDocument
    | VersionDocument
    | HostDocument
    | ChecksDocument
    | PipelineDocument
    | WhyDocument
)


def plain(document: Document) -> dict[str, Any]:
    """`document` as dicts, lists and scalars, keys in their own order."""
    data: dict[str, Any] = dataclasses.asdict(document)
    return data


def names(document: Document) -> list[str]:
    """What ``-o name`` prints: one word per line for `xargs` and loops."""
    match document:
        case StatusDocument(nodes=nodes) | UpDocument(nodes=nodes):
            return [node.name for node in nodes]
        case InspectDocument(nodes=inspected):
            return [node.name for node in inspected]
        case StorageDocument(volumes=volumes):
            return [volume.name for volume in volumes]
        case SnapshotsDocument(snapshots=snapshots):
            return [snapshot.name for snapshot in snapshots]
        case LabsDocument(labs=labs):
            return [lab.name for lab in labs]
        case BoxesDocument(boxes=boxes):
            return [box.name for box in boxes]
        case PlanDocument(steps=steps):
            return [step.ref for step in steps]
        case HostDocument(findings=findings):
            return [finding.id for finding in findings if finding.status != "ok"]
        case ChecksDocument(checks=checks) | PipelineDocument(checks=checks):
            return [check.name for check in checks if check.state == "failed"]
        case WhyDocument(nodes=reasons):
            return [reason.node for reason in reasons if not reason.well]
        case VersionDocument(labctl=version):
            return [version]


def stamp(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC, to the millisecond: ``2026-11-20T14:03:01.250Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
