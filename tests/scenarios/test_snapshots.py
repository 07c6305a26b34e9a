"""Snapshots of labs of containers: what was written comes back, data of shared storage included, as often as wanted."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import docker
import pytest
from docker.errors import ImageNotFound

from labctl.errors import ExitCode
from tests.scenarios.project import Project, end, until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

SHARED = """
volumes:
  home: {type: nfs, server: nas}
  disk: {type: iscsi, server: nas, size: 64MiB}
  scratch: {type: local, reclaim: Delete}
nodes:
  nas: {}
  db: {volumes: [disk:/var/lib/data, home:/home/shared]}
  web:
    volumes: [scratch:/srv/scratch]
    run: ["echo ran >> /srv/ran"]
    services: {tick: {command: "exec sleep 1000"}}
"""

PLAIN = """
nodes:
  one: {files: {/srv/given: {content: <word>}}}
  two: {}
"""

OWN = """
nodes:
  any: {image: <image>, command: <idle>}
"""


def kept(project: Project, engine: docker.APIClient) -> list[str]:
    """What the engine has of the lab's snapshots and copies."""
    own = f"labctl.lab={project.name}"
    images = engine.images(filters={"label": ["labctl.kind=snapshot", own]})
    containers = engine.containers(all=True, filters={"label": ["labctl.kind=copy", own]})
    volumes = engine.volumes(filters={"label": ["labctl.kind=snapshot", own]})["Volumes"] or []
    return [*(each["Id"] for each in images), *(each["Id"] for each in containers), *(each["Name"] for each in volumes)]


def listed(project: Project) -> dict[str, Any]:
    found = project.labctl("snapshot", "list", "-o", "json").data["snapshots"]
    return {each["name"]: each for each in found}


def write(project: Project, word: str) -> None:
    project.sh("db", f"echo {word} > /var/lib/data/f; echo {word} > /home/shared/f; echo {word} > /root/f")
    project.sh("web", f"echo {word} > /srv/scratch/f; echo {word} > /etc/f")


def read(project: Project) -> list[str]:
    there = project.sh("db", "cat /var/lib/data/f /home/shared/f /root/f; ls /var/lib/data; ls /home/shared")
    return (there + "\n" + project.sh("web", "cat /srv/scratch/f /etc/f; cat /srv/ran")).splitlines()


def test_a_lab_with_shared_storage_comes_back_as_it_was(project: Project, engine: docker.APIClient) -> None:
    project.write(SHARED)
    project.labctl("up")
    write(project, "one")
    saved = project.labctl("snapshot", "save", "first")
    assert "memory of containers is not saved" in saved.err
    assert project.labctl("status", "-o", "json").data["unfinished"] == []
    (first,) = listed(project).values()
    assert sorted(first["nodes"]) == ["db", "nas", "web"]
    assert sorted(first["volumes"]) == ["disk", "home", "scratch"]
    assert (first["memory"], first["missing"]) == ([], [])
    before = read(project)

    for word in ("two", "three"):
        write(project, word)
        project.sh("db", "touch /var/lib/data/more /home/shared/more")
        project.labctl("snapshot", "restore", "first", "--yes")
        assert read(project) == before
        assert project.plan() == []
        assert project.ssh("db", "hostname") == "db"
        assert project.sh("web", "sv status /run/lab/sv/tick").startswith("run:")
    # a disk with holes still has them
    assert int(project.sh("nas", "stat -c '%b' /srv/lab/disk/disk").split()[0]) * 512 < 32 << 20
    # a disk is the one that it was, not one that was damaged
    project.labctl("stop", "db")
    assert project.labctl("start", "db").code == 0
    assert read(project) == before

    # given up while nodes are made of it
    project.labctl("snapshot", "delete", "first")
    assert listed(project) == {}
    assert "no snapshot first" in project.labctl("snapshot", "restore", "first", code=int(ExitCode.NOT_FOUND)).err
    project.labctl("down", "--volumes")
    assert kept(project, engine) == []


def test_some_nodes_come_back_and_what_changed_is_told(project: Project, engine: docker.APIClient) -> None:
    project.write(PLAIN, word="a")
    project.labctl("up")
    for node in ("one", "two"):
        project.sh(node, "echo 1 > /srv/f")
    project.labctl("snapshot", "save", "s")
    refused = project.labctl("snapshot", "save", "s", code=1)
    assert "labctl snapshot delete s" in refused.err
    for node in ("one", "two"):
        project.sh(node, "echo 2 > /srv/f")
    assert "no node three" in project.labctl("snapshot", "restore", "s", "three", code=int(ExitCode.NOT_FOUND)).err
    project.labctl("snapshot", "restore", "s", "one", "--yes")
    assert (project.sh("one", "cat /srv/f"), project.sh("two", "cat /srv/f")) == ("1", "2")

    # what the lab file says otherwise now is put in; what only a new node can have is refused
    project.write(PLAIN, word="b")
    project.labctl("snapshot", "restore", "s", "--yes")
    assert project.sh("one", "cat /srv/given /srv/f") == "b1"
    ids = project.ids()
    project.write(PLAIN.replace("two: {}", "two: {ports: ['80']}"), word="b")
    refused = project.labctl("snapshot", "restore", "s", "--yes", code=1)
    assert "node two otherwise than when snapshot s was taken: ports" in refused.err
    project.write(PLAIN.replace("  two: {}\n", ""), word="b")
    assert "node two is in snapshot s" in project.labctl("snapshot", "restore", "s", "--yes", code=1).err
    assert project.ids() == ids

    # nodes that are gone are made of it
    project.write(PLAIN, word="b")
    engine.remove_container(project.container("two"), force=True)
    project.labctl("snapshot", "restore", "s", "--yes")
    assert project.sh("two", "cat /srv/f") == "1"
    assert project.labctl("snapshot", "save", "Not/This", code=int(ExitCode.USAGE)).err
    project.labctl("down")
    assert kept(project, engine) == []


@pytest.fixture
def with_volume(engine: docker.APIClient, tiny: str) -> Iterator[str]:
    """Somebody else's image with a volume of its own."""
    made = engine.create_container(tiny, ["true"])["Id"]
    name = f"somebody/kept:{tiny.partition(':')[2]}"
    repository, _, tag = name.partition(":")
    engine.commit(made, repository, tag, changes=["VOLUME /data"])
    engine.remove_container(made)
    yield name
    with suppress(ImageNotFound):
        engine.remove_image(name, force=True)


def test_the_volumes_of_an_image_of_its_own_are_in_it(
    with_volume: str, project: Project, engine: docker.APIClient
) -> None:
    project.write(OWN, image=with_volume)
    project.labctl("up")
    project.sh("any", "echo 1 > /data/f; echo 1 > /etc/f")
    project.labctl("snapshot", "save", "s")
    project.sh("any", "echo 2 > /data/f; echo 2 > /etc/f; touch /data/more")
    for _ in range(2):
        project.labctl("snapshot", "restore", "s", "--yes")
        assert project.sh("any", "cat /data/f /etc/f; ls /data") == "1\n1\nf"
    assert len([m for m in project.inspect("any")["Mounts"] if m["Type"] == "volume"]) == 1
    project.labctl("down")
    assert kept(project, engine) == []


def test_a_save_that_is_killed_is_put_right(project: Project, engine: docker.APIClient) -> None:
    project.write(PLAIN, word="a")
    project.labctl("up")
    project.sh("one", "dd if=/dev/zero of=/srv/large bs=1M count=150 2> /dev/null")
    saving = project.begin("snapshot", "save", "s")
    until(lambda: project.inspect("one")["State"]["Paused"])
    saving.send_signal(signal.SIGKILL)
    end(saving)
    assert project.inspect("one")["State"]["Paused"]
    project.labctl("up")
    assert not project.inspect("one")["State"]["Paused"]
    time.sleep(1)
    project.labctl("snapshot", "save", "s")
    assert listed(project)["s"]["missing"] == []
    # by Ctrl-C it takes back what it did
    saving = project.begin("snapshot", "save", "t")
    until(lambda: project.inspect("one")["State"]["Paused"])
    saving.send_signal(signal.SIGINT)
    assert end(saving).code == int(ExitCode.INTERRUPTED)
    until(lambda: not project.inspect("one")["State"]["Paused"])
    project.labctl("down")
    until(lambda: kept(project, engine) == [])


def test_a_restore_that_is_killed_is_told_and_repeated(project: Project, engine: docker.APIClient) -> None:
    project.write(PLAIN, word="a")
    project.labctl("up")
    project.sh("one", "echo 1 > /srv/f")
    project.labctl("snapshot", "save", "s")
    project.sh("one", "echo 2 > /srv/f")
    before = project.ids()["one"]
    restoring = project.begin("snapshot", "restore", "s", "--yes")
    until(lambda: project.ids().get("one") != before)
    restoring.send_signal(signal.SIGKILL)
    end(restoring)
    if not (project.state / "restoring.json").exists():
        pytest.skip("it was too fast to be killed half way")
    refused = project.labctl("up", code=1)
    assert "labctl snapshot restore s" in refused.err
    project.labctl("snapshot", "restore", "s", "--yes")
    assert project.sh("one", "cat /srv/f") == "1"
    project.labctl("up")


def test_gc_knows_what_is_left_of_snapshots(project: Project, engine: docker.APIClient) -> None:
    project.write(PLAIN, word="a")
    project.labctl("up")
    project.labctl("snapshot", "save", "whole")
    project.labctl("snapshot", "save", "half")
    engine.remove_image(f"labctl-snapshot/{project.name}/two:half", force=True)
    assert listed(project)["half"]["missing"] == ["node/two"]
    assert "not whole" in project.labctl("snapshot", "restore", "half", "--yes", code=1).err
    said = project.labctl("gc", "--name", project.name, "--yes").out
    assert "snapshot half" in said
    assert "whole" not in said
    assert list(listed(project)) == ["whole"]
    # the lab goes behind labctl's back
    for container in project.ids().values():
        engine.remove_container(container, force=True)
    for network in project.networks():
        engine.remove_network(network)
    said = project.labctl("gc", "--name", project.name, "--yes").out
    assert "snapshot whole" in said
    assert kept(project, engine) == []
