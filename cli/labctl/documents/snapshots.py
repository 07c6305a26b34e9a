"""The document of a lab's snapshots: ``labctl snapshot list``. Part of `documents.model`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotDocument:
    """One snapshot. `memory` are those of its nodes that have their memory in it; `missing` is what it lacks.

    It lacks something when it was interrupted, or when a virtual machine was made anew since.
    """

    name: str
    created: str
    nodes: list[str]
    volumes: list[str]
    memory: list[str]
    missing: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotsDocument:
    """The snapshots of a lab, the oldest first: ``labctl snapshot list``."""

    version: Literal[1] = 1
    kind: Literal["snapshots"] = "snapshots"
    lab: str
    snapshots: list[SnapshotDocument]
