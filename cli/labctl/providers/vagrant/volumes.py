"""The data of machines: each volume a disk of its own in libvirt's pool, which outlives the machine that it is in.

A disk has no place for labels: they lie beside it, as a volume of the same name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from labctl.errors import ConflictError, LabctlError
from labctl.plan.model import Desired, DesiredVolume, ObservedVolume
from labctl.providers import labels
from labctl.providers.vagrant import libvirt

POOL = "default"
"""Vagrant's own pool."""

LEAST = 64 << 30
"""Bytes that a disk offers at least; the host's disk has what is written."""

_DIRECTORY = "/var/lib/libvirt/images"
_LABELS = ".labels"
_MARGIN = 2
"""How many times the size of what is served: a served disk may grow."""


def file_of(engine_name: str) -> str:
    """The name of the volume's disk in the pool."""
    return f"{engine_name}.qcow2"


def capacity(volume: DesiredVolume) -> int:
    """Bytes of the volume's disk."""
    return max(LEAST, (volume.size or 0) * _MARGIN)


def create(volume: DesiredVolume, desired: Desired) -> None:
    """Make the volume; one of this lab's that is there is kept with its data. Raises `ConflictError` for another's."""
    wanted = labels.of_volume(desired, volume)
    _have_pool()
    beside = volume.engine_name + _LABELS
    there = _listed()
    if beside not in there:
        if file_of(volume.engine_name) in there:
            raise _foreign(volume, None)
        text = json.dumps(wanted) + "\n"
        libvirt.virsh("vol-create-as", POOL, beside, str(len(text)), "--format", "raw")
        libvirt.virsh("vol-upload", "--pool", POOL, beside, "/dev/stdin", stdin=text)
    else:
        known = next(iter(_labels([beside])), {})
        if not labels.same_owner(known, wanted):
            raise _foreign(volume, known.get(labels.LAB))
    if file_of(volume.engine_name) not in there:
        size = str(capacity(volume))
        libvirt.virsh("vol-create-as", POOL, file_of(volume.engine_name), size, "--format", "qcow2")


def lab_of(volume: DesiredVolume | ObservedVolume) -> str:
    """The lab that the volume belongs to."""
    return volume.engine_name.removeprefix("labctl-").removesuffix(f"-{volume.name}")


def remove(volume: DesiredVolume | ObservedVolume, marker: Path) -> None:
    """Remove the volume and its data; gone is fine. The lab's `marker` of its disks goes with the last of them."""
    for name in (file_of(volume.engine_name), volume.engine_name + _LABELS):
        try:
            libvirt.virsh("vol-delete", "--pool", POOL, name)
        except LabctlError as error:
            said = " ".join(error.details)
            if "not found" not in said and "No such file" not in said:
                raise LabctlError(
                    f"volume {volume.name} cannot be removed", details=error.details, code="LAB-VOL-001"
                ) from error
    lab = lab_of(volume)
    if not any(given.get(labels.LAB) == lab for given, _ in observed(f"labctl-{lab}-")):
        with suppress(OSError):
            marker.rmdir()


def observed(prefix: str = "labctl-") -> list[tuple[Mapping[str, str], ObservedVolume]]:
    """The volumes whose disks have names that begin with `prefix`, each with its labels."""
    names = [name for name in _listed() if name.startswith(prefix) and name.endswith(_LABELS)]
    return [
        (given, _volume(given)) for given in _labels(names) if {labels.LAB, labels.KIND, labels.NAME} <= given.keys()
    ]


def _volume(given: Mapping[str, str]) -> ObservedVolume:
    return ObservedVolume(
        name=given[labels.NAME],
        engine_name=f"labctl-{given[labels.LAB]}-{given[labels.NAME]}",
        type=given.get("labctl.type", "local"),
        reclaim="Delete" if given.get("labctl.reclaim") == "Delete" else "Retain",
        size=int(given["labctl.size"]) if given.get("labctl.size", "").isdecimal() else None,
        target=given.get("labctl.target"),
        provider="vagrant",
    )


def _listed() -> list[str]:
    try:
        return [line.split()[0] for line in libvirt.virsh("vol-list", POOL).splitlines() if line.strip()]
    except LabctlError as error:
        if any("no storage pool" in line.lower() or "not active" in line for line in error.details):
            return []
        raise


def _labels(names: list[str]) -> list[dict[str, str]]:
    """The labels of each, asked for by one command; those that cannot be read are left out."""
    if not names:
        return []
    try:
        said = libvirt.virsh("; ".join(f"vol-download --pool {POOL} {name} /dev/stdout" for name in names))
    except LabctlError as error:
        if not libvirt.gone(error):
            raise
        # One of them has gone meanwhile.
        return _labels(names[: len(names) // 2]) + _labels(names[len(names) // 2 :]) if len(names) > 1 else []
    found = []
    for text in said.splitlines():
        with suppress(ValueError):
            read = json.loads(text)
            found += [read] if isinstance(read, dict) else []
    return found


def _have_pool() -> None:
    """Have the pool that Vagrant would make, running."""
    if POOL in libvirt.virsh("pool-list", "--name").split():
        return
    if POOL not in libvirt.virsh("pool-list", "--all", "--name").split():
        libvirt.virsh("pool-define-as", POOL, "dir", "--target", _DIRECTORY)
        libvirt.virsh("pool-build", POOL)
    libvirt.virsh("pool-start", POOL)


def _foreign(volume: DesiredVolume, lab: str | None) -> ConflictError:
    whose = f"is lab {lab}'s" if lab else "is not labctl's"
    return ConflictError(
        f"there is a disk {file_of(volume.engine_name)} already, and it {whose}",
        taken=f"volume {volume.name}",
        retry=False,
        hint=f"give volume {volume.name} another name, or remove that disk",
        code="LAB-VOL-002",
    )
