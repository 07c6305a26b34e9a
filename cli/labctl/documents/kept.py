"""Makes the document of a lab's snapshots."""

from __future__ import annotations

from collections.abc import Iterable

from labctl.documents.model import stamp
from labctl.documents.snapshots import SnapshotDocument, SnapshotsDocument
from labctl.plan.snapshots import Snapshot


def snapshots_document(lab: str, snapshots: Iterable[Snapshot]) -> SnapshotsDocument:
    """What ``labctl snapshot list`` prints."""
    return SnapshotsDocument(
        lab=lab,
        snapshots=[
            SnapshotDocument(
                name=each.name,
                created=stamp(each.created),
                nodes=each.nodes,
                volumes=each.volumes,
                memory=[part.name for part in each.parts if part.with_memory],
                missing=list(each.missing),
            )
            for each in snapshots
        ],
    )
