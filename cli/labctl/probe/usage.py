"""How much memory containers take now, from the kernel's own files: asking the engine takes a second for each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PLACES = (
    "system.slice/docker-{id}.scope/memory.current",
    "docker/{id}/memory.current",
    "memory/docker/{id}/memory.usage_in_bytes",
    "memory/system.slice/docker-{id}.scope/memory.usage_in_bytes",
)


def memory(containers: Iterable[str], *, root: Path = _ROOT) -> int | None:
    """Bytes that the containers (by their ids) take together, caches of files that could go left out.

    None when the kernel tells of none of them.
    """
    found = [used for each in containers if (used := _one(each, root)) is not None]
    return sum(found) if found else None


def _one(container: str, root: Path) -> int | None:
    for place in _PLACES:
        path = root / place.format(id=container)
        try:
            used = int(path.read_text())
            stat = dict(line.split() for line in (path.parent / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue
        return max(used - int(stat.get("total_inactive_file", stat.get("inactive_file", 0))), 0)
    return None
