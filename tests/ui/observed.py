"""Labs as they might have been observed: plain data for the displays, without an engine."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from labctl.model.lab import Desktop, File, Healthcheck, Lab, Mount, Network, Node, NodeService, Port, User, Volume
from labctl.plan.model import GATEWAY, Observed, ObservedNetwork, ObservedNode, ObservedVolume

CANARY = "canary-7f3a9c"
"""A secret that must never be seen."""

CREATED = 1_795_183_200.25


def lab() -> Lab:
    """A lab whose every secret is the canary."""
    web = Node(
        "web-1",
        "web",
        interfaces={"lan": IPv4Address("10.77.0.21")},
        environment={"TOKEN": CANARY},
        files=(File("/etc/secret", CANARY.encode()),),
        users=(User("ana", password=CANARY),),
        services=(NodeService("app", "run-app", environment={"KEY": CANARY}),),
        healthcheck=Healthcheck("true", 1.0, 1.0, 3),
        packages=("curl",),
        run=("echo ready",),
    )
    dev = Node("dev", "dev", interfaces={"lan": None}, desktop=Desktop(), mounts=(Mount("/data", "data"),))
    late = Node("late", "late", interfaces={"lan": IPv4Address("10.77.0.30")}, ports=(Port(80),))
    volume = Volume("data", "local", chap_user="u", chap_password=CANARY)
    return Lab(
        "shop",
        Path("/labs/shop"),
        {"web-1": web, "dev": dev, "late": late},
        {"lan": Network("lan", IPv4Network("10.77.0.0/24"))},
        {"data": volume},
        groups={"web": ("web-1",), "web-1": ("web-1",), "dev": ("dev",), "late": ("late",)},
    )


def node(name: str, **changes: object) -> ObservedNode:
    """A running node; `changes` are fields."""
    fields: dict[str, object] = {
        "name": name,
        "id": f"id-{name}",
        "state": "running",
        "image": "labctl/debian-13:0a1b2c3d4e5f",
        "shape": "shape",
        "content": "content",
        "addresses": {"lan": IPv4Address("10.77.0.21")},
        "group": name,
        "created": CREATED,
        "status": "Up 3 minutes",
    }
    return ObservedNode(**{**fields, **changes})  # type: ignore[arg-type]


def observed() -> Observed:
    """What is there of `lab`: `late` is not, and `old` is no longer in the file."""
    nodes = [
        node("web-1", group="web", health="healthy", ports=(Port(80, 20080),)),
        node("dev", addresses={"lan": IPv4Address("10.77.0.22")}, desktop="1280x800", volumes=("data",)),
        node("old", state="exited", exit_code=3, kind="image", image="valkey/valkey:8", addresses={}),
        node(GATEWAY, role="gateway", ports=(Port(6080, 20022),)),
    ]
    return Observed(
        "shop",
        {each.name: each for each in nodes},
        {"lan": ObservedNetwork("lan", "n1", "labctl-shop-lan", IPv4Network("10.77.0.0/24"), internal=False)},
        {"data": ObservedVolume("data", "labctl-shop-data", "local", "Retain")},
        directories=frozenset({"/labs/shop"}),
    )
