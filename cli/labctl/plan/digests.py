"""Two digests per node: `shape` is what only a new one can have, `content` what can be put into a running one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from labctl.model.lab import Node, Port


def shape(
    node: Node, addresses: Mapping[str, IPv4Address], subnets: Mapping[str, IPv4Network], ports: tuple[Port, ...]
) -> str:
    """Box or image, networks, ports, privileges, mounts, health: a difference re-creates the node."""
    value: dict[str, Any] = {
        "box": node.box,
        "image": node.image,
        "networks": {name: f"{address} {subnets[name]}" for name, address in addresses.items()},
        "ports": [asdict(port) for port in ports],
        "capabilities": sorted(node.capabilities),
        "limited": (node.cpus is not None, node.memory is not None),
        "mounts": [(mount.target, mount.volume, str(mount.source), mount.read_only) for mount in node.mounts],
        "health": asdict(node.healthcheck) if node.healthcheck else None,
        "desktop": asdict(node.desktop) if node.desktop else None,
    }
    if node.image is not None:
        value |= {
            "command": node.command,
            "environment": dict(node.environment),
            "files": [asdict(file) for file in node.files],
        }
    return _digest(value)


def content(node: Node, hosts: tuple[str, ...]) -> str:
    """Limits, packages, users, files, run, services, environment, names: a difference is configured in place."""
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
    return _digest(value)


def _digest(value: object) -> str:
    return sha256(repr(value).encode()).hexdigest()[:16]
