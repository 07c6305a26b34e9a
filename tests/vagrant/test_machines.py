"""Two real machines on two networks, from nothing to nothing."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.boxes import share_boxes
from tests.vagrant.left import left

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1200)]

LABCTL = str(Path(sys.executable).with_name("labctl"))

LAB = """\
name: {name}
networks: {{lan: {{}}, san: {{internal: true}}}}
defaults: {{provider: vagrant, networks: [lan, san]}}
nodes:
  one:
    users: {{ana: {{sudo: true}}}}
    environment: {{GREETING: {greeting}}}
    files: {{/srv/hers: {{content: "hers", owner: ana, mode: "0600"}}}}
    run: ["echo $GREETING >> /srv/ran"]
    services: {{tick: {{command: "echo {greeting}; exec sleep 1000", user: ana}}}}
  two: {{}}
"""


@dataclass
class Project:
    """labctl on one lab of machines; boxes are those of the user who runs the tests."""

    directory: Path
    name: str

    def write(self, greeting: str) -> None:
        """The lab file."""
        (self.directory / "lab.yaml").write_text(LAB.format(name=self.name, greeting=greeting))

    def labctl(self, *argv: str, code: int = 0) -> str:
        """What a labctl that ended with `code` printed."""
        ran = subprocess.run(
            [LABCTL, *argv],
            cwd=self.directory,
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert ran.returncode == code, f"{argv}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout


@pytest.fixture
def project(tmp_path: Path, labctl_home: Path) -> Iterator[Project]:
    share_boxes(labctl_home)
    made = Project(tmp_path, f"w-test-{secrets.token_hex(2)}")
    try:
        yield made
    finally:
        made.labctl("down")


def test_two_machines_from_nothing_to_nothing(project: Project, labctl_home: Path) -> None:
    project.write("hello")
    project.labctl("up", "--yes")

    # what a node is told: users, files, steps, services, names on both networks
    assert project.labctl("exec", "one", "--", "cat", "/srv/ran").strip() == "hello"
    assert project.labctl("exec", "one", "-u", "ana", "--", "cat", "/srv/hers") == "hers"
    assert project.labctl("exec", "one", "--", "sv", "status", "/run/lab/sv/tick").startswith("run:")
    assert "tick: hello" in project.labctl("logs", "one")
    project.labctl("exec", "two", "--", "ping", "-c1", "-W5", f"one.{project.name}.internal")
    assert project.labctl("ssh", "two", "hostname").strip() == "two"
    project.labctl("exec", "two", "--", "sh", "-c", "exit 7", code=7)
    project.labctl("exec", "two", "--", "no-such-command", code=127)
    # nothing failed, and no route leads over Vagrant's own network
    assert project.labctl("exec", "two", "--", "systemctl", "--failed", "--no-legend").strip() == ""
    assert "dev eth0" not in project.labctl("exec", "two", "--", "ip", "route", "show", "default")

    # a second `up` only reads
    plan = json.loads(project.labctl("plan", "-o", "json"))
    assert plan["steps"] == []

    # what changed is changed in place
    before = json.loads(project.labctl("inspect", "one", "-o", "json"))
    project.write("again")
    project.labctl("up", "--yes")
    after = json.loads(project.labctl("inspect", "one", "-o", "json"))
    assert before["nodes"][0]["id"] == after["nodes"][0]["id"]
    assert project.labctl("exec", "one", "--", "cat", "/srv/ran").split() == ["hello"]
    assert "GREETING=again" in project.labctl("exec", "one", "--", "env")

    # a machine that was stopped comes back with what it had
    project.labctl("stop", "one")
    project.labctl("start", "one")
    assert project.labctl("exec", "one", "--", "sv", "status", "/run/lab/sv/tick").startswith("run:")

    project.labctl("down")
    assert left(project.name) == []
    assert not (labctl_home / "labs" / project.name).exists()
