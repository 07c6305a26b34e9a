"""Mounts of the machine: seen in the kernel's list, taken away in order or by force."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from storage import kernel
from storage.processes import Stuck, run

_PATIENCE = 6.0


def source_of(target: str) -> str:
    """What is mounted there, "" for nothing, without touching it: the dead do not answer."""
    found = ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        source, place = line.split()[:2]
        if place.replace("\\040", " ") == target:
            found = source.replace("\\040", " ")
    return found


def make(target: str) -> None:
    """Have the directory, and nothing written into it while nothing is mounted there: that would be out of sight."""
    Path(target).mkdir(parents=True, exist_ok=True)
    with suppress(Stuck):
        run("chattr", "+i", target, seconds=5.0)


def unmount(target: str) -> None:
    """In order, as far as that takes no more than a few seconds; then it is only taken out of sight."""
    if not source_of(target):
        return
    with suppress(Stuck):
        if run("umount", target, seconds=_PATIENCE).returncode == 0:
            return
    with suppress(Stuck):
        run("umount", "-f", "-l", target, seconds=2.0)
    with suppress(OSError):
        kernel.unmount(target, kernel.DETACH)


def answers(address: str, port: int, seconds: float = 2.0) -> str:
    """How a port answers: "" when it takes a connection, else why it does not."""
    try:
        socket.create_connection((address, port), timeout=seconds).close()
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return error.strerror or "no answer"
    return ""
