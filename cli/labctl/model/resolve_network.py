"""Networks and addresses: which node is where, and whether that can be. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network

from labctl.errors import KeyPath
from labctl.model.draft import Draft
from labctl.model.lab import Network, Node
from labctl.model.scalars import parse_address, parse_subnet
from labctl.model.spec_node import NodeSpec


def networks(draft: Draft) -> dict[str, Network]:
    """The networks of the lab; one, named lan, when the file has none."""
    found: dict[str, Network] = {}
    for name, spec in (draft.topology.networks or {}).items():
        subnet = parse_subnet(spec.subnet) if spec and spec.subnet else None
        found[name] = Network(name, subnet, bool(spec and spec.internal))
    _overlaps(draft, found)
    return found or {"lan": Network("lan")}


def _overlaps(draft: Draft, found: Mapping[str, Network]) -> None:
    """A problem for each subnet that shares addresses with another, at the later of the two."""
    order = {name: place for place, name in enumerate(found)}
    given = [(network.subnet, name) for name, network in found.items() if network.subnet is not None]
    # Subnets share addresses only when one holds the other; sorted like this, those around one come before it.
    around: list[tuple[IPv4Network, str]] = []
    for subnet, name in sorted(given, key=lambda pair: (pair[0].network_address, pair[0].prefixlen, order[pair[1]])):
        while around and around[-1][0].broadcast_address < subnet.network_address:
            around.pop()
        if around:
            other, its_name = around[-1]
            if order[its_name] < order[name]:
                draft.add(("networks", name, "subnet"), f"{subnet} overlaps {other} of network {its_name}")
            else:
                draft.add(("networks", its_name, "subnet"), f"{other} overlaps {subnet} of network {name}")
        if not around or around[-1][0] != subnet:
            around.append((subnet, name))


def interfaces(
    draft: Draft, name: str, spec: NodeSpec, all_networks: Mapping[str, Network], by_volumes: list[str]
) -> list[dict[str, IPv4Address | None]]:
    """For each copy of a node: its networks, each with the address that the file gives, or None.

    `by_volumes` are the networks that its volumes name, which it joins when it has no `networks` of its own.
    """
    copies = draft.copies[name]
    path: KeyPath = ("nodes", name, "networks")
    if spec.networks is None:
        if draft.unsure(*path):
            return [{} for _ in copies]
        joined = [network for network, value in all_networks.items() if not value.internal or network in by_volumes]
        return [dict.fromkeys(joined) for _ in copies]
    result: list[dict[str, IPv4Address | None]] = [{} for _ in copies]
    if isinstance(spec.networks, list):
        for index, network in enumerate(spec.networks):
            if network not in all_networks:
                draft.unknown((*path, index), "network", network, all_networks)
            elif network in spec.networks[:index]:
                draft.add((*path, index), f"network {network} stands here twice")
            for copy in result:
                copy[network] = None
        return result
    for network, given in spec.networks.items():
        here = (*path, network)
        if network not in all_networks:
            draft.unknown(here, "network", network, all_networks, at_key=True)
            continue
        addresses = _for_copies(draft, here, name, spec, given)
        for index, (copy, address) in enumerate(zip(result, addresses, strict=True)):
            at = (*here, index) if isinstance(given, list) else here
            copy[network] = _fits(draft, at, address, all_networks[network])
    return result


def _for_copies(
    draft: Draft, path: KeyPath, name: str, spec: NodeSpec, given: str | list[str] | None
) -> list[IPv4Address | None]:
    copies = draft.copies[name]
    if isinstance(given, str):
        if spec.count is not None and spec.count > 1:
            draft.add(path, f"one address cannot be that of {spec.count} copies: write a list of {spec.count}, or null")
            return [None] * len(copies)
        return [parse_address(given)]
    if given is None:
        return [None] * len(copies)
    if draft.unsure(*path) or draft.unsure("nodes", name, "count"):
        return [None] * len(copies)
    if spec.count is None:
        draft.add(path, "a list of addresses is for a node with `count`, write one address")
        return [None] * len(copies)
    if len(given) != spec.count:
        draft.add(path, f"`count` is {spec.count}, this list has {len(given)}")
        return [None] * len(copies)
    return [parse_address(text) for text in given]


def _fits(draft: Draft, path: KeyPath, address: IPv4Address | None, network: Network) -> IPv4Address | None:
    if address is None:
        return None
    subnet = network.subnet
    if subnet is None:
        if not draft.unsure("networks", network.name):
            draft.add(
                path,
                f"network {network.name} has no subnet of its own, so an address in it cannot be chosen",
                hint=f"give network {network.name} a subnet, or write null here",
            )
        return None
    if address not in subnet:
        draft.add(path, f"{address} is not in {subnet}, the subnet of network {network.name}")
    elif address == subnet.network_address:
        draft.add(path, f"{address} is the address of the network {network.name} itself")
    elif address == subnet.broadcast_address:
        draft.add(path, f"{address} is the broadcast address of network {network.name}")
    elif address == subnet.network_address + 1:
        draft.add(path, f"{address} is the gateway of network {network.name}")
    return address


def reachable(draft: Draft, nodes: Mapping[str, Node], networks: Mapping[str, Network]) -> None:
    """What a node offers to the outside needs a network that leads there."""
    for node in nodes.values():
        if draft.unsure(*node.source, "networks") or draft.unsure("networks"):
            continue
        joined = [networks[name] for name in node.interfaces if name in networks]
        if node.desktop and not joined:
            draft.add((*node.source, "desktop"), f"node {node.group} is on no network, its desktop cannot be reached")
        # An engine publishes no ports of an internal network; a virtual machine has a way of its own.
        if node.ports and node.provider == "docker" and all(network.internal for network in joined):
            what = "internal networks only" if joined else "no network"
            draft.add((*node.source, "ports"), f"node {node.group} is on {what}, its ports cannot be published")


def address_clashes(draft: Draft, nodes: Mapping[str, Node]) -> None:
    """Addresses that two nodes of a network have, and subnets that are too small."""
    taken: dict[tuple[str, IPv4Address], str] = {}
    members: dict[str, list[Node]] = {}
    for node in nodes.values():
        for network, address in node.interfaces.items():
            members.setdefault(network, []).append(node)
            if address is None:
                continue
            first = taken.setdefault((network, address), node.name)
            if first != node.name:
                path: KeyPath = (*node.source, "networks", network)
                copies = draft.copies[node.group]
                if copies != (node.name,) or draft.topology.node(node.group).count is not None:
                    path = (*path, copies.index(node.name))
                draft.add(path, f"{address} is already the address of node {first}")
    for name, subnet in ((name, spec.subnet) for name, spec in (draft.topology.networks or {}).items() if spec):
        if subnet is None:
            continue
        # The network's own address, its gateway and its broadcast address are nobody's.
        room = parse_subnet(subnet).num_addresses - 3 - any(node.desktop for node in nodes.values())
        if len(members.get(name, ())) > room:
            draft.add(
                ("networks", name, "subnet"),
                f"{subnet} has room for {room} nodes, network {name} has {len(members[name])}",
            )
