"""A resolved lab in the language of lab files again: everything spelled out, secrets masked. Pure.

What comes out is a lab file that means the same lab, but for the masked values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl.model.lab import Check, Command, Lab, Node, Port, Volume
from labctl.model.scalars import format_duration, format_size
from labctl.model.secret import MASK

VERSION = 1
"""Of the document: keys are added, never renamed, while it stays the same."""


def spell(lab: Lab, *, scenarios: object = None) -> dict[str, Any]:
    """The lab as plain data. `scenarios` are as the file has them: they need no resolving."""
    document = {
        "x-version": VERSION,
        "name": lab.name,
        "ttl": None if lab.ttl is None else format_duration(lab.ttl),
        "message": lab.message,
        "domains": {name: _given({"kind": domain.kind, "in": domain.parent}) for name, domain in lab.domains.items()},
        "networks": {
            name: _given({"subnet": str(network.subnet) if network.subnet else None}) | {"internal": network.internal}
            for name, network in lab.networks.items()
        },
        "volumes": {name: _volume(volume) for name, volume in lab.volumes.items()},
        "nodes": {copies[0].group: _node(copies) for copies in _groups(lab)},
        "checks": {name: _check(check) for name, check in lab.checks.items()},
        "scenarios": scenarios,
    }
    return _given(document)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is not set."""
    return {key: value for key, value in values.items() if value is not None and value not in ((), [], {})}


def _words(command: Command | None) -> str | list[str] | None:
    return list(command) if isinstance(command, tuple) else command


def _volume(volume: Volume) -> dict[str, Any]:
    plain: dict[str, Any] = {"type": volume.type}
    if volume.type != "local":
        plain |= {"server": volume.server}
    if volume.type == "nfs":
        plain |= {"path": volume.path, "access": volume.access, "squash": volume.squash, "version": volume.version}
    if volume.type == "iscsi":
        own = {"user": volume.chap_user, "password": MASK} if volume.chap_user else volume.chap
        size = format_size(volume.size or 0)
        plain |= {"size": size, "fs": volume.fs, "access": volume.access, "chap": own, "target": volume.target}
    return _given(plain | {"networks": list(volume.networks), "reclaim": volume.reclaim})


def _groups(lab: Lab) -> list[list[Node]]:
    """The nodes as the file has them: each with all its copies."""
    groups: dict[str, list[Node]] = {}
    for node in lab.nodes.values():
        groups.setdefault(node.group, []).append(node)
    return list(groups.values())


def _node(copies: list[Node]) -> dict[str, Any]:
    node = copies[0]
    counted = node.name != node.group
    domains = [copy.domain for copy in copies]
    return _given(
        {
            "count": len(copies) if counted else None,
            "provider": node.provider,
            "box": node.box,
            "image": node.image,
            "vagrant": {"provider": node.vagrant_provider} if node.vagrant_provider else None,
            "domain": domains if len(set(domains)) > 1 else node.domain,
            "cpus": node.cpus,
            "memory": None if node.memory is None else format_size(node.memory),
        }
    ) | _rest(copies, counted=counted)


def _rest(copies: list[Node], *, counted: bool) -> dict[str, Any]:
    node = copies[0]
    # "On no network" is said, and null is a value there: an address that is to be chosen.
    networks: dict[str, object] = {}
    for name, address in node.interfaces.items():
        several = [str(copy.interfaces[name]) for copy in copies] if counted else str(address)
        networks[name] = several if address else None
    rest = {
        "volumes": [
            f"{mount.volume or mount.source}:{mount.target}{':ro' if mount.read_only else ''}" for mount in node.mounts
        ],
        "devices": [f"{device.volume}:{device.target}" for device in node.devices],
        "ports": [_port(port) for port in node.ports],
        "capabilities": list(node.capabilities),
        "environment": dict.fromkeys(node.environment, MASK),
        "command": _words(node.command),
        "packages": list(node.packages),
        "users": {
            user.name: _given({"ssh_keys": list(user.ssh_keys), "password": MASK if user.password else None})
            | {"sudo": user.sudo}
            for user in node.users
        },
        "files": {file.path: {"content": MASK, "mode": f"{file.mode:04o}", "owner": file.owner} for file in node.files},
        "run": [_words(command) for command in node.run],
        "services": {
            service.name: _given(
                {
                    "command": _words(service.command),
                    "user": service.user,
                    "environment": dict.fromkeys(service.environment, MASK),
                }
            )
            for service in node.services
        },
        "healthcheck": _healthcheck(node),
        "depends_on": {awaited.node: {"condition": awaited.condition} for awaited in node.depends_on},
        "desktop": {"wm": node.desktop.wm, "geometry": f"{node.desktop.width}x{node.desktop.height}"}
        if node.desktop
        else None,
        "ide": node.ide or None,
    }
    return {"networks": networks or []} | _given(rest)


def _port(port: Port) -> str:
    address = f"{port.address}:" if port.address != "127.0.0.1" else ""
    host = f"{port.host}:" if port.host is not None else ""
    return f"{address}{host}{port.container}{'/udp' if port.protocol == 'udp' else ''}"


def _healthcheck(node: Node) -> dict[str, Any] | None:
    check = node.healthcheck
    if check is None:
        return None
    return {
        "test": _words(check.test),
        "interval": format_duration(check.interval),
        "timeout": format_duration(check.timeout),
        "retries": check.retries,
        "start_period": format_duration(check.start_period),
    }


def _check(check: Check) -> dict[str, Any]:
    where = "on" if check.kind in ("run", "mount") else "from"
    return _given(
        {
            check.kind: _words(check.subject),
            where: check.node if check.kind != "desktop" else None,
            "status": check.status,
            "header": dict(check.header),
            "body": check.body,
            "interval": format_duration(check.interval),
            "timeout": format_duration(check.timeout),
            "retries": check.retries,
        }
    )
