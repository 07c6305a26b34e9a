"""From the lab file and what is observed to the lab as it shall be: addresses, names, ports, digests. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from labctl.model.lab import Lab, Network, Node, Port, ProviderName, Volume
from labctl.plan import allocate, digests, mixed, processes
from labctl.plan.model import (
    DISK,
    GATEWAY,
    KEEPER,
    MANAGEMENT,
    PORTS,
    STORAGE,
    BakedImage,
    Desired,
    DesiredNetwork,
    DesiredNode,
    DesiredVolume,
    Observed,
    Role,
)
from labctl.recipe import Recipe

if TYPE_CHECKING:
    from labctl.plan.parts import Part
    from labctl.plan.storage import Use

STORAGES = "_storage"
"""Stands for the one image of all containers that bring shared storage to nodes, where makings are named."""

GATEWAY_PORT = 6080
"""Where the gateway listens inside its container."""


@dataclass(frozen=True, slots=True)
class Making:
    """How one node is made: the recipe of its features and the image that holds them."""

    image: BakedImage
    recipe: Recipe = field(default_factory=Recipe)


def desired(lab: Lab, makings: Mapping[str, Making], observed: Observed) -> Desired:
    """The lab as it shall be. `makings` has every node that is to be there, and `GATEWAY` and `STORAGES` when wanted.

    Addresses, subnets and ports that the lab has already are kept. Raises `ConflictError`, `HostError`.
    """
    nodes = {name: node for name, node in lab.nodes.items() if name in makings}
    if GATEWAY in makings:
        hosted = makings[GATEWAY].image.provider == "host"
        gateway = processes.gateway(GATEWAY_PORT) if hosted else _gateway(lab, nodes.values())
        nodes[GATEWAY] = gateway
        if GATEWAY in gateway.interfaces:
            lab = replace(lab, networks={**lab.networks, GATEWAY: Network(GATEWAY)})
    if PORTS in makings:
        nodes[PORTS] = processes.ports()
    used: tuple[Use, ...] = ()
    shared = any(volume.type != "local" for volume in lab.volumes.values())
    if shared:
        from labctl.plan import parts, storage

        used = storage.uses(lab, nodes)
        nodes |= {node.name: node for node in storage.containers(lab, used) if STORAGES in makings}
    if any(node.provider == "vagrant" for node in nodes.values()):
        lab = replace(lab, networks={**lab.networks, MANAGEMENT: Network(MANAGEMENT, internal=True)})
    subnets = allocate.subnets(lab, observed)
    addresses = allocate.addresses(nodes.values(), subnets, observed)
    ports, chosen = allocate.ports(lab.name, {name: node.ports for name, node in nodes.items()}, observed)
    volumes = {
        volume.name: DesiredVolume(
            volume.name,
            engine_name(lab.name, volume.name),
            volume.reclaim,
            volume.type,
            volume.size,
            _served_as(lab, volume) if volume.type != "local" else None,
            _keeper_of(volume, nodes),
        )
        for volume in lab.volumes.values()
        if (
            any(volume.name == m.volume for node in nodes.values() for m in node.mounts)
            if volume.type == "local"
            else volume.server in nodes
        )
    }
    wanted = {}
    for name, node in nodes.items():
        making = makings[name] if name in makings else makings[STORAGES]
        added = parts.part(lab, name, used, addresses, making.recipe) if shared else None
        wanted[name] = _node(lab, node, making, addresses, subnets, ports[name], chosen, volumes, added)
    if PORTS in wanted:
        wanted[PORTS] = processes.with_ports(wanted)
    owners = {**mixed.owners(nodes.values(), observed), MANAGEMENT: "vagrant"}
    networks = {
        name: _network(lab.name, network, subnets[name], owners[name])
        for name, network in lab.networks.items()
        if name in owners
    }
    return Desired(
        lab=lab.name,
        directory=str(lab.directory),
        networks=mixed.joined(networks, nodes.values(), addresses),
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
    subnets = dict.fromkeys(str(each.subnet) for each in desired.networks.values())
    inside = [*desired.nodes, f".{desired.lab}.internal", *subnets]
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
        if name in lab.nodes
    )


def _outward(lab: Lab, node: Node) -> str | None:
    """The network to reach a node over: one with a way out first, since only there a port can be published."""
    names = list(node.interfaces)
    return next((name for name in names if not lab.networks[name].internal), names[0] if names else None)


def _network(lab: str, network: Network, subnet: IPv4Network, provider: ProviderName) -> DesiredNetwork:
    return DesiredNetwork(
        name=network.name,
        engine_name=engine_name(lab, network.name),
        bridge=bridge_name(lab, network.name),
        subnet=subnet,
        gateway=subnet.network_address + 1,
        internal=network.internal,
        chosen=network.subnet is None,
        provider=provider,
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
    added: Part | None,
) -> DesiredNode:
    role = _role(node.name)
    # Nothing of the user's is in labctl's own containers: a newer image makes them anew, as another box would.
    shaped = node if role == "node" else replace(node, box=making.image.tag)
    kind: dict[str, object] = {}
    if node.provider == "vagrant":
        kind = {"provider": node.provider, "size": (node.cpus, node.memory)}
        kind |= {"ports": [asdict(port) for port in ports]} if role != "node" else {}
    names = hosts(lab, node.name, addresses) if role == "node" else ()
    told = _screens(lab, addresses) if role == "gateway" else names
    used = {mount.volume for mount in node.mounts if mount.volume}
    wanted = DesiredNode(
        name=node.name,
        engine_name=engine_name(lab.name, node.name),
        hostname=node.name if role == "node" else role,
        node=node,
        image=making.image.tag,
        shape=digests.shape(shaped, addresses[node.name], subnets, ports, {**kind, **(added.shape if added else {})}),
        content=digests.content(node, told, added.told if added else {}),
        addresses=addresses[node.name],
        networks={network: engine_name(lab.name, network) for network in node.interfaces},
        hosts=names,
        aliases=tuple(dict.fromkeys((node.name, node.group, f"{node.name}.{lab.name}.internal"))),
        ports=ports,
        chosen_ports=frozenset(port.host for port in ports if port.host in chosen and port.host is not None),
        volumes={
            name: volume.engine_name for name, volume in volumes.items() if name in used and volume.type == "local"
        },
        recipe=making.recipe,
        role=role,
    )
    if added is None:
        return wanted
    return replace(
        wanted,
        volumes={**wanted.volumes, **{name: volumes[name].engine_name for name, _ in added.serves}},
        serves=added.serves,
        mounts=added.mounts,
        raw=added.raw,
        waits_for=added.waits_for,
        confined=added.confined,
        attached=added.attached,
    )


def _served_as(lab: Lab, volume: Volume) -> str | None:
    """What a served volume is asked for by, where that is not simply its name."""
    from labctl.plan import storage

    if volume.type == "iscsi":
        return storage.iqn(lab.name, storage.target_of(volume))
    exported = storage.exported(lab, volume)
    return exported if exported != f"/{volume.name}" else None


def _keeper_of(volume: Volume, nodes: Mapping[str, Node]) -> ProviderName:
    """Who keeps the data: the provider of the volume's server, of a local one that of its users."""
    if volume.server is not None:
        return nodes[volume.server].provider
    users = (node for node in nodes.values() if any(mount.volume == volume.name for mount in node.mounts))
    return next(users).provider


def _role(name: str) -> Role:
    if name == GATEWAY:
        return "gateway"
    if name == PORTS:
        return "ports"
    if name == KEEPER:
        return "keeper"
    return "storage" if name.startswith((STORAGE, DISK)) else "node"
