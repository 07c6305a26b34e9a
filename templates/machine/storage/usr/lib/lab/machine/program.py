"""The program of a machine: the same that a storage container runs, with the kernel's own clients."""

from __future__ import annotations

import signal
import sys
from typing import Any

from machine.iscsi import Disk, Mounted
from machine.nfs import Export
from storage.program import Program
from storage.volume import Life


def volumes(told: dict[str, Any]) -> dict[str, tuple[type[Life], dict[str, Any]]]:
    """What is wanted of each volume, by name."""
    # One disk with two paths, and the machine has a device over all paths for every disk.
    disks = [each for each in (*told.get("mounts", ()), *told.get("devices", ())) if each["kind"] == "iscsi"]
    common = {"name": told["initiator"], "multipath": any(len(each["portals"]) > 1 for each in disks)}
    wanted: dict[str, tuple[type[Life], dict[str, Any]]] = {}
    for mount in told.get("mounts", ()):
        if mount["kind"] == "nfs":
            wanted[mount["volume"]] = (Export, mount)
        else:
            wanted[mount["volume"]] = (Mounted, {**mount, **common})
    for device in told.get("devices", ()):
        wanted[device["volume"]] = (Disk, {**device, **common})
    return wanted


def main() -> int:
    """Until the machine ends."""
    program = Program(volumes)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, program.end)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    return program.run()
