"""The snapshots of a lab for people: one line each."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import TextIO

from labctl.documents.snapshots import SnapshotDocument, SnapshotsDocument
from labctl.ui.tables import Cell, age, print_table


def print_snapshots(
    document: SnapshotsDocument,
    *,
    now: float,
    stream: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """One line for each snapshot, what it lacks in the last column."""
    if not document.snapshots:
        sys.stderr.write("this lab has no snapshots\n")
        return
    rows = [_row(each, now) for each in document.snapshots]
    print_table(("NAME", "AGE", "NODES", "WITH MEMORY", "VOLUMES", "LACKS"), rows, stream=stream, environ=environ)


def _row(each: SnapshotDocument, now: float) -> list[Cell]:
    taken = datetime.fromisoformat(each.created).timestamp()
    return [
        each.name,
        age(now - taken),
        " ".join(each.nodes),
        " ".join(each.memory),
        " ".join(each.volumes),
        (" ".join(each.missing), "red"),
    ]
