"""A lab of its own for every run: another name, and free subnets and ports in place of those that the file declares."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from labctl.errors import HostError, KeyPath, Problem, UsageError
from labctl.model.scalars import NAME_LIMIT
from labctl.plan.allocate import POOLS

if TYPE_CHECKING:
    from labctl.model.lab import Check, Lab, Network, Node
    from labctl.plan.model import Observed
    from labctl.source.load import Loaded

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_ADDRESS = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)")
_TOKENS = "abcdefghijkmnpqrstuvwxyz23456789"


def renamed(loaded: Loaded, name: str) -> Loaded:
    """The same lab under another name. Raises `InvalidLabError` at a text that has its full name in it."""
    if not _LABEL.fullmatch(name) or len(name) > NAME_LIMIT:
        raise UsageError(
            f"{name} cannot be a lab's name", hint=f"small letters, digits and -, at most {NAME_LIMIT} characters"
        )
    problems = [] if name == loaded.lab.name else list(_names_in_text(loaded))
    if problems:
        raise loaded.invalid(problems)
    return replace(loaded, lab=replace(loaded.lab, name=name))


def apart(loaded: Loaded, observed: Observed, *, chance: random.Random | None = None) -> tuple[Loaded, list[str]]:
    """The lab under a name that no other run has, on subnets and ports that are free now; and what was changed.

    Hosts keep their part of the address: 10.77.0.10 of 10.77.0.0/24 becomes .10 of another /24. A text that names one
    of the old addresses, or the lab's full name, cannot be moved: raises `InvalidLabError` at its line.
    """
    chance = chance or random.SystemRandom()
    lab = loaded.lab
    declared = {name: network.subnet for name, network in lab.networks.items() if network.subnet is not None}
    ports = {port.host for node in lab.nodes.values() for port in node.ports if port.host is not None}
    problems = [*_names_in_text(loaded), *_addresses_in_text(loaded, declared), *_ports_in_checks(lab, ports)]
    if problems:
        raise loaded.invalid(problems)
    token = "".join(chance.choice(_TOKENS) for _ in range(6))
    name = f"{lab.name[: NAME_LIMIT - 7].rstrip('-')}-{token}"
    moved: dict[str, IPv4Network] = {}
    for network, subnet in declared.items():
        moved[network] = _free(subnet, [*observed.taken_subnets, *moved.values()], chance)
    notes = [f"this run is lab {name}"]
    notes += [
        f"network {network} is {moved[network]} in this run, not {subnet}" for network, subnet in declared.items()
    ]
    notes += [
        f"port {port.container} of {node.name} is published on a free port in this run, not on {port.host}"
        for node in lab.nodes.values()
        for port in node.ports
        if port.host is not None
    ]
    networks = {each.name: _network(each, moved) for each in lab.networks.values()}
    nodes = {each.name: _node(each, declared, moved) for each in lab.nodes.values()}
    return replace(loaded, lab=replace(lab, name=name, networks=networks, nodes=nodes)), notes


def _network(network: Network, moved: Mapping[str, IPv4Network]) -> Network:
    return replace(network, subnet=moved[network.name]) if network.name in moved else network


def _node(node: Node, declared: Mapping[str, IPv4Network], moved: Mapping[str, IPv4Network]) -> Node:
    interfaces = {
        network: _shifted(address, declared[network], moved[network])
        if address is not None and network in moved
        else address
        for network, address in node.interfaces.items()
    }
    return replace(node, interfaces=interfaces, ports=tuple(replace(port, host=None) for port in node.ports))


def _shifted(address: IPv4Address, before: IPv4Network, after: IPv4Network) -> IPv4Address:
    return after.network_address + (int(address) - int(before.network_address))


def _free(like: IPv4Network, taken: list[IPv4Network], chance: random.Random) -> IPv4Network:
    """A subnet of the same size that nothing overlaps, from a random place: runs that begin at once do not meet."""
    others = [subnet for subnet in taken if subnet.prefixlen]
    for pool in POOLS:
        if like.prefixlen < pool.prefixlen:
            continue
        count = 1 << (like.prefixlen - pool.prefixlen)
        start = chance.randrange(count)
        for step in range(min(count, 4096)):
            base = int(pool.network_address) + ((start + step) % count) * like.num_addresses
            candidate = IPv4Network((base, like.prefixlen))
            if not any(candidate.overlaps(other) for other in others):
                return candidate
    raise HostError(
        f"no free subnet of the size of {like} is left for this run",
        hint="labctl ls shows the labs that have them",
        code="LAB-NET-003",
    )


# ---------------------------------------------------------------- what cannot be moved


def _names_in_text(loaded: Loaded) -> Iterator[Problem]:
    name = re.escape(loaded.lab.name)
    pattern = re.compile(rf"(?<![\w-])([\w-]+)\.{name}\.internal(?![\w-])", re.IGNORECASE)
    for path, text, where in _texts(loaded):
        if found := pattern.search(text):
            yield Problem(
                path,
                f"{where}the full name {found[0]} changes with the lab's name",
                hint=f"write {found[1]} alone: it is the same node in every run",
            )


def _addresses_in_text(loaded: Loaded, declared: Mapping[str, IPv4Network]) -> Iterator[Problem]:
    for path, text, where in _texts(loaded):
        for found in _ADDRESS.finditer(text):
            try:
                address = IPv4Address(found[0])
            except ValueError:
                continue
            network = next((name for name, subnet in declared.items() if address in subnet), None)
            if network is None:
                continue
            owner = next(
                (node.name for node in loaded.lab.nodes.values() if node.interfaces.get(network) == address), None
            )
            yield Problem(
                path,
                f"{where}{address} is an address of network {network}, which is another one in each run",
                hint=f"write the name instead: {owner}" if owner else "write a node's name instead",
            )
            break


def _ports_in_checks(lab: Lab, ports: set[int]) -> Iterator[Problem]:
    """Checks from this host that name a fixed port of it."""
    for check in lab.checks.values():
        port = _port_of_host(check)
        if port in ports:
            yield Problem(
                ("checks", check.name, check.kind),
                f"port {port} of the host is another one in each run",
                hint="ask the node itself by its name and its own port",
            )


def _port_of_host(check: Check) -> int | None:
    found = re.search(r"(?:localhost|127\.0\.0\.1|0\.0\.0\.0):(\d+)", str(check.subject))
    return int(found[1]) if found and check.node is None else None


def _texts(loaded: Loaded) -> Iterator[tuple[KeyPath, str, str]]:
    """Every text of the lab file that is nobody's structure: its path, itself, and where in it (for other files)."""
    from labctl.source.tree import Scalar, walk

    for path, value in walk(loaded.origins.tree):
        if path and isinstance(value, Scalar) and isinstance(value.value, str) and not _structural(path):
            yield path, value.value, ""
    for node in loaded.lab.nodes.values():
        for file in node.files:
            path = (*node.source, "files", file.path, "source")
            if loaded.origins.get(path) is None:
                continue
            for number, line in enumerate(file.content.decode("utf-8", "replace").splitlines(), start=1):
                yield path, line, f"line {number} of that file: "


def _structural(path: KeyPath) -> bool:
    """Whether the value is moved with the lab: its name, subnets, addresses of nodes."""
    if path[0] == "name" or (path[0] == "networks" and path[-1] == "subnet"):
        return True
    return "networks" in path[:4] and path[0] in ("nodes", "defaults")
