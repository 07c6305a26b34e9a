"""A container as an image that others can have: what was made in it is there, what its lab told it is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenarios.project import Project

pytestmark = pytest.mark.engine

LAB = """
nodes:
  web:
    environment: {TOKEN: not-for-others}
    users: {ana: {password: hers-alone}}
    files: {/srv/word: {content: kept}}
    run: [echo made > /srv/made]
    services: {idle: {command: sleep infinity}}
"""


@pytest.fixture
def image(project: Project) -> Iterator[str]:
    """The name of an image that is gone afterwards."""
    name = f"{project.name}-golden"
    yield name
    project.labctl("down")
    docker = project.engine
    if docker.images(name):
        docker.remove_image(f"{name}:latest", force=True)


def test_a_container_is_packaged_without_what_its_lab_told_it(project: Project, image: str) -> None:
    project.write(LAB)
    project.labctl("up")
    project.labctl("box", "package", "web", "--as", image)
    again = project.labctl("box", "package", "web", "--as", image, code=4)
    assert f"there is an image {image} already" in again.err

    project.write(f"{LAB}  copy: {{image: {image}}}\n")
    project.labctl("up")
    assert project.sh("copy", "cat /srv/word /srv/made") == "keptmade"
    told = project.sh("copy", "find /etc/lab /var/lib/lab /etc/ssh -type f; env")
    assert "/etc/lab/sv/sshd/run" in told
    for word in ("not-for-others", "/etc/lab/services/", "/etc/lab/apply/", "/var/lib/lab/"):
        assert word not in told
    assert "$" in project.sh("web", "getent shadow ana")
    assert project.sh("copy", "getent shadow ana").startswith("ana:*:")
    key = "cat /etc/ssh/ssh_host_ed25519_key.pub"
    assert project.sh("copy", key) != project.sh("web", key)
