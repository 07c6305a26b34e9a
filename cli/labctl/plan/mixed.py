"""Networks that containers and virtual machines are on together: who makes them, and what the others need. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from labctl.model.lab import Node, ProviderName
from labctl.plan.model import JOINT, DesiredNetwork, DesiredNode, Observed, ObservedNetwork


def owners(nodes: Iterable[Node], observed: Observed) -> dict[str, ProviderName]:
    """Who makes each network: the engine where a container is on it, else libvirt.

    One that the engine has made stays its own when its last container has left: its machines need not be made anew.
    """
    found: dict[str, ProviderName] = {}
    for node in nodes:
        for name in node.interfaces:
            known = observed.networks.get(name)
            if node.provider == "docker" or (known is not None and known.provider == "docker"):
                found[name] = "docker"
            else:
                found.setdefault(name, "vagrant")
    return found


def joined(
    networks: Mapping[str, DesiredNetwork],
    nodes: Collection[Node],
    addresses: Mapping[str, Mapping[str, IPv4Address]],
) -> dict[str, DesiredNetwork]:
    """`networks` with a joint for each of the engine's with a machine on it: there the engine keeps to a spare part."""
    found = dict(networks)
    for name, network in networks.items():
        machines = [node.name for node in nodes if node.provider == "vagrant" and name in node.interfaces]
        if machines and network.provider == "docker":
            reserved = frozenset(addresses[node][name] for node in machines)
            found[name] = replace(network, spare=spare(network.subnet, reserved), reserved=reserved)
            found[JOINT + name] = replace(
                network,
                name=JOINT + name,
                engine_name=network.engine_name.removesuffix(name) + JOINT + name,
                internal=False,
                chosen=False,
                provider="vagrant",
            )
    return found


def must_be_new(wanted: DesiredNetwork, known: ObservedNetwork, nodes: Iterable[DesiredNode]) -> bool:
    """Whether `wanted` is what only a new network can be, or keeps an address from a container that is to have it."""
    if (wanted.subnet, wanted.internal, wanted.provider) != (known.subnet, known.internal, known.provider):
        return True
    return any(node.provider == "docker" and node.addresses.get(known.name) in known.reserved for node in nodes)


def spare(subnet: IPv4Network, machines: Collection[IPv4Address]) -> IPv4Network | None:
    """The largest part of the subnet in which no machine is, the last one of several; None when there is none.

    An engine gives any address of a subnet to a container that comes without one, a running machine's too.
    """
    for prefix in range(subnet.prefixlen + 1, 31):
        for part in reversed(list(subnet.subnets(new_prefix=prefix))):
            if not any(address in part for address in machines):
                return part
    return None
