"""Two digests per node: `shape` is what only a new one can have, `content` what can be put into a running one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from labctl.model.lab import Node, Port

_NOTHING: Mapping[str, Any] = {}


def shape(
    node: Node,
    addresses: Mapping[str, IPv4Address],
    subnets: Mapping[str, IPv4Network],
    ports: tuple[Port, ...],
    more: Mapping[str, Any] = _NOTHING,
) -> str:
    """Box or image, networks, ports, privileges, mounts, health, and `more`: a difference re-creates the node.

    Of a virtual machine nothing that is tried in it or brought to it from outside: that changes beside it.
    """
    machine = node.provider == "vagrant"
    value: dict[str, Any] = {
        "box": node.box,
        "image": node.image,
        "networks": {name: f"{address} {subnets[name]}" for name, address in addresses.items()},
        "ports": [asdict(port) for port in ports if not machine],
        "capabilities": sorted(node.capabilities),
        "limited": (node.cpus is not None, node.memory is not None),
        "mounts": [(mount.target, mount.volume, str(mount.source), mount.read_only) for mount in node.mounts],
        "health": asdict(node.healthcheck) if node.healthcheck and not machine else None,
        "desktop": asdict(node.desktop) if node.desktop else None,
    }
    if node.image is not None:
        value |= {
            "command": node.command,
            "environment": dict(node.environment),
            "files": [asdict(file) for file in node.files],
        }
    return _digest({**value, **more})


def content(node: Node, hosts: tuple[str, ...], more: Mapping[str, Any] = _NOTHING) -> str:
    """Limits, packages, users, files, run, services, environment, names, `more`: what is configured in place."""
    value: dict[str, Any] = {"hosts": hosts, "cpus": node.cpus, "memory": node.memory}
    if node.image is None:
        value |= {
            "packages": sorted(node.packages),
            "users": [asdict(user) for user in node.users],
            "files": [asdict(file) for file in node.files],
            "run": node.run,
            "services": [asdict(service) for service in node.services],
            "environment": dict(node.environment),
        }
    if node.provider == "vagrant":
        value["health"] = asdict(node.healthcheck) if node.healthcheck else None
    return _digest({**value, **more})


def changed(old: str, new: str) -> list[str]:
    """The parts in which two digests differ, in the words of a lab file; empty when one of them has no parts."""
    before, after = _parts(old), _parts(new)
    if not before or not after:
        return []
    names = [name for name in {**after, **before} if before.get(name) != after.get(name)]
    return [_WORDS.get(name, name) for name in names]


_WORDS = {
    "hosts": "the names of other nodes",
    "limited": "limits",
    "size": "processors or memory",
    "health": "healthcheck",
    "mounts": "volumes",
    "serves": "what it serves",
    "clients": "who uses what it serves",
    "storage": "what it mounts",
    "keeping": "what is mounted where",
}


def _digest(value: Mapping[str, Any]) -> str:
    """A digest in parts, so that what changed can be named: ``box=1f40fc92,ports=d751713a``."""
    return ",".join(f"{name}={sha256(repr(part).encode()).hexdigest()[:8]}" for name, part in value.items())


def _parts(digest: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in digest.split(",") if "=" in part)
