"""The file system of a disk: made once, checked before each mount, grown while it is mounted."""

from __future__ import annotations

import os
import struct
import subprocess
import tempfile

from storage import kernel
from storage.failure import DEVICE, FILE_SYSTEM, Failure, Pending
from storage.processes import Stuck, run

OWNER = 1000
"""uid and gid of the user `lab`: the root directory of a new file system is its."""

_BEGINNING = 64 << 10
_SUPERBLOCK = 1024
_CHECK = 600.0
_MAKE = 120.0


def prepare(device: str, size: int, wanted: str, *, read_only: bool) -> str:
    """The type of the device's file system, ready to be mounted: made when the disk is empty, else checked.

    It takes all `size` bytes of the device, if it can.
    """
    found = _found(device)
    if found is None:
        if read_only:
            raise Failure(
                FILE_SYSTEM, "the disk is empty and may only be read", "let a node that may write mount it first"
            )
        _make(device, wanted)
        return wanted
    if not read_only:
        _check(device, found)
        if found != "xfs" and _size(device) < size:
            _grow_unmounted(device)
    return found


def mount(device: str, target: str, kind: str, *, read_only: bool) -> None:
    """Raises `Failure`."""
    flags = kernel.NO_DEVICES | (kernel.READ_ONLY if read_only else 0)
    # The same file system may still be mounted from a device that is dead by now.
    options = "nouuid" if kind == "xfs" else ""
    try:
        kernel.mount(device, target, kind, flags, options)
        if kind == "xfs" and not read_only and os.stat(target).st_uid == 0 and not os.listdir(target):
            os.chown(target, OWNER, OWNER)
    except OSError as error:
        raise Failure(FILE_SYSTEM, f"the {kind} file system cannot be mounted: {error.strerror}") from error


def grow(device: str, kind: str) -> None:
    """Take all of the device, while it is mounted somewhere else: a second mount of it for a moment shows it here."""
    with tempfile.TemporaryDirectory(dir="/lab") as place:
        kernel.mount(device, place, kind, kernel.NO_DEVICES, "nouuid" if kind == "xfs" else "")
        try:
            words = ("xfs_growfs", place) if kind == "xfs" else ("resize2fs", device)
            result = run(*words, seconds=_CHECK)
        finally:
            kernel.unmount(place, kernel.DETACH)
    if "Permission denied" in result.stdout:
        raise Pending(
            f"{kind} does not grow while it is mounted: that takes the capability SYS_RESOURCE",
            "it grows when its node is stopped and started: labctl restart NODE",
        )
    if result.returncode:
        raise Failure(FILE_SYSTEM, f"{words[0]}: {_last(result.stdout)}")


def _size(device: str) -> int:
    """Bytes that an ext file system takes of its device, a block more: what is left over is no room for growing."""
    with open(device, "rb") as disk:
        disk.seek(_SUPERBLOCK)
        head = disk.read(0x154)
    low, order, high = (struct.unpack_from("<I", head, at)[0] for at in (0x4, 0x18, 0x150))
    return int((low + (high << 32) + 1) << (10 + order))


def _grow_unmounted(device: str) -> None:
    for words in (("e2fsck", "-f", "-p", device), ("resize2fs", device)):
        result = _run(*words, seconds=_CHECK)
        if result.returncode >= 4 or (result.returncode and words[0] == "resize2fs"):
            raise Failure(FILE_SYSTEM, f"{words[0]}: {_last(result.stdout)}")


def _found(device: str) -> str | None:
    """The type of the file system; None when there is nothing at all. Anything else on the disk is never touched."""
    try:
        with open(device, "rb", buffering=0) as disk:
            beginning = disk.read(_BEGINNING)
    except OSError as error:
        raise Failure(DEVICE, f"the disk cannot be read: {error.strerror}") from error
    result = _run("blkid", "--probe", "--output", "export", device, seconds=60)
    known = dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)
    kind = known.get("TYPE")
    if kind in ("ext2", "ext3", "ext4", "xfs"):
        return kind
    if result.returncode == 2 and beginning.count(0) == len(beginning) == _BEGINNING:
        return None
    what = kind or known.get("PTTYPE") or "data that is no file system"
    raise Failure(
        FILE_SYSTEM, f"the disk holds {what}, which is left as it is", "remove the volume, or use it as a device"
    )


def _make(device: str, kind: str) -> None:
    owner = f"root_owner={OWNER}:{OWNER}"
    words = {
        "xfs": ("mkfs.xfs", "-q", "-K", device),
        "ext4": ("mkfs.ext4", "-q", "-F", "-m", "0", "-E", f"nodiscard,lazy_itable_init=1,{owner}", device),
    }
    if kind not in words:
        raise Failure(FILE_SYSTEM, f"there is no way to make a file system of type {kind}", "use ext4 or xfs")
    result = _run(*words[kind], seconds=_MAKE)
    if result.returncode:
        raise Failure(FILE_SYSTEM, f"{words[kind][0]}: {_last(result.stdout)}")


def _check(device: str, kind: str) -> None:
    if kind == "xfs":  # replays its log when it is mounted
        return
    result = _run("e2fsck", "-p", device, seconds=_CHECK)
    if result.returncode >= 4:
        raise Failure(FILE_SYSTEM, f"the file system is damaged: {_last(result.stdout)}")


def _run(*argv: str, seconds: float) -> subprocess.CompletedProcess[str]:
    try:
        return run(*argv, seconds=seconds)
    except Stuck as error:
        raise Failure(DEVICE, str(error)) from error


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"
