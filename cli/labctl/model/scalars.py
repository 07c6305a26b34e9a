"""The small values of a lab file: names, sizes, durations, addresses. Pure parsing; errors are plain sentences.

Every `parse_…` raises `ValueError` with a sentence that says what was expected; the annotated types below give the
same sentence through pydantic and a pattern to the JSON Schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from typing import Annotated, Any

from pydantic import BeforeValidator, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

NAME_LIMIT = 40
"""Names are DNS labels, shorter than DNS allows so that the engine's names fit beside the lab's."""

_NAME = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z"
_USER = r"[a-z_][a-z0-9_-]{0,31}\Z"
_SIZE = r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?(B|[KMGT]i?B)\Z"
_DURATION = r"(?:[0-9]{1,12}(?:\.[0-9]{1,6})?(?:ms|s|m|h|d))+\Z"
_DURATION_PART = r"([0-9.]+)(ms|s|m|h|d)"
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_SIZE_WORDS = "expected a size such as 512MiB or 10GB"
_DURATION_WORDS = "expected a duration such as 90s, 10m or 8h"
_ADDRESS_WORDS = "expected an IPv4 address such as 10.77.0.10"
_SUBNET_WORDS = "expected an IPv4 subnet such as 10.77.0.0/24"

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"
SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)? ?(B|[KMGT]i?B)$"
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"


def parse_name(text: str) -> str:
    """`text` if it is a DNS label of at most 40 characters."""
    if len(text) > NAME_LIMIT:
        raise ValueError(f"a name has at most {NAME_LIMIT} characters, this one has {len(text)}")
    if not re.match(_NAME, text):
        raise ValueError("a name is made of lower-case letters, digits and inner hyphens")
    return text


def parse_user(text: str) -> str:
    """`text` if it can be the name of a user of a node."""
    if not re.match(_USER, text):
        raise ValueError("a user's name begins with a lower-case letter and goes on with letters, digits, - and _")
    return text


def parse_size(text: str) -> int:
    """Bytes of a size such as ``512MiB`` or ``10GB``."""
    match = re.match(_SIZE, text)
    if not match:
        raise ValueError(_SIZE_WORDS)
    return int(float(match[1]) * _UNITS[match[2]]) if "." in match[1] else int(match[1]) * _UNITS[match[2]]


def format_size(size: int) -> str:
    """The shortest exact text of `size` bytes: ``512MiB``."""
    for unit in ("TiB", "GiB", "MiB", "KiB", "TB", "GB", "MB", "KB"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return f"{size}B"


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``90s``, ``10m``, ``1h30m``."""
    if not re.match(_DURATION, text):
        raise ValueError(_DURATION_WORDS)
    try:
        return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(_DURATION_PART, text))
    except ValueError:
        raise ValueError(_DURATION_WORDS) from None


def format_duration(seconds: float) -> str:
    """The shortest exact text of a duration: ``8h``, ``90s``, ``250ms``."""
    if seconds != int(seconds):
        return f"{round(seconds * 1000)}ms"
    for unit in ("h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{int(seconds // _SECONDS[unit])}{unit}"
    return f"{int(seconds)}s"


def parse_address(text: str) -> IPv4Address:
    """An IPv4 address without prefix length."""
    if ":" in text:
        raise ValueError("IPv6 is not supported, expected an IPv4 address such as 10.77.0.10")
    if "/" in text:
        raise ValueError("an address is written without prefix length, such as 10.77.0.10")
    try:
        return IPv4Address(text)
    except AddressValueError:
        raise ValueError(_ADDRESS_WORDS) from None


def parse_subnet(text: str) -> IPv4Network:
    """An IPv4 network that containers and virtual machines can use, with its prefix length (8 to 29)."""
    if ":" in text:
        raise ValueError("IPv6 is not supported, expected an IPv4 subnet such as 10.77.0.0/24")
    if "/" not in text:
        raise ValueError("a subnet has a prefix length, such as 10.77.0.0/24")
    try:
        network = IPv4Network(text, strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise ValueError(_SUBNET_WORDS) from None
    if str(network.network_address) != text.partition("/")[0]:
        raise ValueError(f"the address has bits beyond the prefix, the subnet is {network}")
    if not 8 <= network.prefixlen <= 29:
        raise ValueError("a subnet's prefix length is between 8 and 29")
    special = network.is_loopback or network.is_multicast or network.is_link_local or network.is_reserved
    if special or network.overlaps(IPv4Network("0.0.0.0/8")):
        raise ValueError("this range is reserved, take one such as 10.77.0.0/24")
    return network


def _checked(parse: Callable[[str], object], expected: str | None = None) -> BeforeValidator:
    def check(value: object) -> object:
        if not isinstance(value, str):
            # Without words of its own, pydantic's strict type check says that a string is meant.
            if expected is None:
                return value
            raise PydanticCustomError("plain", "{sentence}", {"sentence": expected})
        try:
            parse(value)
        except ValueError as error:
            raise PydanticCustomError("plain", "{sentence}", {"sentence": str(error)}) from None
        return value

    return BeforeValidator(check)


def _schema(pattern: str | None, description: str, *examples: str) -> WithJsonSchema:
    schema: dict[str, Any] = {"type": "string", "description": description}
    if pattern:
        schema["pattern"] = pattern
    if examples:
        schema["examples"] = list(examples)
    return WithJsonSchema(schema)


Text = Annotated[str, Strict()]
Name = Annotated[
    str,
    Strict(),
    _checked(parse_name),
    WithJsonSchema({"type": "string", "pattern": NAME_PATTERN, "maxLength": NAME_LIMIT}),
]
UserName = Annotated[str, Strict(), _checked(parse_user), WithJsonSchema({"type": "string", "maxLength": 32})]
Size = Annotated[
    str, Strict(), _checked(parse_size, _SIZE_WORDS), _schema(SIZE_PATTERN, "A size in bytes.", "512MiB", "10GB")
]
Duration = Annotated[
    str,
    Strict(),
    _checked(parse_duration, _DURATION_WORDS),
    _schema(DURATION_PATTERN, "A length of time.", "90s", "10m", "8h"),
]
Address = Annotated[
    str,
    Strict(),
    _checked(parse_address, _ADDRESS_WORDS),
    _schema(None, "An IPv4 address without prefix length.", "10.77.0.10"),
]
Subnet = Annotated[
    str,
    Strict(),
    _checked(parse_subnet, _SUBNET_WORDS),
    _schema(None, "An IPv4 subnet with its prefix length.", "10.77.0.0/24"),
]
