"""What is not labctl's is refused and left alone: containers, networks, volumes, images with our names or labels."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import docker
import pytest

from labctl.errors import ConflictError
from labctl.plan.model import BakedImage, BaseImage
from labctl.providers import labels
from labctl.providers.base import Provider
from labctl.providers.docker.provider import Docker
from tests.providers.conftest import Make

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("contract")]


@pytest.fixture
def engine() -> Iterator[Any]:
    client: Any = docker.APIClient(timeout=60)
    yield client
    client.close()


@pytest.fixture
def theirs(engine: Any, lab: Make, baked: BakedImage) -> Iterator[dict[str, str]]:
    """A container, network and volume that somebody else made under the names of the lab; ids by kind."""
    made = {
        "container": engine.create_container(baked.tag, ["true"], name="labctl-b-contract-a")["Id"],
        "network": engine.create_network("labctl-b-contract-lan", driver="bridge")["Id"],
        "volume": engine.create_volume("labctl-b-contract-data")["Name"],
    }
    yield made
    with suppress(docker.errors.NotFound):
        engine.remove_container(made["container"], force=True)
    engine.remove_network(made["network"])
    engine.remove_volume(made["volume"])


def test_their_names_are_refused_and_their_things_untouched(
    provider: Provider, lab: Make, theirs: dict[str, str], engine: Any
) -> None:
    desired = lab(a={})
    seen = provider.observe(desired.lab)
    assert (seen.nodes, seen.networks, seen.volumes, seen.directories) == ({}, {}, {}, frozenset())
    for target in (desired.networks["lan"], desired.volumes["data"]):
        with pytest.raises(ConflictError, match="something that labctl did not make") as caught:
            provider.create(target, desired)
        assert not caught.value.retry
        provider.remove(target)
    provider.create(desired.networks["san"], desired)
    with pytest.raises(ConflictError, match="container name labctl-b-contract-a"):
        provider.create(desired.nodes["a"], desired)
    provider.remove(desired.nodes["a"])
    assert engine.inspect_container(theirs["container"])["State"]["Status"] == "created"
    assert engine.inspect_network(theirs["network"])["Labels"] == {}
    assert engine.inspect_volume(theirs["volume"])["Name"] == theirs["volume"]


def test_a_container_run_from_a_baked_image_is_no_node(
    provider: Provider, lab: Make, engine: Any, baked: BakedImage
) -> None:
    desired = lab(a={})
    made = engine.create_container(baked.tag, ["sleep", "9"], labels={labels.LAB: desired.lab})["Id"]
    try:
        assert provider.observe(desired.lab).nodes == {}
        assert all(each.name != desired.lab for each in provider.labs())
    finally:
        engine.remove_container(made, force=True)


def test_an_image_that_somebody_tagged_is_not_removed(provider: Provider, engine: Any) -> None:
    archive = io.BytesIO()
    tarfile.open(fileobj=archive, mode="w").close()
    engine.import_image_from_data(archive.getvalue(), repository="labctl/theirs", tag="1")
    try:
        provider.remove(BakedImage("labctl/theirs:1"))
        assert engine.images("labctl/theirs:1")
    finally:
        engine.remove_image("labctl/theirs:1")
    provider.remove(BakedImage("labctl/theirs:1"))


def test_an_image_in_use_stays(provider: Provider, engine: Any) -> None:
    archive = io.BytesIO()
    tarfile.open(fileobj=archive, mode="w").close()
    engine.import_image_from_data(
        archive.getvalue(), repository="labctl/used", tag="1", changes=["LABEL labctl.schema=1"]
    )
    container = engine.create_container("labctl/used:1", ["true"])["Id"]
    with pytest.raises(ConflictError, match="in use"):
        provider.remove(BakedImage("labctl/used:1"))
    engine.remove_container(container)
    provider.remove(BakedImage("labctl/used:1"))
    assert not engine.images("labctl/used:1")


def test_labs_are_counted_by_their_labels(provider: Docker, lab: Make) -> None:
    desired = lab(a={}, b={})
    provider.create(desired.networks["lan"], desired)
    provider.create(desired.volumes["data"], desired)
    for node in desired.nodes.values():
        provider.create(node, desired)
    provider.start(desired.nodes["a"])
    (found,) = [each for each in provider.labs() if each.name == desired.lab]
    assert (found.nodes, found.running, found.networks, found.volumes) == (2, 1, 1, 1)
    assert found.directories == {desired.directory}
    assert found.created > 1.7e9


def test_the_base_image_is_known_by_its_labels(provider: Provider, baked: BakedImage, engine: Any) -> None:
    base = baked.base
    assert isinstance(base, BaseImage)
    for tag, kind in ((base.tag, "base"), (baked.tag, "image")):
        given = engine.inspect_image(tag)["Config"]["Labels"]
        assert (given[labels.SCHEMA], given[labels.KIND], given["labctl.box"]) == ("1", kind, base.box)
