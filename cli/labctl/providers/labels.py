"""The labels on the engine's objects: they are the state, so a lab is known again without any file of labctl's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any

from labctl.model.lab import Port
from labctl.plan.model import Attached, Desired, DesiredNode, DesiredVolume

SCHEMA = "labctl.schema"
LAB = "labctl.lab"
KIND = "labctl.kind"
NAME = "labctl.name"
DIRECTORY = "labctl.directory"
OWNER = "labctl.owner"
EXPIRES = "labctl.expires"
"""Seconds since the epoch, on a lease."""
VERSION = "1"

NODES = ("node", "gateway", "storage", "keeper")
"""The kinds that are containers."""

LEASE = "lease"
"""The kind of the empty volume that says how long a lab may live."""

BAKING = "baking"
"""The kind of an image that is not finished: what a killed build leaves has it, a finished image never."""


def of(desired: Desired, kind: str, name: str) -> dict[str, str]:
    """What every object of a lab carries."""
    common = {SCHEMA: VERSION, LAB: desired.lab, KIND: kind, NAME: name, DIRECTORY: desired.directory}
    return common | ({OWNER: desired.owner} if desired.owner else {})


def of_node(desired: Desired, node: DesiredNode) -> dict[str, str]:
    """A container's labels: what planning needs to know of it again. No secrets: anybody who may list may read them."""
    labels = of(desired, node.role, node.name) | {
        "labctl.group": node.node.group,
        "labctl.shape": node.shape,
        "labctl.content": node.content,
        "labctl.addresses": json.dumps({name: str(address) for name, address in node.addresses.items()}),
        "labctl.ports": json.dumps([[port.container, port.host, port.protocol, port.address] for port in node.ports]),
    }
    if node.node.desktop is not None:
        labels["labctl.desktop"] = f"{node.node.desktop.width}x{node.node.desktop.height}"
    if node.node.image is not None:
        labels["labctl.image"] = node.node.image
    elif node.node.box is not None:
        labels["labctl.box"] = node.node.box
        labels["labctl.packages"] = " ".join(node.node.packages)
    if node.provider == "vagrant":
        # An engine tells by itself what is in a container, and containers of labctl's own what is mounted there.
        labels["labctl.volumes"] = " ".join(node.volumes)
        labels["labctl.attached"] = json.dumps([[e.volume, e.target, e.read_only, e.raw] for e in node.attached])
    return labels


def of_volume(desired: Desired, volume: DesiredVolume) -> dict[str, str]:
    """A volume's labels: enough to keep or remove it without the lab file."""
    labels = of(desired, "volume", volume.name) | {"labctl.type": volume.type, "labctl.reclaim": volume.reclaim}
    if volume.size is not None:
        labels["labctl.size"] = str(volume.size)
    if volume.target is not None:
        labels["labctl.target"] = volume.target
    return labels


def of_image(kind: str, box: str) -> dict[str, str]:
    """Images belong to no lab: they are shared by all that have the same recipe."""
    return {SCHEMA: VERSION, KIND: kind, "labctl.box": box}


def same_owner(labels: Mapping[str, str] | None, wanted: Mapping[str, str]) -> bool:
    """Whether an object carries the name that it would have if this lab had made it."""
    return labels is not None and all(labels.get(key) == wanted[key] for key in (LAB, KIND, NAME))


def query(lab: str | None = None, **more: str) -> dict[str, Any]:
    """A filter for the engine's lists: everything of labctl, or of one lab."""
    return {"label": [SCHEMA] if lab is None else [f"{LAB}={lab}"], **more}


def addresses(labels: Mapping[str, str]) -> dict[str, IPv4Address]:
    """The addresses that a container was made with, per network of the lab, in their order."""
    try:
        return {name: IPv4Address(text) for name, text in json.loads(labels.get("labctl.addresses", "{}")).items()}
    except (ValueError, AttributeError):
        return {}


def ports(labels: Mapping[str, str]) -> tuple[Port, ...]:
    """The published ports that a container was made with."""
    try:
        listed = json.loads(labels.get("labctl.ports", "[]"))
        return tuple(Port(int(inner), int(outer), kind, where) for inner, outer, kind, where in listed)
    except (ValueError, TypeError):
        return ()


def attached(labels: Mapping[str, str]) -> tuple[Attached, ...]:
    """The served volumes that a machine brings to itself."""
    try:
        return tuple(Attached(*each) for each in json.loads(labels.get("labctl.attached", "[]")))
    except (ValueError, TypeError):
        return ()


def expiry(labels: Mapping[str, str] | None) -> float | None:
    """When the lab of a lease's labels ends (seconds since the epoch); None for labels of anything else."""
    if not labels or labels.get(KIND) != LEASE or not labels.get(EXPIRES, "").isdigit():
        return None
    return float(labels[EXPIRES])
