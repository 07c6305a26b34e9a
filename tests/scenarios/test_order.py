"""Nodes wait for what they depend on, and for nothing else; a part of a lab is that part and what it waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.scenarios.project import Project

pytestmark = pytest.mark.engine

LAB = """
nodes:
  app:
    image: <image>
    command: <idle>
    depends_on: {db: {condition: healthy}, init: {condition: completed}, plain: {condition: started}}
  init: {image: <image>, command: "sleep 1; exit 0"}
  db:
    run: [sleep 1, touch /root/filled]
    healthcheck: {test: "test -e /root/filled", interval: 200ms, timeout: 1s, retries: 50}
  plain: {}
  other: {}
"""


def test_a_part_and_what_it_waits_for(project: Project, tiny: str) -> None:
    project.write(LAB, image=tiny)
    project.labctl("up", "app")
    assert set(project.ids()) == {"app", "db", "init", "plain"}
    states: dict[str, Any] = {name: project.inspect(name)["State"] for name in project.ids()}
    began = states["app"]["StartedAt"]
    assert states["init"]["FinishedAt"] < began
    good = [probe["Start"] for probe in states["db"]["Health"]["Log"] if probe["ExitCode"] == 0]
    assert good
    assert states["db"]["StartedAt"] < states["init"]["FinishedAt"], "what does not wait happens at once"
    assert project.sh("app", "getent hosts other").split()[1] == "other", "the names are all there"

    before = project.ids()
    assert project.plan() == ["create node/other", "start node/other", "verify node/other"]
    project.labctl("up", "other", "--no-wait")
    assert {name: each for name, each in project.ids().items() if name != "other"} == before
    assert project.labctl("status", "-o", "json").data["nodes"]
    assert project.ssh("db", "hostname") == "db", "ssh finds what this up did not touch"
    assert project.plan() == []


def test_stopped_nodes_keep_their_names_and_come_back(project: Project, tiny: str) -> None:
    project.write(LAB, image=tiny)
    project.labctl("up")
    before = project.ids()
    addresses = {name: project.address(name) for name in ("db", "plain", "other")}
    project.labctl("stop", "db", "other")
    for name in ("db", "other"):
        for viewer in ("plain", "app"):
            assert project.sh(viewer, f"getent hosts {name}").split()[0] == addresses[name]
    project.labctl("restart", "plain")
    assert project.sh("plain", "getent hosts db").split()[0] == addresses["db"]
    project.labctl("start", "other")
    project.engine.kill(project.container("plain"))
    project.engine.pause(project.container("other"))
    project.labctl("up")
    assert project.ids() == before
    assert {name: project.address(name) for name in addresses} == addresses
    project.engine.kill(project.container("db"))
    assert project.plan() == ["start node/db", "verify node/db"]
    project.labctl("up")
    assert project.plan() == []


def test_a_local_volume_outlives_its_nodes(project: Project, new_project: Callable[..., Project]) -> None:
    lab = """
    volumes: {keep: {type: local}, drop: {type: local, reclaim: <reclaim>}}
    nodes: {a: {volumes: [keep:/keep, drop:/drop], capabilities: <capabilities>}, b: {volumes: [keep:/keep:ro]}}
    """
    project.write(lab, capabilities="[]", reclaim="Delete")
    project.labctl("up")
    project.sh("a", "echo data > /keep/file; echo data > /drop/file")
    assert project.sh("b", "cat /keep/file") == "data"
    project.sh("b", "touch /keep/x", code=1)

    project.write(lab, capabilities="[NET_ADMIN]", reclaim="Delete")
    project.labctl("up", "--yes")
    assert project.sh("a", "cat /keep/file /drop/file") == "data\ndata"

    down = project.labctl("down")
    assert "kept: keep" in down.err
    assert project.volumes() == [f"labctl-{project.name}-keep"]
    assert not project.state.exists()
    assert project.name in project.labctl("ls").out
    project.labctl("up")
    assert project.sh("a", "cat /keep/file; ls /drop") == "data"

    project.write(lab, capabilities="[NET_ADMIN]", reclaim="Retain")
    project.labctl("up")
    assert project.plan() == []
    assert "kept: drop, keep" in project.labctl("down").err, "what the file says now counts"
    project.labctl("down", "--volumes", "--name", project.name)
    assert project.volumes() == []
