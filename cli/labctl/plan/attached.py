"""Shared storage of virtual machines: each brings its volumes to itself, by the kernel that it has of its own. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from labctl.model.lab import Lab
from labctl.plan.model import Attached
from labctl.plan.storage import Addresses, Passwords, Use, attachment, iqn

RAW = "/dev/"
"""How the places of raw disks begin, and those of nothing else."""


def attached(used: Iterable[Use], name: str) -> tuple[Attached, ...]:
    """What the machine called `name` brings to itself, in the order of the file."""
    return tuple(
        Attached(use.volume.name, use.target, use.read_only, use.raw)
        for use in used
        if use.machine and use.node == name
    )


def document(lab: Lab, name: str, used: Iterable[Use], addresses: Addresses, passwords: Passwords) -> dict[str, Any]:
    """What the machine called `name` is told: storage.json, as a container of labctl's own is."""
    own = [use for use in used if use.machine and use.node == name]
    told = [(attachment(lab, use, addresses, passwords), use.raw) for use in own]
    return {
        "lab": lab.name,
        "node": name,
        "initiator": iqn(lab.name, name),
        "mounts": [each for each, raw in told if not raw],
        "devices": [each for each, raw in told if raw],
    }
