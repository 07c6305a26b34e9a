"""Ports of machines on this host: no engine publishes them, so that one process for each lab carries them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from labctl.model.lab import Port
from labctl.recipe import Entry

CONFIGURATION = "/etc/lab/ports.json"


def seed(ports: Iterable[tuple[str, str, Port]]) -> tuple[Entry, ...]:
    """All that the process has to know: of each port its node, the node's address, the port, and that of the host."""
    listed = [
        {
            "node": node,
            "protocol": port.protocol,
            "address": port.address,
            "port": port.host,
            "to_address": address,
            "to_port": port.container,
        }
        for node, address, port in ports
    ]
    return (Entry(CONFIGURATION, json.dumps(listed, indent=1).encode(), 0o600),)


def published(configuration: bytes | None) -> dict[str, tuple[Port, ...]]:
    """The ports of each node as the process was told them; empty when that cannot be read."""
    found: dict[str, tuple[Port, ...]] = {}
    try:
        listed: list[dict[str, Any]] = json.loads(configuration or b"[]")
        for each in listed:
            port = Port(int(each["to_port"]), int(each["port"]), each["protocol"], each["address"])
            found[each["node"]] = (*found.get(each["node"], ()), port)
    except (ValueError, KeyError, TypeError):
        return {}
    return found
