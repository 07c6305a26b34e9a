"""Published ports in the short forms of a lab file. Pure."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address
from typing import Literal

from labctl.model.lab import Port

_FORM = re.compile(
    r"(?:(?P<address>[0-9]+(?:\.[0-9]+)+):)?(?:(?P<host>[0-9]{1,6}):)?(?P<port>[0-9]{1,6})(?:/(?P<protocol>\w+))?\Z"
)


def parse_port(value: str | int) -> Port:
    """``6379``, ``6379:6379``, ``53:53/udp``, ``0.0.0.0:80:80``. Raises `ValueError` with a sentence."""
    match = _FORM.match(str(value))
    if not match:
        raise ValueError(f'expected a port such as "6379", "6379:6379" or "53:53/udp", found "{value}"')
    protocol: Literal["tcp", "udp"]
    if match["protocol"] in (None, "tcp"):
        protocol = "tcp"
    elif match["protocol"] == "udp":
        protocol = "udp"
    else:
        raise ValueError(f"a port's protocol is tcp or udp, found {match['protocol']}")
    numbers = [int(number) for number in (match["host"], match["port"]) if number]
    wrong = [number for number in numbers if not 1 <= number <= 65535]
    if wrong:
        raise ValueError(f"a port is between 1 and 65535, found {wrong[0]}")
    address = "127.0.0.1"
    if match["address"]:
        try:
            address = str(IPv4Address(match["address"]))
        except AddressValueError:
            raise ValueError(f"{match['address']} is not an IPv4 address of the host") from None
    return Port(numbers[-1], int(match["host"]) if match["host"] else None, protocol, address)


def same_socket(one: Port, other: Port) -> bool:
    """Whether two published ports want the same socket of the host."""
    everywhere = "0.0.0.0" in (one.address, other.address) or one.address == other.address
    return one.host is not None and one.host == other.host and one.protocol == other.protocol and everywhere
