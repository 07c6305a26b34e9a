"""What of a lab runs as a process of the host, as nodes: the gateway of a lab without containers, ports of machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace

from labctl.model.lab import Node, Port
from labctl.plan import digests
from labctl.plan.model import GATEWAY, PORTS, STORING, DesiredNode


def gateway(port: int) -> Node:
    """The gateway of a lab without containers: this host reaches every machine by itself. It listens like another."""
    return Node(GATEWAY, GATEWAY, provider="vagrant", ports=(Port(port),))


def ports() -> Node:
    """The one that brings the ports of machines to ports of the host."""
    return Node(PORTS, PORTS, provider="vagrant")


def with_ports(wanted: Mapping[str, DesiredNode]) -> DesiredNode:
    """That process as it shall be beside these nodes: what it listens at is put into it while it runs."""
    told = tuple(f"{name} {address} {asdict(port)}" for name, address, port in published(wanted))
    process = wanted[PORTS]
    return replace(
        process,
        content=digests.content(process.node, (), {"ports": told}),
        ports=tuple(port for _, _, port in published(wanted)),
        chosen_ports=frozenset().union(*(node.chosen_ports for node in wanted.values())),
    )


def published(nodes: Mapping[str, DesiredNode]) -> Iterator[tuple[str, str, Port]]:
    """The ports of machines: the node, the address at which this host reaches it, and the port."""
    for node in nodes.values():
        address = next(iter(node.addresses.values()), None)
        if node.provider == "vagrant" and address is not None:
            yield from ((node.name, str(address), port) for port in node.ports)


def is_ready_when_started(wanted: DesiredNode) -> bool:
    """Of storage the nodes that have it are verified; a process of the host serves when its start has ended."""
    return wanted.role in STORING or wanted.provider == "host"
