"""What the measurements need of the host: free subnets, quiet moments, answers of nodes, and no leftovers."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError
from requests.exceptions import RequestException

from labctl.providers.hosttables import routes

LABEL = "labctl.bench"
"""What the floor's and compose's objects carry, so that they can be removed whatever happened."""

POOL = IPv4Network("10.208.0.0/14")


def free_subnets(engine: docker.APIClient) -> list[str]:
    """Subnets that nobody on this host uses, enough for every shape."""
    taken = set(routes())
    for network in engine.networks():
        for each in (network.get("IPAM") or {}).get("Config") or ():
            with suppress(ValueError, KeyError):
                taken.add(IPv4Network(each["Subnet"], strict=False))
    free = (subnet for subnet in POOL.subnets(new_prefix=24) if not any(subnet.overlaps(other) for other in taken))
    return [str(next(free)) for _ in range(4)]


def quiet(*, patience: float, share: float = 0.9) -> bool:
    """Wait until the processors have been idle for `share` of a second, at most `patience` seconds; whether they were.

    Removing many containers keeps the kernel at work for a while; and other programs may run on this host.
    """
    end = time.monotonic() + patience
    while True:
        before, began = _idle(), time.monotonic()
        time.sleep(1.0)
        idle, total = (b - a for a, b in zip(before, _idle(), strict=True))
        if idle >= share * total:
            return True
        if began >= end:
            return False


def _idle() -> tuple[int, int]:
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return fields[3] + fields[4], sum(fields)


def wait_for(places: Iterable[tuple[str, int, bytes]], *, timeout: float = 120.0) -> None:
    """Return when every (address, port) greets with these bytes. Raises `TimeoutError`."""
    end = time.monotonic() + timeout

    def one(place: tuple[str, int, bytes]) -> None:
        address, port, greeting = place
        while time.monotonic() < end:
            try:
                with socket.create_connection((address, port), timeout=2) as connection:
                    if connection.recv(len(greeting)) == greeting:
                        return
            except OSError:
                pass
            time.sleep(0.02)
        raise TimeoutError(f"no {greeting!r} from {address}:{port}")

    wanted = list(places)
    with ThreadPoolExecutor(len(wanted)) as pool:
        list(pool.map(one, wanted))


def addresses(engine: docker.APIClient, *labels: str) -> list[str]:
    """One address of every running container with all of `labels`."""
    found = engine.containers(filters={"label": list(labels)})
    return [next(iter(each["NetworkSettings"]["Networks"].values()))["IPAddress"] for each in found]


def remove_all(engine: docker.APIClient, *labels: str) -> None:
    """Remove every container and network that has one of `labels`; twice, since the engine may still be making some."""

    def gone(remove: Callable[..., Any], name: str, **more: bool) -> None:
        with suppress(APIError, RequestException):
            remove(name, **more)

    for pause in (0.0, 1.0):
        time.sleep(pause)
        for label in labels:
            for container in engine.containers(all=True, filters={"label": [label]}):
                gone(engine.remove_container, container["Id"], force=True, v=True)
            for network in engine.networks(filters={"label": [label]}):
                gone(engine.remove_network, network["Id"])
