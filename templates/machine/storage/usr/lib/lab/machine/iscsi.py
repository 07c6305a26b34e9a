"""An iSCSI disk by the machine's kernel: logged in over its portals, one device over all paths, a file system on it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

from machine import places, sessions
from storage import filesystem
from storage.failure import DEVICE, NETWORK, PORTAL, Failure
from storage.processes import Stuck, run
from storage.volume import Ended, Life

_FIND = 10.0
_JOIN = 60.0
"""Seconds for multipathd to make a device: when it misses a word of udev's it asks again after 10, up to three times."""
_LOOK = 2.0
_BECAUSE = "a machine has a kernel of its own"
_SOFT = ("size", "hold")


class Disk(Life):
    """The raw device, under the name that the lab file gives it."""

    _device = ""
    _refusal: Failure | None = None
    _looked = 0.0
    _since = 0.0
    _paths: Mapping[str, Any] = MappingProxyType({})

    def up(self) -> None:
        self._attach()
        link = Path(self.wanted["target"])
        link.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            link.unlink()
        link.symlink_to(self._device)
        self._since = time.time()

    def changed(self, wanted: dict[str, Any]) -> bool:
        hard = {key: value for key, value in wanted.items() if key not in _SOFT}
        if hard != {key: value for key, value in self.wanted.items() if key not in _SOFT}:
            return False
        self.wanted = wanted
        return True

    def look(self) -> dict[str, Any]:
        if not Path("/sys/class/block", Path(self._device).name).exists():
            raise Ended("the disk is gone")
        now = time.monotonic()
        if now - self._looked > _LOOK:
            self._looked = now
            self._paths = self._look_at_paths()
        known = {
            "way": "kernel",
            "because": _BECAUSE,
            "mounted": True,
            "since": self._since,
            "device": self._device,
            "size": _size(self._device),
            "wwid": self.wanted.get("wwid", ""),
            **self._paths,
        }
        if not self._paths.get("active"):
            layer, message = PORTAL, "no portal answers"
            if self._refusal is not None:
                layer, message = self._refusal.layer, self._refusal.message
            known |= {"layer": layer, "message": message, "hint": "it goes on when the server is back"}
        return known

    def down(self) -> None:
        self._leave()
        with suppress(OSError):
            link = Path(self.wanted["target"])
            if link.is_symlink():
                link.unlink()

    def _leave(self) -> None:
        if self._device.startswith("/dev/dm-"):
            with suppress(Stuck):
                run("multipath", "-f", self._device, seconds=5.0)
        sessions.log_out(self.name, self.wanted["iqn"])
        self._device = ""

    # ------------------------------------------------------------ bringing it

    def _attach(self) -> None:
        wanted = self.wanted
        sessions.prepare(wanted["name"], multipath=wanted["multipath"])
        refusals = [refusal for portal in wanted["portals"] if (refusal := self._log_in(portal)) is not None]
        if len(refusals) == len(wanted["portals"]):
            raise refusals[0]
        disk = sessions.find(wanted["iqn"], wanted["lun"], _FIND)
        known = _serial(disk)
        if known != wanted["wwid"]:
            raise Failure(DEVICE, f"the disk says it is {known or 'nobody'}, expected {wanted['wwid']}")
        self._device = f"/dev/{_joined(disk, _JOIN) if wanted['multipath'] else disk}"

    def _log_in(self, portal: str) -> Failure | None:
        address, _, port = portal.partition(":")
        if why := places.answers(address, int(port)):
            words = "the connection is refused" if why == "refused" else "no answer"
            return Failure(PORTAL if why == "refused" else NETWORK, f"{portal}: {words}")
        try:
            sessions.log_in(self.name, self.wanted, portal)
        except Failure as failure:
            return failure
        return None

    def _look_at_paths(self) -> dict[str, Any]:
        """Which portal is in use; one that came back is logged in to again."""
        iqn, portals = self.wanted["iqn"], self.wanted["portals"]
        states = sessions.states(iqn)
        refusals = [refusal for portal in portals if portal not in states and (refusal := self._log_in(portal))]
        self._refusal = refusals[0] if refusals else None
        up = [portal for portal in portals if states.get(portal) == "LOGGED_IN"]
        active = up[0] if up else ""
        if self.wanted["multipath"] and up:
            used = _used(self._device)
            by_number = {_number(disk): portal for portal, disk in sessions.disks(iqn, self.wanted["lun"]).items()}
            alive = {by_number[number]: first for number, first in used.items() if number in by_number}
            up = [portal for portal in up if portal in alive]
            active = next((portal for portal in up if alive[portal]), up[0] if up else "")
        return {
            "active": active,
            "standby": [portal for portal in up if portal != active],
            "down": [portal for portal in portals if portal not in up],
        }


class Mounted(Disk):
    """A file system on the disk, mounted where the lab file wants it."""

    _kind = ""

    def up(self) -> None:
        wanted = self.wanted
        self._attach()
        target = Path(wanted["target"])
        read_only = wanted.get("read_only", False)
        if places.source_of(str(target)) not in _names(self._device):
            places.make(str(target))
            self._kind = filesystem.prepare(
                self._device, _size(self._device), wanted.get("fs") or "ext4", read_only=read_only
            )
            filesystem.mount(self._device, str(target), self._kind, read_only=read_only)
        self._since = time.time()

    def look(self) -> dict[str, Any]:
        if not places.source_of(self.wanted["target"]):
            raise Ended("the mount was taken away")
        return super().look() | {"fs": self._kind}

    def down(self) -> None:
        places.unmount(self.wanted["target"])
        self._leave()


def _size(device: str) -> int:
    return int(Path("/sys/class/block", Path(device).name, "size").read_text()) * 512


def _number(disk: str) -> str:
    return Path("/sys/class/block", disk, "dev").read_text().strip()


def _names(device: str) -> list[str]:
    """What the kernel's list of mounts may call a device."""
    name = Path("/sys/class/block", Path(device).name, "dm", "name")
    return [device, *([f"/dev/mapper/{name.read_text().strip()}"] if name.exists() else [])]


def _serial(disk: str) -> str:
    """The name that the disk itself says it has: two disks never have the same."""
    with suppress(OSError):
        page = Path("/sys/class/block", disk, "device", "vpd_pg80").read_bytes()
        return page[4:].decode(errors="replace").strip("\0 ")
    return ""


def _joined(disk: str, seconds: float) -> str:
    """The device over all paths of which this one is a part, once it is there. Raises `Failure`."""
    end = time.monotonic() + seconds
    while not (found := sorted(Path("/sys/class/block", disk, "holders").glob("dm-*"))):
        if time.monotonic() > end:
            words = f"there is no device over the paths of {disk}"
            raise Failure(DEVICE, words, "see `journalctl -u multipathd` in the machine")
        time.sleep(0.1)
    device = found[0].name
    while not os.path.exists(f"/dev/{device}") and time.monotonic() < end:
        time.sleep(0.1)
    return device


def _used(device: str) -> dict[str, bool]:
    """What `used` finds of the device over all paths."""
    name = Path("/sys/class/block", Path(device).name, "dm", "name").read_text().strip()
    try:
        return used(run("dmsetup", "status", "--target", "multipath", name, seconds=5.0).stdout)
    except Stuck:
        return {}


def used(status: str) -> dict[str, bool]:
    """The numbers (``8:16``) of the paths that work, and whether each is of the group in use, by the kernel's word."""
    found, in_use = {}, False
    words = status.split()
    for word, following in pairwise(words):
        if re.fullmatch(r"\d+:\d+", word):
            if following == "A":
                found[word] = in_use
        elif word in ("A", "E", "D") and following == "0":
            in_use = word == "A"
    return found
