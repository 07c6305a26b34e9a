"""What labctl's exit code says, for each code that a lab can lead to; and that the next `up` goes on from there."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from tests.scenarios.project import Project, end, until
from tests.scenarios.proxy import Proxy

pytestmark = pytest.mark.engine

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
DEAD = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}


def test_0_1_2_and_9(project: Project) -> None:
    project.write("nodes: {a: {run: ['<run>']}, b: {}}", run="exit 3")
    assert "configuring it failed" in project.labctl("up", "a", code=1).err
    shown = project.labctl("status")
    assert "not configured whole: a" in shown.err
    project.write("nodes: {a: {run: ['<run>']}, b: {}}", run="true")
    project.labctl("up")
    project.labctl("up", "--wat", code=2)
    assert "c" in project.labctl("up", "c", code=9).err
    near = project.labctl("stop", "bb", code=9)
    assert "did you mean b" in near.err
    project.labctl("status", "--name", "h-nothing", code=9)
    gone = project.labctl("down", "--name", "h-nothing", code=9)
    assert "labctl ls" in gone.err


def test_3_says_where(project: Project) -> None:
    project.write("nodes: {a: {bocks: debian-13}}")
    for command in (["up"], ["plan"], ["validate"]):
        ran = project.labctl(*command, code=3)
        assert f"{project.file}:2:" in ran.err or "lab.yaml:2:" in ran.err
        assert "^" in ran.err
    assert project.ids() == {}


def test_4_without_an_engine(project: Project) -> None:
    project.write("nodes: {a: {}}")
    for command in (["up"], ["plan"], ["status"], ["down"], ["ls"], ["stop"], ["gc"]):
        ran = project.labctl(*command, code=4, env=DEAD)
        assert "not running" in ran.err
        assert "hint: labctl doctor" in ran.err
    assert not project.state.exists()


def test_5_says_what_the_probe_said(project: Project, tiny: str) -> None:
    lab = """
    nodes:
      web:
        healthcheck: {test: "echo no page yet; test -e /root/page", interval: 300ms, timeout: 1s, retries: 2}
      other: {}
      app:
        image: <image>
        command: "echo starting; trap 'exit 0' TERM; sleep infinity & wait"
        healthcheck: {test: "exit 1", interval: 300ms, timeout: 1s, retries: 500}
    """
    project.write(lab, image=tiny)
    ran = project.labctl("up", "--timeout", "8s", code=5)
    assert "web" in ran.err
    assert "no page yet" in ran.err
    assert "starting" in ran.err
    assert "hint" in ran.err
    project.sh("other", "true")

    began = time.monotonic()
    ran = project.labctl("up", "web", "--timeout", "90s", code=5)
    assert "no page yet" in ran.err
    assert time.monotonic() - began < 45, "a node that used up its retries is not waited for any longer"
    project.labctl("up", "--no-wait")
    project.sh("web", "touch /root/page")
    project.labctl("up", "web")


def test_7_partly(project: Project, tiny: str) -> None:
    lab = """
    nodes:
      good: {image: <image>, command: "echo prepared; exit 0"}
      bad: {image: <image>, command: "echo cannot; exit <code>"}
      after-good: {depends_on: {good: {condition: completed}}}
      after-bad: {image: <image>, command: "exit 0", depends_on: {bad: {condition: completed}}}
      last:
        image: <image>
        command: "exit 0"
        depends_on: {after-bad: {condition: completed}, after-good: {condition: healthy}}
    """
    project.write(lab, image=tiny, code="4")
    ran = project.labctl("up", code=7)
    assert "bad ended with exit code 4" in ran.err
    assert "cannot" in ran.err
    assert "skipped: start node after-bad" in ran.err
    assert "skipped: start node last" in ran.err
    assert "only partly up, without after-bad, bad, last" in ran.err
    project.sh("after-good", "true")
    started = {name: project.inspect(name)["State"]["StartedAt"] for name in ("good", "after-good")}

    project.write(lab, image=tiny, code="0")
    project.labctl("up", "--yes")
    assert {name: project.inspect(name)["State"]["StartedAt"] for name in started} == started
    assert project.inspect("last")["State"]["Status"] == "exited"
    assert project.plan() == []


def test_8_names_who_holds_it(project: Project) -> None:
    project.write("nodes: {a: {run: ['sleep 5']}}")
    first = project.begin("up")
    until((project.state / "source.json").exists)
    for command in ("up", "down"):
        busy = project.labctl(command, code=8)
        assert f"process {first.pid}, since" in busy.err
        assert "`labctl up`" in busy.err
        assert "hint" in busy.err
    project.labctl("plan")
    assert end(first).code == 0
    project.labctl("down")


def test_10_tells_of_changes(project: Project) -> None:
    project.write("nodes: {a: {}}")
    project.labctl("plan", "--exit-code", code=10)
    project.labctl("plan")
    project.labctl("up")
    project.labctl("plan", "--exit-code", code=0)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_ends_up_and_the_next_goes_on(project: Project, number: signal.Signals, code: int) -> None:
    project.write("nodes: {a: {run: ['echo begun >> /root/log; sleep 3', 'echo ended >> /root/log']}, b: {}}")
    process = project.begin("up")
    until(lambda: project.sh("a", "cat /root/log 2> /dev/null || true") == "begun")
    began = time.monotonic()
    process.send_signal(number)
    assert end(process).code == code
    assert time.monotonic() - began < 9
    project.sh("a", "pgrep -f '^sleep 3'", code=1)
    project.labctl("up")
    assert project.sh("a", "cat /root/log") == "begun\nbegun\nended"
    assert project.plan() == []


def test_a_signal_ends_a_build_and_the_next_goes_on(fresh: Callable[[str], str], project: Project) -> None:
    tag = fresh("hello")
    project.write("nodes: {a: {packages: [hello]}, b: {}}")
    for number, code in SIGNALS:
        with Proxy() as proxy:
            process = project.begin("up", env=proxy.env)
            until(lambda: any(str(request) == "POST /build" for request in proxy.open_requests()))
            process.send_signal(number)
            began = time.monotonic()
            assert end(process).code == code
            assert time.monotonic() - began < 9
        until(lambda: not project.engine.containers(filters={"label": ["labctl.kind=baking"]}))
        assert not project.engine.images(tag)
    project.labctl("up")
    project.sh("a", "command -v hello")
    assert project.plan() == []
