"""Labs of tests: each with a name of its own, taken down afterwards, and the host looked over for what is left."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

from labctl import features
from labctl.model.lab import Node
from labctl.plan.model import BakedImage
from labctl.probe.trust import host_trust
from labctl.providers.docker.provider import Docker
from labctl.render.container import bake
from labctl.source.boxes import base_image, default_box
from tests.scenarios.project import Project


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.APIClient]:
    """The engine, asked past labctl."""
    client = docker.APIClient(timeout=60)
    yield client
    client.close()


@pytest.fixture
def new_project(
    engine: docker.APIClient, baked: BakedImage, tmp_path: Path, labctl_home: Path, host_state: None
) -> Iterator[Callable[..., Project]]:
    """Makes projects; ``new_project("other", name=…)`` is one in another directory."""
    with ExitStack() as undo:

        def make(directory: str = "lab", *, name: str | None = None) -> Project:
            project = Project(tmp_path / directory, name or f"h-{secrets.token_hex(3)}", engine)
            undo.callback(project.take_down)
            return project

        yield make


@pytest.fixture
def project(new_project: Callable[..., Project]) -> Project:
    """A directory for one lab."""
    return new_project()


@pytest.fixture
def fresh(engine: docker.APIClient) -> Iterator[Callable[[str], str]]:
    """Gives the tag of the image of a node with one package, which is not there yet and will be gone afterwards.

    To be asked for before `project`, so that the lab that uses the image is gone before it.
    """
    tags = []

    def forget(package: str) -> str:
        tag = bake(base_image(default_box()), features.recipe(Node("x", "x", packages=(package,))), host_trust()).tag
        with suppress(ImageNotFound):
            engine.remove_image(tag)
        tags.append(tag)
        return tag

    yield forget
    for tag in tags:
        with suppress(ImageNotFound):
            engine.remove_image(tag)


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Docker:
    """labctl's own way to the engine, for what tests need of images."""
    return Docker(cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def baked(provider: Docker) -> BakedImage:
    """The image of a plain node: a fresh host makes it once (a minute), so that no test has to wait for it."""
    image = bake(base_image(default_box()), features.recipe(Node("x", "x")), host_trust())
    assert image.base is not None
    provider.build(image.base)
    provider.build(image)
    return image


@pytest.fixture(scope="session")
def tiny(engine: docker.APIClient, baked: BakedImage) -> Iterator[str]:
    """An image of somebody else's, with a shell: the plain operating system under a name that is not labctl's."""
    assert baked.base is not None
    name, tag = "somebody/tiny", secrets.token_hex(3)
    engine.tag(baked.base.tag, name, tag)
    yield f"{name}:{tag}"
    engine.remove_image(f"{name}:{tag}")
