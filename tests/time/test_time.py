"""Labs that end: their time on the engine itself, moved by extend, taken by gc, which leaves what is not ours."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import docker
import pytest

from labctl.plan.model import BakedImage
from labctl.probe.usage import memory
from labctl.providers import labels
from labctl.providers.docker.observe import summarise
from labctl.providers.docker.provider import Docker
from tests.scenarios.project import Project

HOUR = 3600


# ---------------------------------------------------------------- without an engine


def lease(lab: str, end: object, **more: str) -> dict[str, Any]:
    return {"Name": "x", "Labels": {labels.LAB: lab, labels.KIND: "lease", labels.EXPIRES: str(end), **more}}


def test_the_latest_lease_counts_and_is_no_volume() -> None:
    (lab,) = summarise([], [], [lease("a", 100), lease("a", 300, **{labels.OWNER: "ana"}), lease("a", "soon")])
    assert (lab.expires, lab.volumes, lab.owner) == (300.0, 0, "ana")
    volume = {"Name": "v", "Labels": {labels.LAB: "a", labels.KIND: "volume", labels.EXPIRES: "5", labels.NAME: "v"}}
    (lab,) = summarise([], [], [volume])
    assert (lab.expires, lab.volumes) == (None, 1)


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ("system.slice/docker-{}.scope/memory.current", "inactive_file"),
        ("memory/docker/{}/memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_memory_of_both_kinds_of_control_groups(tmp_path: Path, place: str, key: str) -> None:
    for name, used in (("one", 5000), ("two", 7000)):
        path = tmp_path / place.format(name)
        path.parent.mkdir(parents=True)
        path.write_text(f"{used}\n")
        (path.parent / "memory.stat").write_text(f"anon 1\n{key} 1000\n")
    assert memory(["one", "two", "gone"], root=tmp_path) == 10_000
    assert memory(["gone"], root=tmp_path) is None


# ---------------------------------------------------------------- on the engine

LAB = """
volumes: {data: {type: local}}
nodes:
  web: {volumes: [data:/data]}
"""


def listed(project: Project) -> Any:
    labs = project.labctl("ls", "-o", "json").data["labs"]
    return next((lab for lab in labs if lab["name"] == project.name), None)


def left(project: Project) -> float:
    """Seconds until the lab ends."""
    return float(datetime.fromisoformat(listed(project)["expires"]).timestamp() - time.time())


@pytest.mark.engine
def test_the_end_of_a_lab_is_kept_moved_and_outlives_its_directory(project: Project) -> None:
    project.write("ttl: 2h\n" + LAB)
    project.labctl("up")
    assert 2 * HOUR - 60 < left(project) < 2 * HOUR
    lab = listed(project)
    assert lab["owner"]
    assert lab["memory"] > 1_000_000
    assert lab["disk"] is not None
    before = left(project)
    assert "nothing to do" in project.labctl("up").err
    assert left(project) < before
    project.labctl("extend", "1h")
    assert left(project) < 2 * HOUR
    project.labctl("extend", "5h")
    shutil.rmtree(project.state)
    assert 5 * HOUR - 60 < left(project) < 5 * HOUR
    project.labctl("extend", "never", "--name", project.name)
    assert listed(project)["expires"] is None
    project.labctl("up", "--ttl", "10m")
    assert 540 < left(project) < 600
    project.labctl("down", "--volumes")
    assert listed(project) is None


@pytest.mark.engine
def test_a_lab_of_a_job_ends_in_an_hour(project: Project) -> None:
    project.write("nodes: {a: {}}")
    project.labctl("up", env={"CI": "true"})
    assert HOUR - 60 < left(project) < HOUR


@pytest.fixture
def lookalikes(engine: docker.APIClient, baked: BakedImage, project: Project) -> Iterator[list[str]]:
    """Things that look like labctl's, of a lab that is over, and are somebody's."""
    prefix = f"labctl-{project.name}"
    over = {labels.EXPIRES: "1"}
    engine.create_container(baked.tag, ["true"], name=f"{prefix}-lookalike", labels={labels.NAME: "web", **over})
    engine.create_network(f"{prefix}-lookalike", labels={labels.KIND: "network", **over})
    for name, given in {
        f"{prefix}-_lease-1": over,
        f"{prefix}-lookalike": {labels.SCHEMA: "1", labels.KIND: "lease", **over},
        f"{prefix}-third": {labels.LAB: project.name + "x", labels.KIND: "somebody's", labels.SCHEMA: "1", **over},
    }.items():
        engine.create_volume(name, labels=given)
    names = [f"{prefix}-lookalike", f"{prefix}-_lease-1", f"{prefix}-third"]
    yield names
    engine.remove_container(f"{prefix}-lookalike", force=True)
    engine.remove_network(f"{prefix}-lookalike")
    for name in names:
        engine.remove_volume(name)


@pytest.mark.engine
def test_gc_takes_what_is_over_and_nothing_of_others(project: Project, lookalikes: list[str]) -> None:
    project.write(LAB)
    project.labctl("up", "--ttl", "1s")
    time.sleep(1.1)
    assert f"lab {project.name}: its time was over" in project.labctl("gc", "--dry-run").out
    assert project.inspect("web")["State"]["Running"]
    for lab in (project.name, f"{project.name}x"):
        project.labctl("gc", "--yes", "--name", lab)
    own = {"label": [f"labctl.lab={project.name}"]}
    assert project.engine.containers(all=True, filters=own) == []
    # What is to be kept is kept; it is a lab without an end.
    assert [each["Name"] for each in project.engine.volumes(filters=own)["Volumes"]] == [f"labctl-{project.name}-data"]
    assert not project.state.exists()
    there = {each["Name"] for each in project.engine.volumes()["Volumes"]}
    assert there >= set(lookalikes)
    assert project.engine.inspect_container(lookalikes[0])["Name"] == f"/{lookalikes[0]}"
    assert project.engine.inspect_network(lookalikes[0])["Name"] == lookalikes[0]
    assert project.name not in project.labctl("gc", "--dry-run").out


@pytest.fixture
def another(provider: Docker, project: Project, tmp_path: Path) -> Iterator[str]:
    """A lab of which nothing is there but a lease that is over."""
    lab = f"{project.name}-too"
    provider.give_lease(lab, expires=time.time() - HOUR, directory=str(tmp_path), owner="")
    yield lab
    provider.end_lease(lab)


@pytest.mark.engine
def test_gc_of_one_lab_leaves_the_others(project: Project, another: str) -> None:
    project.write("nodes: {a: {}}")
    project.labctl("up")
    everything = project.labctl("gc", "--dry-run").out
    assert f"lab {another}: its time was over" in everything
    assert project.name not in everything.replace(another, "")
    assert project.labctl("gc", "--yes", "--name", project.name).out == "nothing to remove\n"
    assert f"lab {another}: its time was over" in project.labctl("gc", "--dry-run", "--name", another).out
    project.labctl("gc", "--yes", "--name", another)
    assert another not in project.labctl("gc", "--dry-run").out
    assert list(project.ids()) == ["a"]
    project.labctl("gc", "--yes", "--name", another, "--images", code=2)


@pytest.mark.engine
def test_a_job_that_is_killed_ends_too(project: Project) -> None:
    project.write("nodes: {a: {}}")
    process = project.begin("ci", "--ttl", "4s")
    while not project.engine.containers(filters={"name": project.container("a")}):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    shutil.rmtree(project.state)
    time.sleep(4)
    project.labctl("gc", "--yes", "--name", project.name)
    assert project.engine.containers(all=True, filters={"label": [f"labctl.lab={project.name}"]}) == []
    assert listed(project) is None
