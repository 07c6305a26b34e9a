"""A real node: what it has, what `apply` does in it, how its services live, and how it stops."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.desktop.lab import DesktopLab, environment

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

FIRST = """\
nodes:
  box:
    packages: [nginx-light]
    environment: {GREETING: "it's \\"here\\""}
    users: {ana: {sudo: true, password: secret}, bob: {}}
    files:
      /srv/hers: {content: "x", owner: ana, mode: "0600"}
      /home/lab/mine: {content: "y", owner: lab}
    run:
      - "echo $GREETING >> /srv/ran"
      - [touch, "/srv/two words"]
    services:
      tick: {command: "echo started; exec sleep 1000", user: ana}
      last: {command: "trap 'echo ended > /srv/ended; exit' TERM; while :; do sleep 0.1; done"}
"""

SECOND = """\
nodes:
  box:
    packages: [nginx-light, file]
    environment: {GREETING: other}
    users: {ana: {}}
    files:
      /srv/hers: {content: "x", owner: ana, mode: "0600"}
    run:
      - "echo $GREETING >> /srv/ran"
      - [touch, "/srv/two words"]
    services:
      tick: {command: "exec sleep 2000", user: ana}
      more: {command: [sleep, "3000"]}
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[DesktopLab]:
    made = DesktopLab(tmp_path, f"c-node-{os.getpid()}-{secrets.token_hex(2)}", environment(tmp_path / "home"))
    yield made
    made.labctl("down")


def write(project: DesktopLab, text: str) -> None:
    (project.directory / "lab.yaml").write_text(f"name: {project.name}\n{text}")


def identity(project: DesktopLab) -> str:
    return project.docker("inspect", "-f", "{{.Id}}", project.container("box")).strip()


def eventually(holds: Callable[[], object], *, within: float = 10.0) -> float:
    """How many seconds it took until it held."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < within, "it did not come true in time"
        time.sleep(0.02)
    return time.monotonic() - began


def test_a_box_node(project: DesktopLab) -> None:
    write(project, FIRST)
    project.labctl("up")
    sh = project.sh

    # What every node has; packages' own daemons do not run.
    sh("box", "command -v curl ping ip ss findmnt less sudo rsync scp nano")
    assert project.ssh("box", "id -un; sudo id -un; pwd").split() == ["lab", "root", "/home/lab"]
    assert project.ssh("box", 'printf %s "$GREETING"') == 'it\'s "here"'
    assert "nginx" not in sh("box", "ps -eo comm")
    assert sh("box", "stat -c '%U %a' /srv/hers /home/lab/mine").split("\n") == ["ana 600", "lab 644"]
    assert sh("box", "su ana -c 'sudo -n id -un'") == "root"
    sh("box", "su bob -c 'sudo -n true'", code=1)
    assert sh("box", "cat /srv/ran; ls /srv") == 'it\'s "here"\nhers\nran\ntwo words'

    # Services: as their user, prefixed in the log, back within a second.
    assert sh("box", "ps -o user= -C sleep | head -1") == "ana"
    assert "tick: started" in project.docker("logs", project.container("box"))
    before = sh("box", "pgrep -f '^sleep 1000$'")
    sh("box", "pkill -9 -f '^sleep 1000$'")
    eventually(lambda: sh("box", "pgrep -f '^sleep 1000$' || echo -").splitlines()[0] not in (before, "-"))

    # An orphan is nobody's zombie.
    sh("box", "sh -c 'sleep 0.1 & :'")
    eventually(lambda: "Z" not in sh("box", "ps -eo stat=").replace("\n", " "))

    # Doing it again changes nothing; a restart brings services back and runs no step again.
    sh("box", "/usr/lib/lab/apply")
    project.labctl("restart")
    eventually(lambda: "sleep 1000" in sh("box", "ps -eo args"))
    assert sh("box", "cat /srv/ended") == "ended"
    assert sh("box", "wc -l < /srv/ran") == "1"

    # Another lab file: everything follows in place.
    container = identity(project)
    write(project, SECOND)
    project.labctl("up")
    assert identity(project) == container
    sh("box", "command -v file")
    eventually(lambda: "sleep 2000" in sh("box", "ps -eo args"))
    eventually(lambda: "sleep 3000" in sh("box", "ps -eo args"))
    assert "sleep 1000" not in sh("box", "ps -eo args")
    assert "trap" not in sh("box", "ps -eo args")
    sh("box", "su ana -c 'sudo -n true'", code=1)
    assert sh("box", "getent shadow bob | cut -d: -f2 | cut -c1") == "!"
    assert sh("box", "tail -1 /srv/ran") == 'it\'s "here"'  # the steps are the same: they are not run again
    eventually(lambda: project.ssh("box", 'echo "$GREETING"') == "other")
    assert "GREETING=other" in sh("box", r"tr '\0' '\n' < /proc/$(pgrep -xou ana sleep)/environ", user="ana")


def test_a_step_that_fails_is_told_and_all_are_run_again(project: DesktopLab) -> None:
    write(
        project, 'nodes: {box: {run: ["echo once >> /srv/ran", "cat /srv/key"], services: {s: {command: "sleep 9"}}}}'
    )
    failed = project.run("up", code=1)
    assert "No such file" in failed.stderr
    assert "sleep 9" not in project.sh("box", "ps -eo args")
    project.sh("box", "touch /srv/key")
    project.labctl("up")
    assert project.sh("box", "wc -l < /srv/ran") == "2"
    eventually(lambda: "sleep 9" in project.sh("box", "ps -eo args"))


def test_a_node_starts_and_stops_at_once(project: DesktopLab) -> None:
    write(project, "nodes: {box: {}}")
    project.labctl("up")
    container = project.container("box")

    def seconds(*argv: str) -> float:
        began = time.monotonic()
        subprocess.run(["docker", *argv, container], check=True, capture_output=True)
        return time.monotonic() - began

    # An engine that had to kill it would have waited for ten seconds.
    assert seconds("stop") < 5
    seconds("start")
    eventually(lambda: "sshd" in project.sh("box", "ps -eo comm"), within=5)


def test_names_that_changed_win(project: DesktopLab) -> None:
    write(project, "nodes: {box: {}}")
    project.labctl("up")
    project.sh("box", "echo '192.0.2.7 box other' > /etc/lab/hosts; /usr/lib/lab/names")
    assert project.sh("box", "getent hosts other box | cut -d' ' -f1").split() == ["192.0.2.7"] * 2
    assert project.sh("box", "getent hosts localhost | cut -d' ' -f1") in ("127.0.0.1", "::1")
    project.labctl("restart")
    assert project.sh("box", "getent hosts other | cut -d' ' -f1") == "192.0.2.7"
