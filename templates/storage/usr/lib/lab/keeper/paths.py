"""Files of the keeper and of those it looks after."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

CONFIGURATION = Path("/etc/lab/keeper.json")
RUN = Path("/run/lab")
STATE = RUN / "state.json"
RELEASED = RUN / "released.json"
INTERRUPTED = RUN / "interrupted.json"
MOUNTS = "/lab/mounts"

_FRESH = 5.0


@contextmanager
def alone() -> Iterator[None]:
    """One at a time: the keeper's rounds, and releases."""
    RUN.mkdir(parents=True, exist_ok=True)
    with open(RUN / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read(path: Path) -> dict[str, Any]:
    """A JSON file; empty when it is not there or not whole."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def write(path: Path, data: dict[str, Any]) -> None:
    """Replace a JSON file; whoever reads it sees the old or the new one."""
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(data))
    os.replace(beside, path)


def volumes_of(pid: int, started: str) -> dict[str, dict[str, Any]]:
    """What a storage container says of its volumes; nothing when it has been silent since its start."""
    data = read(Path(f"/proc/{pid}/root{STATE}")) if pid else {}
    volumes: dict[str, dict[str, Any]] = data.get("volumes", {})
    said = data.get("time", 0)
    return volumes if said > _seconds(started) and time.time() - said < _FRESH else {}


def _seconds(moment: str) -> float:
    """The engine's ``2026-11-20T17:30:40.123456789Z`` since the epoch."""
    whole, _, part = moment.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{part or 0}")


def alive(pid: int) -> bool:
    """Whether a process of the host is there and not a corpse."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
