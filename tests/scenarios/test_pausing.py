"""suspend, resume, reload and provision as Vagrant's users know them, with containers."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from labctl.errors import ExitCode
from tests.scenarios.project import Project

pytestmark = pytest.mark.engine

TICKS = """
nodes:
  one:
    files: {/srv/given: {content: "given"}}
    run: ["echo ran >> /srv/ran"]
    services: {tick: {command: "while :; do date +%s.%N >> /srv/ticks; sleep 0.1; done"}}
  any: {image: <image>, command: <idle>}
"""

SHARED = """
volumes:
  home: {type: nfs, server: nas}
  disk: {type: iscsi, server: nas, size: 64MiB}
nodes:
  nas: {}
  db: {volumes: [disk:/var/lib/data, home:/home/shared]}
"""


def states(project: Project) -> dict[str, str]:
    return {node["name"]: node["state"] for node in project.labctl("status", "-o", "json").data["nodes"]}


def longest_gap(project: Project) -> float:
    """Seconds that the service of `one` did nothing."""
    times = [float(line) for line in project.labctl("exec", "one", "--", "cat", "/srv/ticks").out.split()]
    return max(after - before for before, after in pairwise(times))


def test_a_lab_stands_still_and_goes_on(project: Project, tiny: str) -> None:
    project.write(TICKS, image=tiny)
    project.labctl("up", "--yes")
    assert longest_gap(project) < 3
    project.labctl("suspend")
    assert states(project) == {"one": "paused", "any": "paused"}
    project.labctl("suspend")  # again: nothing to do
    refused = project.labctl("exec", "one", "--", "true", code=125)
    assert "labctl resume one" in refused.err
    assert project.plan() == ["start node/one", "start node/any", "verify node/one", "verify node/any"]
    time.sleep(3)
    project.labctl("resume", "one")
    assert states(project) == {"one": "running", "any": "paused"}
    assert longest_gap(project) > 3, "it went on meanwhile"
    project.labctl("up")
    assert states(project) == {"one": "running", "any": "running"}
    assert project.plan() == []


def test_provision_takes_the_steps_again_and_reload_does_not(project: Project, tiny: str) -> None:
    project.write(TICKS, image=tiny)
    project.labctl("up", "--yes")
    project.labctl("exec", "one", "--", "rm", "/srv/given")
    assert project.plan() == []  # what somebody does inside a node is not looked for
    ran = project.labctl("provision", "one")
    assert "configured node one" in ran.err
    assert project.labctl("exec", "one", "--", "cat", "/srv/given", "/srv/ran").out == "givenran\nran\n"
    assert project.plan() == []
    began = project.inspect("one")["State"]["StartedAt"]
    id_ = project.inspect("one")["Id"]
    project.labctl("reload", "one")
    assert project.inspect("one")["State"]["StartedAt"] > began
    assert project.inspect("one")["Id"] == id_
    assert project.labctl("exec", "one", "--", "cat", "/srv/ran").out == "ran\nran\n"
    refused = project.labctl("provision", "any", code=int(ExitCode.USAGE))
    assert "runs as it is" in refused.err
    project.labctl("suspend", "one")
    assert "labctl resume one" in project.labctl("provision", "one", code=1).err


def test_reload_takes_up_what_changed(project: Project, tiny: str) -> None:
    project.write(TICKS, image=tiny)
    project.labctl("up", "--yes")
    project.write(TICKS.replace('"given"', '"other"'), image=tiny)
    project.labctl("reload", "one")
    assert project.labctl("exec", "one", "--", "cat", "/srv/given").out == "other"


def test_shared_storage_outlives_standing_still(project: Project) -> None:
    project.write(SHARED)
    project.labctl("up", "--yes")
    project.labctl("exec", "db", "--", "sh", "-c", "echo 1 > /home/shared/f; echo 2 > /var/lib/data/f")
    project.labctl("suspend")
    assert set(states(project).values()) == {"paused"}
    time.sleep(7)  # longer than anybody's word is believed
    project.labctl("resume")
    assert project.labctl("exec", "db", "--", "cat", "/home/shared/f", "/var/lib/data/f").out == "1\n2\n"
    project.labctl("up")
    project.labctl("suspend")
    project.labctl("stop")
    assert set(states(project).values()) == {"exited"}
    project.labctl("start")
    assert project.labctl("exec", "db", "--", "cat", "/home/shared/f", "/var/lib/data/f").out == "1\n2\n"
    project.labctl("suspend")
    project.labctl("down", "--volumes")
    assert project.ids() == {}
