"""What the host itself has taken: routes and listening ports, read from the kernel's tables."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

_LISTEN = "0A"
_UDP_UNCONNECTED = "07"


def routes(table: Path = Path("/proc/net/route")) -> frozenset[IPv4Network]:
    """Networks that the host has a route to, without the default route; empty where there is no such table."""
    found = set()
    for fields in _rows(table):
        network = IPv4Network((_address(fields[1]), str(_address(fields[7]))), strict=False)
        if network.prefixlen:
            found.add(network)
    return frozenset(found)


def listening(directory: Path = Path("/proc/net")) -> frozenset[tuple[int, str]]:
    """(port, protocol) of everything that listens on this host, whatever its address."""
    found = set()
    for table, protocol, state in (
        ("tcp", "tcp", _LISTEN),
        ("tcp6", "tcp", _LISTEN),
        ("udp", "udp", _UDP_UNCONNECTED),
        ("udp6", "udp", _UDP_UNCONNECTED),
    ):
        for fields in _rows(directory / table):
            if fields[3] == state:
                found.add((int(fields[1].rpartition(":")[2], 16), protocol))
    return frozenset(found)


def _rows(table: Path) -> list[list[str]]:
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return []
    return [fields for line in lines if len(fields := line.split()) > 7]


def _address(hexadecimal: str) -> IPv4Address:
    """The table writes addresses as a number in the machine's own byte order."""
    return IPv4Address(struct.pack("=I", int(hexadecimal, 16)))
