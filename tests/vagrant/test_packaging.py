"""A machine that becomes the box of another, and the end of its lab, which another home of labctl's sees to."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vagrant.left import left
from tests.vagrant.test_machines import LABCTL, Project, project

__all__ = ["project"]

pytestmark = [pytest.mark.vm, pytest.mark.soak, pytest.mark.timeout(1200)]

FIRST = """\
name: {name}
nodes:
  one:
    provider: vagrant
    environment: {{TOKEN: not-for-others}}
    run: ["echo made > /srv/made"]
"""
SECOND = "  two: {{provider: vagrant, box: {box}}}\n"


@pytest.fixture
def box(project: Project) -> Iterator[str]:
    """The name of a box that is gone afterwards."""
    name = f"{project.name}-box"
    yield name
    project.labctl("down")
    (project.directory / "lab.yaml").write_text(FIRST.format(name=project.name))  # it names no box that is gone
    subprocess.run([LABCTL, "box", "remove", name, "--yes"], capture_output=True, timeout=120, check=False)


@pytest.fixture
def served() -> Iterator[subprocess.Popen[str]]:
    """`labctl box serve`, on a free port."""
    process = subprocess.Popen([LABCTL, "box", "serve"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    yield process
    process.terminate()
    process.communicate(timeout=20)


def test_a_machine_is_the_box_of_another(
    project: Project, box: str, served: subprocess.Popen[str], tmp_path: Path
) -> None:
    file = project.directory / "lab.yaml"
    file.write_text(FIRST.format(name=project.name))
    project.labctl("up", "--yes")
    made = Path(project.labctl("box", "package", "one", "--as", box).strip())
    assert f"{box}" in made.name
    assert "sound" in project.labctl("box", "verify", box)

    file.write_text((FIRST + SECOND).format(name=project.name, box=box))
    project.labctl("up", "--yes")
    assert project.labctl("exec", "two", "--", "cat", "/srv/made").strip() == "made"
    assert project.labctl("exec", "two", "--", "hostname").strip() == "two"
    for path in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"):
        assert project.labctl("exec", "one", "--", "cat", path) != project.labctl("exec", "two", "--", "cat", path)
    told = project.labctl("exec", "two", "--", "sh", "-c", "grep -r not-for-others /etc /var/lib || echo nothing")
    assert told.strip() == "nothing"
    project.labctl("box", "remove", box, "--yes", code=4)

    # Vagrant itself understands what is served
    assert served.stdout is not None
    address = served.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address)
    environment = {**os.environ, "VAGRANT_HOME": str(tmp_path / "vagrant"), "VAGRANT_CHECKPOINT_DISABLE": "1"}
    for argv in (["add", f"{address}/{box}"], ["list"]):
        done = subprocess.run(
            ["vagrant", "box", *argv], env=environment, capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert f"labctl/{box}" in done.stdout

    # its time is over: whoever looks sees it, and takes all of it away
    project.labctl("up", "--yes", "--ttl", "1s")
    time.sleep(1.5)
    other = {**os.environ, "LABCTL_HOME": str(tmp_path / "other")}

    def elsewhere(*argv: str) -> str:
        return subprocess.run(
            [LABCTL, *argv], env=other, capture_output=True, text=True, timeout=300, check=True
        ).stdout

    seen = {each["name"]: each for each in json.loads(elsewhere("ls", "-o", "json"))["labs"]}
    assert seen[project.name]["running"] == 2
    elsewhere("gc", "--name", project.name, "--yes")
    assert left(project.name) == []
