"""Mounts by the kernel's own calls."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

READ_ONLY = 1
NO_DEVICES = 4
DETACH = 2
_RECURSIVE = 1 << 14
_PRIVATE = 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """mount(2). Raises OSError."""
    words = (word.encode() for word in (source, target, kind))
    if _libc.mount(*words, ctypes.c_ulong(flags), options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def make_private(target: str) -> None:
    """Mounts below `target` are seen in this namespace only. Raises OSError."""
    mount("none", target, "none", _RECURSIVE | _PRIVATE)


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2); what is no mount is fine. Raises OSError."""
    if _libc.umount2(target.encode(), flags):
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOENT):
            raise OSError(number, os.strerror(number), target)


def device_of(target: str) -> str:
    """MAJOR:MINOR of what is mounted there, "" for nothing, without touching it: the dead do not answer."""
    device = ""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        if words[4] == target:
            device = words[2]
    return device


def knows(kind: str) -> bool:
    """Whether the kernel has this type of file system, loading its module when it can: found out by trying."""
    try:
        mount("none", "/lab/probe", kind)
    except OSError as error:
        return error.errno != errno.ENODEV
    unmount("/lab/probe", DETACH)
    return True
