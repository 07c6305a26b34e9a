"""A machine and a container: suspended, kept with memory and brought back, halted; a machine without labctl."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.vagrant.left import left
from tests.vagrant.test_machines import Project, project

__all__ = ["project"]

pytestmark = [pytest.mark.vm, pytest.mark.engine, pytest.mark.soak, pytest.mark.timeout(1200)]

LAB = """\
name: {name}
networks: {{lan: {{}}}}
nodes:
  box:
    provider: vagrant
    memory: 384MiB
    run: ["echo ran >> /srv/ran"]
  beside: {{volumes: [data:/srv/data]}}
volumes: {{data: {{type: local, reclaim: Delete}}}}
"""

ALONE = """\
name: {name}
networks: {{lan: {{subnet: 10.207.78.0/24}}}}
nodes: {{box: {{provider: vagrant, memory: 384MiB, files: {{/srv/given: {{content: given}}}}}}}}
"""


def clock(project: Project) -> float:
    """Seconds by which the machine's clock is off, and what asking took."""
    before = time.time()
    there = float(project.labctl("exec", "box", "--", "date", "+%s.%N"))
    after = time.time()
    return max(before - there, there - after, 0.0)


def states(project: Project) -> dict[str, str]:
    found = json.loads(project.labctl("status", "-o", "json"))["nodes"]
    return {node["name"]: node["state"] for node in found}


def both(project: Project, script: str) -> list[str]:
    return [project.labctl("exec", node, "--", "sh", "-c", script).strip() for node in ("box", "beside")]


def test_a_mixed_lab_stands_still_and_comes_back(project: Project) -> None:
    (project.directory / "lab.yaml").write_text(LAB.format(name=project.name))
    project.labctl("up", "--yes")

    project.labctl("suspend")
    assert states(project) == {"box": "paused", "beside": "paused"}
    time.sleep(10)
    project.labctl("up")
    assert states(project) == {"box": "running", "beside": "running"}
    assert clock(project) < 5

    both(project, "echo 1 > /srv/f; echo 1 > /dev/shm/f")
    project.labctl("exec", "beside", "--", "sh", "-c", "echo 1 > /srv/data/f")
    project.labctl("exec", "box", "--", "systemd-run", "-q", "--unit", "lives", "sleep", "100000")
    main = ("exec", "box", "--", "systemctl", "show", "--property", "MainPID", "--value", "lives")
    pid = project.labctl(*main)
    assert int(pid) > 0
    project.labctl("snapshot", "save", "one")
    (found,) = json.loads(project.labctl("snapshot", "list", "-o", "json"))["snapshots"]
    assert (sorted(found["nodes"]), found["volumes"], found["memory"], found["missing"]) == (
        ["beside", "box"],
        ["data"],
        ["box"],
        [],
    )
    for word in ("2", "3"):
        both(project, f"echo {word} > /srv/f")
        project.labctl("exec", "beside", "--", "sh", "-c", f"echo {word} > /srv/data/f")
        project.labctl("exec", "box", "--", "systemctl", "stop", "lives")
        project.labctl("snapshot", "restore", "one", "--yes")
        assert both(project, "cat /srv/f") == ["1", "1"]
        assert project.labctl("exec", "beside", "--", "cat", "/srv/data/f").strip() == "1"
        assert project.labctl("exec", "box", "--", "cat", "/dev/shm/f").strip() == "1"
        assert project.labctl(*main) == pid
        assert clock(project) < 5
        assert json.loads(project.labctl("plan", "-o", "json"))["steps"] == []
    project.labctl("exec", "box", "--", "ping", "-c1", "-W5", "beside")

    project.labctl("provision", "box")
    assert project.labctl("exec", "box", "--", "cat", "/srv/ran").split() == ["ran", "ran"]

    # a machine that does not end in order is switched off
    project.labctl(
        "exec", "box", "--", "systemd-run", "-q", "--unit", "hangs", "-p", "TimeoutStopSec=600",
        "-p", "ExecStop=/bin/sleep 600", "sleep", "100000",
    )  # fmt: skip
    began = time.monotonic()
    project.labctl("halt", "box")
    assert time.monotonic() - began < 60
    assert states(project)["box"] == "exited"

    project.labctl("down", "--volumes")
    assert left(project.name) == []
    listed = ["docker", "images", "-q", "--filter", f"label=labctl.lab={project.name}"]
    assert subprocess.run(listed, capture_output=True, text=True, timeout=60, check=True).stdout == ""


def test_plain_vagrant_runs_what_was_exported(project: Project, tmp_path: Path) -> None:
    (project.directory / "lab.yaml").write_text(ALONE.format(name=project.name))
    project.labctl("export", "vagrant")

    def vagrant(*argv: str, timeout: float = 400) -> str:
        done = subprocess.run(
            ["vagrant", *argv],
            cwd=tmp_path,
            env={**os.environ, "VAGRANT_DEFAULT_PROVIDER": "libvirt", "VAGRANT_CHECKPOINT_DISABLE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        vagrant("up")
        assert vagrant("ssh", "box", "-c", "hostname; cat /srv/given").split() == ["box", "given"]
    finally:
        vagrant("destroy", "--force")
        shutil.rmtree(tmp_path / ".vagrant", ignore_errors=True)
