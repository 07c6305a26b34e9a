"""A machine's first file system: one program, a few drivers, and no compression, which an emulated processor would pay.

The archive is cpio's "newc", as the kernel reads it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

_DIRECTORIES = ("bin", "modules", "proc", "sys", "dev", "root")


def write(target: Path, init: bytes, busybox: Path, modules: Path) -> None:
    """Write the archive: `init` is its first program, run by `busybox`; `modules` has the drivers, unpacked."""
    with target.open("wb") as archive:
        for number, (name, mode, content) in enumerate(_members(init, busybox, modules), start=1):
            archive.write(_member(number, name, mode, content))
        archive.write(_member(0, "TRAILER!!!", 0, b""))


def _members(init: bytes, busybox: Path, modules: Path) -> Iterator[tuple[str, int, bytes]]:
    for directory in _DIRECTORIES:
        yield directory, stat.S_IFDIR | 0o755, b""
    yield "init", stat.S_IFREG | 0o755, init
    yield "bin/busybox", stat.S_IFREG | 0o755, busybox.read_bytes()
    yield "bin/sh", stat.S_IFLNK | 0o777, b"busybox"
    for module in sorted(modules.iterdir()):
        yield f"modules/{module.name}", stat.S_IFREG | 0o644, module.read_bytes()


def _member(number: int, name: str, mode: int, content: bytes) -> bytes:
    path = name.encode() + b"\0"
    links, owner, time, device = 1, 0, 0, 0
    fields = (number, mode, owner, owner, links, time, len(content), *(device,) * 4, len(path), 0)
    header = b"070701" + "".join(f"{field:08x}" for field in fields).encode()
    return _padded(header + path) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
