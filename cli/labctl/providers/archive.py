"""Files as a tar, for whatever unpacks it in a node."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Collection

from labctl.recipe import Entry


def archive(entries: Collection[Entry]) -> bytes:
    """Files as a tar. Directories are left to who unpacks it: missing ones are made (root, 0755), others kept."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for entry in entries:
            info = tarfile.TarInfo(entry.path.lstrip("/"))
            info.size, info.mode, info.uid, info.gid = len(entry.content), entry.mode, entry.uid, entry.gid
            info.mtime = int(time.time())
            tar.addfile(info, io.BytesIO(entry.content))
    return buffer.getvalue()
