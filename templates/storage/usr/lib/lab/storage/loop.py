"""Loop devices: a file as a block device. Always buffered: direct I/O on a FUSE file has corrupted file systems."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import time
from contextlib import suppress
from pathlib import Path

_MAJOR = 7
_GET_FREE = 0x4C82
_ADD = 0x4C80
_REMOVE = 0x4C81
_CONFIGURE = 0x4C0A
_CLEAR = 0x4C01
_SET_CAPACITY = 0x4C07
_GET_SIZE = 0x80081272
_READ_ONLY = 1
_AUTOCLEAR = 4

_CONFIG_SIZE = 304
_NAME_AT = 8 + 56
_FLAGS_AT = 8 + 52
_TRIES = 20


class Loop:
    """One attached loop device. `fd` keeps it attached until `release`; then it goes with its last user."""

    def __init__(self, number: int, fd: int) -> None:
        self.number = number
        self.path = f"/dev/loop{number}"
        self._fd = fd

    def release(self) -> None:
        """Let the device go with its last user."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def attached(self) -> bool:
        """Whether it has a file."""
        return Path(f"/sys/block/loop{self.number}/loop/backing_file").exists()

    def clear(self) -> None:
        """Detach it, at once or when its last user goes."""
        with suppress(OSError):
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.ioctl(fd, _CLEAR)
            finally:
                os.close(fd)
        self.release()

    def size(self) -> int:
        """Bytes."""
        return int(Path(f"/sys/block/loop{self.number}/size").read_text()) * 512

    def grow(self) -> None:
        """Take the size that its file has by now."""
        fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(fd, _SET_CAPACITY)
        finally:
            os.close(fd)


def attach(file: str, *, read_only: bool, number: int | None = None) -> Loop:
    """A device for `file`: any free one, gone with its last user; or that `number`, which stays until it is cleared.

    Raises OSError.
    """
    for _ in range(_TRIES):
        chosen = _free() if number is None else _make(number)
        _node(chosen)
        fd = os.open(f"/dev/loop{chosen}", (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
        try:
            _configure(fd, file, flags=(_READ_ONLY if read_only else 0) | _AUTOCLEAR)
        except OSError as error:
            os.close(fd)
            if error.errno != errno.EBUSY or number is not None:
                raise
            continue
        return Loop(chosen, fd)
    raise OSError(errno.EBUSY, "no loop device is free")


def remove(number: int) -> None:
    """Take away a device that was made under its number; one that stays in use stays."""
    for _ in range(_TRIES):
        try:
            _control(_REMOVE, number)
        except OSError as error:
            if error.errno != errno.EBUSY:
                return
            time.sleep(0.05)
        else:
            return


def _control(request: int, argument: int = 0) -> int:
    fd = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        return fcntl.ioctl(fd, request, argument)
    finally:
        os.close(fd)


def _free() -> int:
    return _control(_GET_FREE)


def _make(number: int) -> int:
    with suppress(FileExistsError):
        _control(_ADD, number)
    return number


def _node(number: int) -> None:
    path = f"/dev/loop{number}"
    with suppress(FileExistsError):
        os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(_MAJOR, number))


def _configure(fd: int, file: str, *, flags: int) -> None:
    backing = os.open(file, (os.O_RDONLY if flags & _READ_ONLY else os.O_RDWR) | os.O_CLOEXEC)
    try:
        config = bytearray(_CONFIG_SIZE)
        struct.pack_into("=I", config, 0, backing)
        struct.pack_into("=I", config, _FLAGS_AT, flags)
        name = file.encode()[:63]
        config[_NAME_AT : _NAME_AT + len(name)] = name
        fcntl.ioctl(fd, _CONFIGURE, config)
    finally:
        os.close(backing)
