"""Choosing subnets, addresses and ports: deterministic, remembered through what is observed, never what others use."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network
from itertools import islice
from typing import TypeVar

from labctl.errors import ConflictError, HostError
from labctl.model.lab import Lab, Network, Node, Port
from labctl.plan.model import GATEWAY, Observed

T = TypeVar("T")

POOLS = tuple(IPv4Network(pool) for pool in ("10.192.0.0/12", "172.24.0.0/13", "192.168.128.0/17", "198.18.0.0/15"))
"""Where subnets come from, in this order; a later pool is used when the earlier ones are taken (a VPN's 10.0.0.0/8)."""

PORTS = range(20000, 30000)
"""Host ports that labctl chooses from: below the range that Linux gives to outgoing connections."""


def subnets(lab: Lab, observed: Observed) -> dict[str, IPv4Network]:
    """The subnet of every network of the lab: the file's, else the one it has, else a free /24 of the pools.

    Raises `ConflictError` when the file's subnet overlaps something that is not this lab's.
    """
    foreign = [subnet for subnet in observed.taken_subnets if subnet.prefixlen]
    chosen: dict[str, IPv4Network] = {}
    for network in lab.networks.values():
        if network.subnet is not None:
            _refuse_taken(network, network.subnet, foreign)
            chosen[network.name] = network.subnet
    for network in lab.networks.values():
        if network.subnet is None:
            taken = [*foreign, *chosen.values()]
            known = observed.networks.get(network.name)
            if known is not None and not any(known.subnet.overlaps(other) for other in chosen.values()):
                chosen[network.name] = known.subnet
            else:
                chosen[network.name] = _free_subnet(f"{lab.name}/{network.name}", taken)
    return {name: chosen[name] for name in lab.networks}


def addresses(
    nodes: Iterable[Node], networks: Mapping[str, IPv4Network], observed: Observed
) -> dict[str, dict[str, IPv4Address]]:
    """The address of every node on each of its networks, in the order of its file: given, remembered, or the next free.

    The first address of a subnet is the engine's gateway; labctl's own gateway counts down from the last one.
    """
    nodes = list(nodes)
    used: dict[str, set[IPv4Address]] = {name: {_router(subnet)} for name, subnet in networks.items()}
    result: dict[str, dict[str, IPv4Address]] = {node.name: {} for node in nodes}

    def take(node: Node, network: str, address: IPv4Address) -> None:
        result[node.name][network] = address
        used[network].add(address)

    for node in nodes:
        for network, address in node.interfaces.items():
            if address is not None:
                take(node, network, address)
    for node in nodes:
        known = observed.nodes[node.name].addresses if node.name in observed.nodes else {}
        for network in node.interfaces:
            address = known.get(network)
            if network in result[node.name] or address is None:
                continue
            if address in networks[network] and address not in used[network]:
                take(node, network, address)
    for node in nodes:
        for network in node.interfaces:
            if network not in result[node.name]:
                take(node, network, _free_address(network, networks[network], used[network], node.name))
    return {node.name: {network: result[node.name][network] for network in node.interfaces} for node in nodes}


def ports(
    lab: str, nodes: Mapping[str, tuple[Port, ...]], observed: Observed
) -> tuple[dict[str, tuple[Port, ...]], frozenset[int]]:
    """The ports of every node, each with a host port, and those host ports that labctl chose itself."""
    own = {
        (port.host, port.protocol) for node in observed.nodes.values() for port in node.ports if port.host is not None
    }
    fixed = {(port.host, port.protocol) for wanted in nodes.values() for port in wanted if port.host is not None}
    used: set[tuple[int | None, str]] = {*observed.taken_ports} - own | fixed
    result: dict[str, tuple[Port, ...]] = {}
    chosen: set[int] = set()
    for name, wanted in nodes.items():
        known = observed.nodes[name].ports if name in observed.nodes else ()
        filled = []
        for port in wanted:
            if port.host is None:
                host = _remembered(port, known, used) or _free_port(f"{lab}/{name}/{port.container}", port, used)
                used.add((host, port.protocol))
                chosen.add(host)
                port = Port(port.container, host, port.protocol, port.address)
            filled.append(port)
        result[name] = tuple(filled)
    return result, frozenset(chosen)


def _router(subnet: IPv4Network) -> IPv4Address:
    return subnet.network_address + 1


def _refuse_taken(network: Network, subnet: IPv4Network, foreign: Collection[IPv4Network]) -> None:
    clash = next((other for other in foreign if other.overlaps(subnet)), None)
    if clash is not None:
        raise ConflictError(
            f"subnet {subnet} of network {network.name} overlaps {clash}, which this host uses already",
            taken=f"subnet {subnet}",
            retry=False,
            hint=f"give network {network.name} another subnet, or leave `subnet` out to have a free one chosen",
            code="LAB-NET-002",
        )


def _turn(key: str, items: list[T]) -> Iterator[T]:
    """`items` once around, beginning at a place that depends on `key` alone."""
    start = int.from_bytes(sha256(key.encode()).digest()[:8]) % len(items)
    yield from islice(items, start, None)
    yield from islice(items, start)


def _free_subnet(key: str, taken: Collection[IPv4Network]) -> IPv4Network:
    for pool in POOLS:
        for candidate in _turn(key, list(pool.subnets(new_prefix=24))):
            if not any(candidate.overlaps(other) for other in taken):
                return candidate
    raise HostError(
        "no free subnet is left for a network of the lab",
        details=[f"all of {', '.join(map(str, POOLS))} is routed on this host"],
        hint="give the network a `subnet` that is free here",
        code="LAB-NET-003",
    )


def _free_address(network: str, subnet: IPv4Network, used: set[IPv4Address], node: str) -> IPv4Address:
    first, last = int(subnet.network_address) + 1, int(subnet.broadcast_address) - 1
    numbers = range(last, first - 1, -1) if node == GATEWAY else range(first, last + 1)
    address = next((found for number in numbers if (found := IPv4Address(number)) not in used), None)
    if address is None:
        raise HostError(
            f"network {network} ({subnet}) has no address left for {node}",
            hint="give it a larger subnet",
            code="LAB-NET-005",
        )
    return address


def _remembered(port: Port, known: Iterable[Port], used: Collection[tuple[int | None, str]]) -> int | None:
    for other in known:
        if (other.container, other.protocol) == (port.container, port.protocol) and other.host is not None:
            return None if (other.host, other.protocol) in used else other.host
    return None


def _free_port(key: str, port: Port, used: Collection[tuple[int | None, str]]) -> int:
    for candidate in _turn(key, list(PORTS)):
        if (candidate, port.protocol) not in used:
            return candidate
    raise HostError(
        f"no free port is left between {PORTS.start} and {PORTS.stop - 1}",
        hint="stop what listens there",
        code="LAB-NET-004",
    )
