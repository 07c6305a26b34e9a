"""What a new machine is told: its seed, and what an engine would have told a container."""

from __future__ import annotations

from collections.abc import Collection

from labctl.features.base import HOSTS, MOTD
from labctl.plan.model import Desired, DesiredNode
from labctl.providers.vagrant.machines import serial
from labctl.recipe import Entry

DISKS = "/etc/lab/disks"
"""What a machine is told of the disks that outlive it."""

SEEDED = "/etc/lab/seeded"
"""Says to a machine that it was told all that it has to know."""


def whole(node: DesiredNode, desired: Desired, seed: Collection[Entry]) -> tuple[Entry, ...]:
    """All of it: the names of the others and its own, its disks, and its seed, which wins."""
    lines = "".join(f"{line}\n" for line in node.hosts)
    own = (
        Entry(HOSTS, lines.encode()),
        Entry(MOTD, f"{node.name} in lab {desired.lab}\n".encode()),
        Entry(DISKS, _disks(node).encode()),
    )
    told = {entry.path: entry for entry in (*own, *seed, Entry(SEEDED, b""))}
    return tuple(told.values())


def _disks(node: DesiredNode) -> str:
    """What the machine is told of its disks: the serial number of each, what it is for, and where it is mounted."""
    places = {mount.volume: mount.target for mount in node.node.mounts if mount.volume}
    places |= dict(node.serves)
    kinds = {name: "served" for name, _ in node.serves}
    return "".join(
        f"{serial(engine_name)} {kinds.get(name, 'local')} {places[name]}\n"
        for name, engine_name in node.volumes.items()
    )
