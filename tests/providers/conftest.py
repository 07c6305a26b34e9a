"""What the contract suite runs against: each provider, one baked image for the session, labs that clean up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from labctl import features
from labctl.lab import cache as cache_directory
from labctl.model.lab import Node, Port
from labctl.plan.desired import bridge_name
from labctl.plan.model import BakedImage, Desired, DesiredNetwork, DesiredNode, DesiredVolume, Target
from labctl.providers.base import Provider
from labctl.recipe import Entry, Facts, Trust
from labctl.render.container import bake
from labctl.source.boxes import base_image, default_box

SUBNETS = ("10.207.11.0/24", "10.207.12.0/24")
"""Outside the pool that labctl chooses from, so that no lab of this host gets them."""

PROVIDERS = ("docker",)


def connect(name: str, directory: Path) -> Provider:
    """The provider of that name."""
    assert name == "docker"
    from labctl.providers.docker.provider import Docker

    return Docker(cache=directory)


@pytest.fixture(scope="session")
def baked() -> BakedImage:
    """The image of a plain node."""
    return bake(base_image(default_box()), features.recipe(Node("plain", "plain")), Trust())


@pytest.fixture(scope="session", params=PROVIDERS)
def provider(request: pytest.FixtureRequest, baked: BakedImage) -> Provider:
    """A provider with the plain node's image ready; a fresh host makes it once (a minute), others have it."""
    made = connect(request.param, cache_directory({}))
    nothing = Desired("x", "/", {}, {}, {}, {})
    assert baked.base is not None
    made.create(baked.base, nothing)
    made.create(baked, nothing)
    return made


Make = Callable[..., Desired]


def make_lab(lab: str, image: BakedImage, directory: Path, **nodes: dict[str, Any]) -> Desired:
    """A lab of two networks, `lan` and the internal `san`, and one volume, with the given nodes.

    Each node is a dict: `address` (last number on lan), `san` (True to be on both), and fields of `Node`.
    """
    networks = {
        name: DesiredNetwork(
            name,
            f"labctl-{lab}-{name}",
            bridge_name(lab, name),
            IPv4Network(subnet),
            IPv4Network(subnet).network_address + 1,
            internal=name == "san",
            chosen=False,
        )
        for name, subnet in zip(("lan", "san"), SUBNETS, strict=True)
    }
    volumes = {"data": DesiredVolume("data", f"labctl-{lab}-data", "Retain")}
    desired = {}
    for number, (name, given) in enumerate(nodes.items(), start=2):
        name = name.replace("_", "-")
        places = ["lan", "san"] if given.pop("san", False) else ["lan"]
        last = given.pop("address", number)
        ports: tuple[Port, ...] = given.get("ports", ())
        chosen = given.pop("chosen_ports", frozenset())
        tag = given.pop("tag", image.tag)
        node = Node(name, name, interfaces=dict.fromkeys(places), **given)
        desired[name] = DesiredNode(
            name=name,
            engine_name=f"labctl-{lab}-{name}",
            hostname=name,
            node=node,
            image=tag,
            shape="shape-1",
            content="content-1",
            addresses={place: IPv4Address(networks[place].subnet.network_address + last) for place in places},
            networks={place: networks[place].engine_name for place in places},
            hosts=tuple(
                f"{networks['lan'].subnet.network_address + at} {other.replace('_', '-')}"
                for at, other in enumerate(nodes, start=2)
            ),
            aliases=(name,),
            ports=ports,
            chosen_ports=chosen,
            volumes={"data": volumes["data"].engine_name} if any(each.volume for each in node.mounts) else {},
        )
    return Desired(lab, str(directory), networks, volumes, {image.tag: image}, desired)


def take_down(provider: Provider, lab: str) -> None:
    """Remove all of a lab, its volumes too."""
    left = provider.observe(lab)
    targets: list[Target] = [*left.nodes.values(), *left.networks.values(), *left.volumes.values()]
    for target in targets:
        provider.remove(target)


@pytest.fixture
def lab(
    provider: Provider, baked: BakedImage, tmp_path: Path, request: pytest.FixtureRequest, host_state: None
) -> Iterator[Make]:
    """Makes the description of a lab with the given nodes; whatever comes of it is taken down afterwards."""
    with ExitStack() as undo:

        def make(suffix: str = "", **nodes: dict[str, Any]) -> Desired:
            name = f"b-contract{suffix}"
            undo.callback(take_down, provider, name)
            return make_lab(name, baked, tmp_path, **nodes)

        yield make


def own_seed(lab: str, node: DesiredNode) -> tuple[Entry, ...]:
    """What a box node gets before its first start."""
    if node.node.image is not None:
        return ()
    return features.seed(node.node, Facts(lab, node.name, hosts=node.hosts))


def up(provider: Provider, desired: Desired, **seeds: tuple[Entry, ...]) -> None:
    """Make and start everything of `desired`, ssh too."""
    for network in desired.networks.values():
        provider.create(network, desired)
    for volume in desired.volumes.values():
        provider.create(volume, desired)
    for node in desired.nodes.values():
        provider.create(node, desired, seed=(*own_seed(desired.lab, node), *seeds.get(node.name, ())))
        provider.start(node)
