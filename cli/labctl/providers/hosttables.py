"""What the host itself has taken: routes and listening ports, read from the kernel."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

_LISTEN = 10
_CLOSE = 7
"""The state of a UDP socket that receives from anybody."""


def routes(table: Path = Path("/proc/net/route")) -> frozenset[IPv4Network]:
    """Networks that the host has a route to, without the default route; empty where there is no such table."""
    found = set()
    for fields in _rows(table):
        network = IPv4Network((_address(fields[1]), str(_address(fields[7]))), strict=False)
        if network.prefixlen:
            found.add(network)
    return frozenset(found)


RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
"""Where this host says whom it asks for names; the second one when the first names the host itself."""


def resolvers(files: Iterable[Path] = RESOLVERS) -> tuple[str, ...]:
    """Addresses (IPv4) of those whom this host asks for names and whom others can ask too; at most three."""
    for file in files:
        try:
            lines = [line.split() for line in file.read_text().splitlines()]
        except OSError:
            continue
        named = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
        found = [each for each in named if ":" not in each and not each.startswith("127.")]
        if found:
            return tuple(found[:3])
    return ()


def listening(directory: Path = Path("/proc/net")) -> frozenset[tuple[int, str]]:
    """(port, protocol) of everything that listens on this host, whatever its address."""
    wanted = ((socket.IPPROTO_TCP, "tcp", _LISTEN), (socket.IPPROTO_UDP, "udp", _CLOSE))
    try:
        return frozenset((port, name) for number, name, state in wanted for port in _sockets(number, state))
    except OSError:
        return _listed(directory)


# ---------------------------------------------------------------- asked of the kernel

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBBI48x")
_PORT = struct.Struct(">4xH")  # of struct inet_diag_msg: family, state, timer, retransmissions, source port


def _sockets(protocol: int, state: int) -> Iterator[int]:
    """Local ports of sockets in one state. The tables in /proc are the same, but take the kernel 20 ms to print."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(2)
        kernel.bind((0, 0))
        for family in (socket.AF_INET, socket.AF_INET6):
            question = _QUESTION.pack(family, protocol, 0, 0, 1 << state)
            length = _HEADER.size + len(question)
            kernel.send(_HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0) + question)
            yield from _answers(kernel)


def _answers(kernel: socket.socket) -> Iterator[int]:
    while True:
        data = kernel.recv(1 << 17)
        place = 0
        while place + _HEADER.size <= len(data):
            length, kind, *_ = _HEADER.unpack_from(data, place)
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR or length < _HEADER.size:
                raise OSError("the kernel does not list its sockets")
            yield _PORT.unpack_from(data, place + _HEADER.size)[0]
            place += (length + 3) & ~3


# ---------------------------------------------------------------- printed by the kernel


def _listed(directory: Path) -> frozenset[tuple[int, str]]:
    found = set()
    for table, protocol, state in (
        ("tcp", "tcp", _LISTEN),
        ("tcp6", "tcp", _LISTEN),
        ("udp", "udp", _CLOSE),
        ("udp6", "udp", _CLOSE),
    ):
        for fields in _rows(directory / table):
            if int(fields[3], 16) == state:
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
