"""What the boxes of machines take up on this host, who uses them, and giving that room back.

A box lies in three places: labctl's cache has the file, Vagrant its content, libvirt's pool the disk that machines' own
disks are based on.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import LabctlError
from labctl.providers.vagrant import boxes, libvirt

POOL = "default"
ORPHANED = 24 * 3600.0
"""Seconds after which a disk in the pool that no machine and no Vagrant of ours knows is taken for left behind."""

_SLASH = "-VAGRANTSLASH-"
_VOLUME = re.compile(
    rf"^(?P<owner>labctl){_SLASH}(?P<name>[a-z0-9.-]+)_vagrant_box_image_[0-9.]+_(?P<time>\d+)_?box\.img$"
)


@dataclass(frozen=True, slots=True)
class StockBox:
    """One box. `size` is in bytes in all places, `users` the machines made from it (``LAB/NODE``).

    `path` is labctl's file, `unpacked` Vagrant's directory, `volumes` the disks in the pool that were made from that.
    """

    tag: str
    box: str
    size: int
    path: Path | None
    unpacked: Path | None
    volumes: tuple[str, ...] = ()
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Volume:
    name: str
    size: int
    backing: str
    path: str


def stock(cache: Path, vagrant_home: Path, promised: Mapping[str, Collection[str]]) -> tuple[StockBox, ...]:
    """All boxes of labctl's that this user has, by name.

    `promised` are boxes of machines that a lab of this user has or is about to make: tag to ``LAB/NODE``.
    """
    files = {each.tag: each for each in boxes.kept(cache)}
    unpacked = {
        f"labctl/{path.name.partition(_SLASH)[2]}": path
        for path in sorted((vagrant_home / "boxes").glob(f"labctl{_SLASH}*"))
    }
    volumes = _volumes()
    users = _users(promised)
    found = []
    for tag in sorted({*files, *unpacked}):
        own = [each for each in volumes if each.name in _names(tag, unpacked.get(tag))]
        size = sum(each.size for each in own) + (files[tag].size if tag in files else 0) + _size(unpacked.get(tag))
        name = tag.partition("/")[2].rpartition("-")[0]
        path = files[tag].path if tag in files else None
        disks = tuple(each.name for each in own)
        found.append(StockBox(tag, name, size, path, unpacked.get(tag), disks, tuple(sorted(users.get(tag, ())))))
    return tuple(found)


def take_away(box: StockBox) -> None:
    """Remove a box from all three places; gone is fine, and a disk that a machine is based on stays."""
    based_on = {each.backing for each in _volumes()}
    for volume in _volumes():
        if volume.name in box.volumes and volume.path not in based_on:
            _delete(volume.name)
    if box.unpacked is not None:
        shutil.rmtree(box.unpacked, ignore_errors=True)
    if box.path is not None:
        for path in (box.path, boxes.digest_of(box.path), box.path.with_suffix(".lock")):
            path.unlink(missing_ok=True)


def clear_leftovers(cache: Path, vagrant_home: Path) -> list[str]:
    """Remove what no box has any more: locks of builds that have ended, disks whose Vagrant has forgotten them."""
    gone = [path.name for path in sorted((cache / "boxes").glob("*.lock")) if _let_go(path)]
    volumes = _volumes()
    based_on = {each.backing for each in volumes}
    ours = {
        name
        for path in (vagrant_home / "boxes").glob(f"labctl{_SLASH}*")
        for name in _names(f"labctl/{path.name.partition(_SLASH)[2]}", path)
    }
    for volume in volumes:
        match = _VOLUME.match(volume.name)
        if match is None or volume.name in ours or volume.path in based_on:
            continue
        if time.time() - int(match["time"]) > ORPHANED:
            _delete(volume.name)
            gone.append(volume.name)
    return gone


def _let_go(lock: Path) -> bool:
    """Remove a lock that nobody holds and whose box is not there; whether it was one."""
    if lock.with_suffix(".box").exists():
        return False
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _names(tag: str, unpacked: Path | None) -> set[str]:
    """What vagrant-libvirt calls the disks of a box: by its version, or where it has none by the time of its image."""
    head = f"{tag.replace('/', _SLASH)}_vagrant_box_image"
    found = set()
    for image in unpacked.glob("*/**/box.img") if unpacked is not None else ():
        version = image.relative_to(unpacked or image).parts[0]
        found.add(f"{head}_{f'0_{int(image.stat().st_mtime)}' if version == '0' else version}_box.img")
    return found


def _users(promised: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    users = {tag: set(nodes) for tag, nodes in promised.items()}
    if libvirt.is_there():
        for domain in libvirt.domains("labctl-"):
            with suppress(ValueError, AttributeError):
                given = json.loads(domain.description)
                if tag := given.get("labctl.image-tag"):
                    users.setdefault(tag, set()).add(f"{given.get('labctl.lab')}/{given.get('labctl.name')}")
    return users


def _volumes() -> list[_Volume]:
    """All disks of the pool; none where there is no libvirt or no pool."""
    if not libvirt.is_there():
        return []
    try:
        names = [line.split()[0] for line in libvirt.virsh("vol-list", POOL).splitlines() if line.strip()]
    except LabctlError:
        return []
    return list(_described(names))


def _described(names: Collection[str]) -> Iterator[_Volume]:
    for name in names:
        try:
            root = ElementTree.fromstring(libvirt.virsh("vol-dumpxml", name, POOL))
        except LabctlError:
            continue  # gone since it was listed
        yield _Volume(
            name,
            int(root.findtext("allocation", "0")),
            root.findtext("backingStore/path", ""),
            root.findtext("target/path", ""),
        )


def _delete(volume: str) -> None:
    try:
        libvirt.virsh("vol-delete", volume, POOL)
    except LabctlError as error:
        if not libvirt.gone(error) and "no storage vol" not in " ".join(error.details):
            raise


def _size(directory: Path | None) -> int:
    if directory is None:
        return 0
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*") if path.is_file())
