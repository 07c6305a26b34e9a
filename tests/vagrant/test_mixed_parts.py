"""What a network of containers and machines is made of: no machine is started here."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from xml.etree import ElementTree

import pytest

from labctl.plan.mixed import spare
from labctl.plan.model import Desired, DesiredNetwork
from labctl.providers import hosttables
from labctl.providers.vagrant import fences, networks, taps

LAN = IPv4Network("10.77.0.0/24")


@pytest.mark.parametrize(
    ("machines", "expected"),
    [
        (["10.77.0.11"], "10.77.0.128/25"),
        (["10.77.0.200"], "10.77.0.0/25"),
        (["10.77.0.11", "10.77.0.200"], "10.77.0.128/26"),
        (["10.77.0.11", "10.77.0.100", "10.77.0.150", "10.77.0.250"], "10.77.0.192/27"),
    ],
)
def test_an_engine_gives_no_address_of_a_machine_away(machines: list[str], expected: str) -> None:
    addresses = [IPv4Address(each) for each in machines]
    part = spare(LAN, addresses)
    assert part == IPv4Network(expected)
    assert not any(address in part for address in addresses)


def test_a_subnet_may_have_no_part_to_spare() -> None:
    assert spare(IPv4Network("10.77.0.0/30"), [IPv4Address("10.77.0.2")]) is None


def test_a_joint_leads_to_the_engines_bridge() -> None:
    joint = DesiredNetwork(
        "_machines-lan", "labctl-shop-_machines-lan", "lab0", LAN, LAN[1], internal=False, chosen=False
    )
    root = ElementTree.fromstring(networks.xml(joint, Desired("shop", "/srv/<shop>", {}, {}, {}, {})))
    forward, bridge = root.find("forward"), root.find("bridge")
    assert forward is not None
    assert bridge is not None
    assert (forward.attrib, bridge.attrib) == ({"mode": "bridge"}, {"name": "lab0"})
    assert root.find("ip") is None  # the engine's, as are its rules
    assert networks.read(root.findtext("metadata/{urn:labctl:labels}labels", ""))[networks.SUBNET] == str(LAN)


def test_a_fence_lets_nothing_through_between_networks() -> None:
    text = fences.table("labctl-shop-lan", "lab0", lab="shop", shut=False, outward=["br0"])
    assert 'iifname "lab0" oifname != { "lab0", "br0" } meta oifkind { "bridge" } drop' in text
    assert 'oifname "lab0" iifname != { "lab0", "br0" } meta iifkind { "bridge" } drop' in text
    assert "lab shop" in text


def test_a_shut_fence_keeps_all_out_and_neighbours_together() -> None:
    text = fences.table("labctl-shop-san", "lab0", lab="shop", shut=True, outward=["br0"])
    rules = [line.strip() for line in text.splitlines() if line.endswith("drop")]
    assert rules == ['iifname "lab0" oifname != "lab0" drop', 'oifname "lab0" iifname != "lab0" drop']


def test_a_bridge_that_leads_out_of_the_host_is_none_to_be_kept_from(tmp_path: Path) -> None:
    (tmp_path / "br0" / "bridge").mkdir(parents=True)
    (tmp_path / "lab0" / "bridge").mkdir(parents=True)
    (tmp_path / "eth0").mkdir()
    routes = tmp_path / "route"
    rows = ["br0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000", "lab0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF"]
    routes.write_text("\n".join(["Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask", *rows, ""]))
    assert fences.outward(routes, tmp_path) == ["br0"]
    routes.write_text(routes.read_text().replace("br0", "eth0"))
    assert fences.outward(routes, tmp_path) == []


def test_an_interface_that_lost_its_bridge_is_noticed(tmp_path: Path) -> None:
    assert not taps.astray("lv0", "lab0", tmp_path)  # a machine that does not run has none
    (tmp_path / "lv0").mkdir()
    assert taps.astray("lv0", "lab0", tmp_path)
    (tmp_path / "lv0" / "master").symlink_to("../../net/lab0")
    assert not taps.astray("lv0", "lab0", tmp_path)
    assert taps.astray("lv0", "lab1", tmp_path)


def test_machines_ask_whom_the_host_asks_and_can_be_asked(tmp_path: Path) -> None:
    near, far = tmp_path / "resolv.conf", tmp_path / "systemd.conf"
    near.write_text("# by hand\nnameserver 127.0.0.53\nnameserver ::1\noptions edns0\n")
    far.write_text("nameserver 192.0.2.53\nnameserver 2001:db8::53\nnameserver 192.0.2.54\n")
    assert hosttables.resolvers([near, far]) == ("192.0.2.53", "192.0.2.54")
    assert hosttables.resolvers([near, tmp_path / "none"]) == ()
