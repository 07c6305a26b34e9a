"""From the lab file and what is observed to the lab as it shall be: addresses, names, ports, digests. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network

from labctl.model.lab import Lab, Network, Node, Port
from labctl.plan import allocate, digests
from labctl.plan.model import (
    GATEWAY,
    BakedImage,
    Desired,
    DesiredNetwork,
    DesiredNode,
    DesiredVolume,
    Observed,
    Role,
)
from labctl.recipe import Recipe

GATEWAY_PORT = 6080
"""Where the gateway listens inside its container."""


@dataclass(frozen=True, slots=True)
class Making:
    """How one node is made: the recipe of its features and the image that holds them."""

    image: BakedImage
    recipe: Recipe = field(default_factory=Recipe)


def desired(lab: Lab, makings: Mapping[str, Making], observed: Observed) -> Desired:
    """The lab as it shall be. `makings` has every node that is to be there, and `GATEWAY` when one is wanted.

    Addresses, subnets and ports that the lab has already are kept. Raises `ConflictError`, `HostError`.
    """
    nodes = {name: node for name, node in lab.nodes.items() if name in makings}
    if GATEWAY in makings:
        gateway = _gateway(lab, nodes.values())
        nodes[GATEWAY] = gateway
        if GATEWAY in gateway.interfaces:
            lab = replace(lab, networks={**lab.networks, GATEWAY: Network(GATEWAY)})
    subnets = allocate.subnets(lab, observed)
    addresses = allocate.addresses(nodes.values(), subnets, observed)
    ports, chosen = allocate.ports(lab.name, {name: node.ports for name, node in nodes.items()}, observed)
    volumes = {
        volume.name: DesiredVolume(volume.name, engine_name(lab.name, volume.name), volume.reclaim)
        for volume in lab.volumes.values()
        if volume.type == "local" and any(volume.name == m.volume for node in nodes.values() for m in node.mounts)
    }
    wanted = {
        name: _node(lab, node, makings[name], addresses, subnets, ports[name], chosen, volumes)
        for name, node in nodes.items()
    }
    used = {network for node in nodes.values() for network in node.interfaces}
    return Desired(
        lab=lab.name,
        directory=str(lab.directory),
        networks={
            name: _network(lab.name, network, subnets[name]) for name, network in lab.networks.items() if name in used
        },
        volumes=volumes,
        images={making.image.tag: making.image for making in makings.values()},
        nodes=wanted,
    )


def engine_name(lab: str, name: str) -> str:
    """What the engine knows a node, network or volume of a lab as."""
    return f"labctl-{lab}-{name}"


def bridge_name(lab: str, network: str) -> str:
    """The host's interface of a network: 14 bytes, the same every time."""
    return "lab" + sha256(f"{lab}/{network}".encode()).hexdigest()[:11]


def hosts(lab: Lab, viewer: str, addresses: Mapping[str, Mapping[str, IPv4Address]]) -> tuple[str, ...]:
    """Lines of /etc/hosts as `viewer` needs them: every node by name, a group's name once for each of its copies.

    A node is found at its address on a network that it shares with the viewer, else at its first.
    """
    near = addresses[viewer]
    lines = []
    for name in lab.nodes:
        own = addresses.get(name)
        if not own:
            continue
        address = next((own[network] for network in near if network in own), next(iter(own.values())))
        names = [name, *(group for group, members in lab.groups.items() if name in members and group != name)]
        lines.append(f"{address} " + " ".join(f"{each} {each}.{lab.name}.internal" for each in names))
    return tuple(lines)


def proxy_environment(desired: Desired, proxies: Mapping[str, str]) -> dict[str, str]:
    """The proxy variables of a node in both spellings; what is in the lab is reached without the proxy."""
    if not proxies:
        return {}
    inside = [*desired.nodes, f".{desired.lab}.internal", *(str(each.subnet) for each in desired.networks.values())]
    known = [proxies["no_proxy"]] if proxies.get("no_proxy") else ["localhost", "127.0.0.1"]
    values = {**proxies, "no_proxy": ",".join([*known, *inside])}
    return {spelling: value for name, value in values.items() for spelling in (name, name.upper())}


def _gateway(lab: Lab, nodes: Iterable[Node]) -> Node:
    """The gateway as a node: on every network over which it reaches a desktop, one port on the host's loopback.

    An internal network cannot publish a port: where there is no other, the gateway gets a network of its own.
    """
    networks: dict[str, IPv4Address | None] = {}
    for node in nodes:
        if node.desktop is not None and not any(network in networks for network in node.interfaces):
            network = _outward(lab, node)
            if network is not None:
                networks[network] = None
    if all(lab.networks[network].internal for network in networks):
        networks[GATEWAY] = None
    return Node(GATEWAY, GATEWAY, interfaces=networks, ports=(Port(GATEWAY_PORT),))


def _screens(lab: Lab, addresses: Mapping[str, Mapping[str, IPv4Address]]) -> tuple[str, ...]:
    """What the gateway has to know: a difference is content to put into it."""
    return tuple(
        f"{name} {' '.join(map(str, own.values()))} {lab.nodes[name].desktop}"
        for name, own in addresses.items()
        if name != GATEWAY
    )


def _outward(lab: Lab, node: Node) -> str | None:
    """The network to reach a node over: one with a way out first, since only there a port can be published."""
    names = list(node.interfaces)
    return next((name for name in names if not lab.networks[name].internal), names[0] if names else None)


def _network(lab: str, network: Network, subnet: IPv4Network) -> DesiredNetwork:
    return DesiredNetwork(
        name=network.name,
        engine_name=engine_name(lab, network.name),
        bridge=bridge_name(lab, network.name),
        subnet=subnet,
        gateway=subnet.network_address + 1,
        internal=network.internal,
        chosen=network.subnet is None,
    )


def _node(
    lab: Lab,
    node: Node,
    making: Making,
    addresses: Mapping[str, Mapping[str, IPv4Address]],
    subnets: Mapping[str, IPv4Network],
    ports: tuple[Port, ...],
    chosen: frozenset[int],
    volumes: Mapping[str, DesiredVolume],
) -> DesiredNode:
    role: Role = "gateway" if node.name == GATEWAY else "node"
    # Nothing of the user's is in the gateway: a newer image makes it anew, as another box would.
    shaped = replace(node, box=making.image.tag) if role == "gateway" else node
    names = hosts(lab, node.name, addresses) if role == "node" else _screens(lab, addresses)
    used = {mount.volume for mount in node.mounts if mount.volume}
    return DesiredNode(
        name=node.name,
        engine_name=engine_name(lab.name, node.name),
        hostname=node.name if role == "node" else "gateway",
        node=node,
        image=making.image.tag,
        shape=digests.shape(shaped, addresses[node.name], subnets, ports),
        content=digests.content(node, names),
        addresses=addresses[node.name],
        networks={network: engine_name(lab.name, network) for network in node.interfaces},
        hosts=names if role == "node" else (),
        aliases=tuple(dict.fromkeys((node.name, node.group, f"{node.name}.{lab.name}.internal"))),
        ports=ports,
        chosen_ports=frozenset(port.host for port in ports if port.host in chosen and port.host is not None),
        volumes={name: volume.engine_name for name, volume in volumes.items() if name in used},
        recipe=making.recipe,
        role=role,
    )
