"""The volumes of a lab for people: one line for each use of each, what is wrong below."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import TextIO

from labctl.documents.stored import StorageDocument, StoredVolume, UseDocument
from labctl.ui.tables import Cell, print_table
from labctl.ui.words import clean

_PHASES: Mapping[str, str] = MappingProxyType(
    {"ready": "green", "starting": "yellow", "failed": "red", "unknown": "red"}
)

_HEADER = ("VOLUME", "TYPE", "SERVED AS", "PORTALS", "SIZE", "USED", "RECLAIM", "USED BY", "STATE", "WAY")


def print_storage(
    document: StorageDocument, *, stream: TextIO | None = None, environ: Mapping[str, str] = os.environ
) -> None:
    """One line for each use of each volume, then on stderr the layer that refuses, and what to do."""
    rows = [row for volume in document.volumes for row in _rows(volume)]
    if not rows:
        sys.stderr.write("this lab has no volumes\n")
        return
    print_table(_HEADER, rows, stream=stream, environ=environ)
    for use in (use for volume in document.volumes for use in volume.uses if use.phase in ("failed", "unknown")):
        sys.stderr.write(clean(trouble(use)) + "\n")


def trouble(use: UseDocument) -> str:
    """What is wrong with a volume in a node, in one line."""
    where = f"{use.node}: {use.volume} at {use.target}"
    why = f"{use.layer or 'storage'}: {use.message or 'no word of it'}"
    return f"{where}: {why}" + (f" ({use.hint})" if use.hint else "")


def _rows(volume: StoredVolume) -> list[list[Cell]]:
    served = f"{volume.server}:{volume.name_there}" if volume.server and volume.name_there else volume.name_there or ""
    first: list[Cell] = [
        volume.name,
        volume.type,
        served,
        " ".join(volume.portals),
        size(volume.size),
        size(volume.used),
        volume.reclaim,
    ]
    if not volume.uses:
        return [[*first, "", "", ""]]
    return [[*(first if place == 0 else [""] * len(first)), *_use(use)] for place, use in enumerate(volume.uses)]


def _use(use: UseDocument) -> list[Cell]:
    kind = " (raw)" if use.raw else " (ro)" if use.read_only else ""
    state: str = use.phase
    if use.standby or use.down:
        paths = [f"{use.active} active"] if use.active else []
        paths += [*(f"{each} standby" for each in use.standby), *(f"{each} down" for each in use.down)]
        state = f"{state}: {', '.join(paths)}"
    version = f" v{use.version}" if use.version else ""
    return [f"{use.node}:{use.target}{kind}", (state, _PHASES[use.phase]), f"{use.way or ''}{version}"]


def size(count: int | None) -> str:
    """Bytes as people say them: ``1.0 GiB``."""
    if count is None:
        return ""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
