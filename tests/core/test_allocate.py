"""Subnets, addresses and ports: chosen where they clash with nothing, the same every time, kept once chosen."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from labctl.errors import ConflictError, HostError
from labctl.model.lab import Lab, Network, Node, Port
from labctl.plan import allocate
from labctl.plan.model import GATEWAY, Observed, ObservedNetwork, ObservedNode


def lab(*networks: Network, name: str = "shop") -> Lab:
    return Lab(name, Path("/shop"), {}, {network.name: network for network in networks})


def node(name: str, **interfaces: str | None) -> Node:
    given = {net: IPv4Address(address) if address else None for net, address in interfaces.items()}
    return Node(name, name, interfaces=given)


def known(name: str, ports: tuple[Port, ...] = (), **addresses: str) -> ObservedNode:
    found = {net: IPv4Address(address) for net, address in addresses.items()}
    return ObservedNode(name, "id", "running", "", "", "", found, ports)


def test_a_subnet_of_the_pool_avoids_what_the_host_routes() -> None:
    first = allocate.subnets(lab(Network("lan")), Observed("shop"))["lan"]
    assert allocate.subnets(lab(Network("lan")), Observed("shop"))["lan"] == first
    vpn = Observed("shop", taken_subnets=(IPv4Network("10.0.0.0/8"), IPv4Network("0.0.0.0/0")))
    other = allocate.subnets(lab(Network("lan")), vpn)["lan"]
    assert not other.overlaps(IPv4Network("10.0.0.0/8"))


def test_two_networks_never_share_a_subnet() -> None:
    names = [Network(f"n{number}") for number in range(200)]
    chosen = list(allocate.subnets(lab(*names), Observed("shop")).values())
    assert len(set(chosen)) == len(chosen)


def test_a_subnet_is_kept_while_nothing_of_the_file_wants_it() -> None:
    mine = ObservedNetwork("lan", "id", "x", IPv4Network("10.200.7.0/24"), internal=False)
    there = Observed("shop", networks={"lan": mine})
    assert allocate.subnets(lab(Network("lan")), there)["lan"] == mine.subnet
    wanted = Network("other", IPv4Network("10.200.7.0/25"))
    assert not allocate.subnets(lab(Network("lan"), wanted), there)["lan"].overlaps(mine.subnet)


def test_a_subnet_of_the_file_that_others_use_is_refused() -> None:
    there = Observed("shop", taken_subnets=(IPv4Network("10.77.0.0/16"),))
    with pytest.raises(ConflictError, match=r"10\.77\.0\.0/16") as caught:
        allocate.subnets(lab(Network("lan", IPv4Network("10.77.3.0/24"))), there)
    assert not caught.value.retry


def test_no_subnet_left_is_said() -> None:
    with pytest.raises(HostError, match="no free subnet"):
        allocate.subnets(lab(Network("lan")), Observed("shop", taken_subnets=allocate.POOLS))


def test_addresses_given_kept_and_chosen() -> None:
    net = {"lan": IPv4Network("10.77.0.0/24")}
    nodes = [node("a", lan=None), node("b", lan="10.77.0.2"), node("c", lan=None)]
    there = Observed("shop", nodes={"c": known("c", lan="10.77.0.9")})
    chosen = allocate.addresses(nodes, net, there)
    assert {name: str(each["lan"]) for name, each in chosen.items()} == {
        "a": "10.77.0.3",
        "b": "10.77.0.2",
        "c": "10.77.0.9",
    }


def test_a_remembered_address_gives_way_to_the_file() -> None:
    net = {"lan": IPv4Network("10.77.0.0/24")}
    there = Observed("shop", nodes={"a": known("a", lan="10.77.0.5")})
    chosen = allocate.addresses([node("a", lan=None), node("b", lan="10.77.0.5")], net, there)
    assert chosen["a"]["lan"] != chosen["b"]["lan"] == IPv4Address("10.77.0.5")


def test_the_gateway_counts_from_the_end() -> None:
    net = {"lan": IPv4Network("10.0.0.0/9")}
    chosen = allocate.addresses([node("a", lan=None), node(GATEWAY, lan=None)], net, Observed("shop"))
    assert str(chosen["a"]["lan"]) == "10.0.0.2"
    assert str(chosen[GATEWAY]["lan"]) == "10.127.255.254"


def test_a_full_subnet_is_said() -> None:
    net = {"lan": IPv4Network("10.77.0.0/30")}
    with pytest.raises(HostError, match="no address left for b"):
        allocate.addresses([node("a", lan=None), node("b", lan=None)], net, Observed("shop"))


def test_ports_are_chosen_once_and_kept() -> None:
    wanted = {"web": (Port(80), Port(443, 8443))}
    first, chosen = allocate.ports("shop", wanted, Observed("shop"))
    picked = first["web"][0].host
    assert picked in chosen
    assert first["web"][1].host == 8443
    assert 8443 not in chosen
    # Its own listener is no reason to move; somebody else's is.
    mine = Observed("shop", nodes={"web": known("web", first["web"])}, taken_ports=frozenset({(picked or 0, "tcp")}))
    assert allocate.ports("shop", wanted, mine)[0] == first
    theirs = Observed("shop", taken_ports=frozenset({(picked or 0, "tcp")}))
    assert allocate.ports("shop", wanted, theirs)[0]["web"][0].host != picked
