"""The question whether subnets are left for new networks."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv4Network

from labctl.plan.allocate import POOLS
from labctl.probe.engine_api import UnreachableError, ask_engine, endpoint
from labctl.probe.finding import Finding
from labctl.probe.host import Host

_FEW = 16


def subnet_findings(host: Host) -> list[Finding]:
    """How many subnets the pool has beside the host's routes and the engine's networks."""
    taken = [*routes(host), *_engine_subnets(host)]
    free = sum(_free(pool, taken) for pool in POOLS)
    evidence = f"{free} free for networks of labs"
    if not free:
        remedy = "give every network a `subnet` that is free here: ip route"
        return [Finding("subnets", "subnets", "limited", "none of the pool is free beside this host's routes", remedy)]
    if free < _FEW:
        return [
            Finding("subnets", "subnets", "limited", evidence, "remove labs that are not needed: labctl ls, labctl gc")
        ]
    return [Finding("subnets", "subnets", "ok", evidence)]


def routes(host: Host) -> list[IPv4Network]:
    """The host's IPv4 routes but the default one, as /proc/net/route has them."""
    found = []
    for line in host.text("/proc/net/route").splitlines()[1:]:
        words = line.split()
        if len(words) > 7:
            address, mask = (struct.unpack("<L", bytes.fromhex(words[place]))[0] for place in (1, 7))
            if mask:
                network = socket.inet_ntoa(struct.pack(">L", address & mask))
                found.append(IPv4Network(f"{network}/{mask.bit_count()}"))
    return found


def _engine_subnets(host: Host) -> list[IPv4Network]:
    try:
        answer = ask_engine(endpoint(host), "/networks", timeout=4)
    except UnreachableError:
        return []
    networks = answer.body if isinstance(answer.body, list) else []
    configs = [config for network in networks for config in (network.get("IPAM") or {}).get("Config") or []]
    found = []
    for config in configs:
        try:
            found.append(IPv4Network(config.get("Subnet", "")))
        except ValueError:  # IPv6, or nothing
            continue
    return found


def _free(pool: IPv4Network, taken: list[IPv4Network]) -> int:
    """How many /24 of `pool` overlap none of `taken`: counted, not tried one by one."""
    blocked: set[IPv4Address] = set()
    for other in taken:
        if other.supernet_of(pool):
            return 0
        if other.overlaps(pool):
            wide = other.prefixlen < 24
            blocked.update(
                part.network_address
                for part in (other.subnets(new_prefix=24) if wide else [other.supernet(new_prefix=24)])
            )
    return (1 << (24 - pool.prefixlen)) - len(blocked)
