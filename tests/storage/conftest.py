"""Images and labs of the storage tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labctl import features
from labctl.features import storage
from labctl.lab import cache as cache_directory
from labctl.model.lab import Node
from labctl.plan.model import BakedImage, Desired
from labctl.recipe import Recipe, Trust
from labctl.render.container import bake, bake_storage
from labctl.source.boxes import base_image, default_box
from tests.storage.rig import Rig


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """The tags of a plain node, a server and the storage containers; made once, each about a minute."""
    from labctl.providers.docker.provider import Docker

    base = base_image(default_box())
    serving = Recipe(packages=("iptables", "libnfs-utils", "nfs-ganesha", "nfs-ganesha-vfs", "rpcbind", "tgt"))
    wanted: dict[str, BakedImage] = {
        "node": bake(base, features.recipe(Node("plain", "plain")), Trust()),
        "server": bake(base, features.common() + serving, Trust()),
        "storage": bake_storage(base, storage.recipe(), Trust()),
    }
    provider = Docker(cache=cache_directory({}))
    nothing = Desired("x", "/", {}, {}, {}, {})
    provider.create(base, nothing)
    for image in wanted.values():
        provider.create(image, nothing)
    return {name: image.tag for name, image in wanted.items()}


@pytest.fixture(scope="package")
def lab(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A server and two nodes that share ``home`` and ``safe``; the first has the disk ``pg``, both see ``raw``."""
    rig = Rig("s-store", images, tmp_path_factory.mktemp("rig"))
    try:
        rig.begin()
        rig.server()
        number = 20_000 + rig.pid("nas") % 30_000
        rig.node("one", 21, devices=(number,))
        rig.node("two", 22, devices=(number,))
        shared = {"/home/shared": rig.export(), "/mnt/safe": rig.export("safe", squash="root")}
        rig.storage("one", shared | {"/var/lib/pg": rig.disk("pg", "one")})
        rig.storage("two", shared)
        raw = rig.disk("raw", "disk.raw", size=16 << 20, networks=("san-1",))
        rig.disk_container("raw", raw | {"loop": number}, 31, users=("one", "two"))
        rig.keeper()
        rig.healthy("one", "two")
        yield rig
    finally:
        rig.end()
