"""The templates with shared storage are brought up as they are and pass their own checks; a path is taken away."""

from __future__ import annotations

import re
import subprocess
import time
from typing import Any

import pytest

from tests.scenarios.project import Project, until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]


def begin(project: Project, template: str) -> None:
    """Write the template's lab file, under the name of this test's lab, and bring it up."""
    project.labctl("init", "--template", template, str(project.directory))
    project.file.write_text(re.sub(r"(?m)^name: .*", f"name: {project.name}", project.file.read_text()))
    project.labctl("up")


@pytest.mark.parametrize("template", ["shared-home", "san"])
def test_a_template_passes_its_checks(project: Project, template: str) -> None:
    begin(project, template)
    project.labctl("test")
    project.labctl("down", "--volumes")
    assert project.ids() == {}
    assert project.volumes() == []


def test_two_paths_survive_the_loss_of_one(project: Project) -> None:
    begin(project, "two-paths")
    project.labctl("test")
    device = project.sh("db", "findmnt -no SOURCE /var/lib/data")
    lost = network_of(project, paths(project)["active"])
    address = project.address("target", lost)
    name = f"labctl-{project.name}-{lost}"
    subprocess.run(["docker", "network", "disconnect", name, project.container("target")], check=True)
    cut = time.monotonic()
    until(lambda: lost in {network_of(project, each) for each in paths(project)["down"]}, seconds=15)
    assert network_of(project, paths(project)["active"]) != lost
    before = written(project)
    until(lambda: written(project) > before, seconds=15 - (time.monotonic() - cut))
    # No error came through: the file system is the same one, and can be written.
    assert project.sh("db", "findmnt -no SOURCE /var/lib/data") == device
    assert "rw" in project.sh("db", "findmnt -no OPTIONS /var/lib/data").split(",")
    subprocess.run(["docker", "network", "connect", "--ip", address, name, project.container("target")], check=True)
    until(lambda: len(paths(project)["standby"]) == 1, seconds=20)
    project.labctl("test")
    project.labctl("down", "--volumes")
    assert project.ids() == {}


def paths(project: Project) -> dict[str, Any]:
    """What `status --storage` says of the one use of the one volume."""
    (volume,) = project.labctl("status", "--storage", "-o", "json").data["volumes"]
    (use,) = volume["uses"]
    return {"active": use["active"], "standby": use["standby"], "down": use["down"]}


def network_of(project: Project, portal: str) -> str:
    """Which of the storage networks a portal is on, by the client's own address there."""
    prefix = portal.rpartition(".")[0]
    return next(name for name in ("san-a", "san-b") if project.address("db", name).rpartition(".")[0] == prefix)


def written(project: Project) -> int:
    """The time that the template's service last put on the disk."""
    return int(project.sh("db", "cat /var/lib/data/now") or 0)
