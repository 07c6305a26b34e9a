"""The healthcheck of a machine without one: the program that tries it, what is read of it, where it belongs."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.assets import assets
from labctl.errors import LabctlError
from labctl.features import base, health
from labctl.model.lab import Healthcheck, Node, Port
from labctl.plan import digests
from labctl.plan.model import ObservedNode
from labctl.providers.base import Result
from labctl.providers.vagrant import health as asked
from labctl.recipe import Facts

Tries = Callable[..., Path]


@pytest.fixture
def tries(tmp_path: Path) -> Iterator[Tries]:
    """Starts the program of a machine; returns the file in which it says what came of it."""
    text = (assets("templates") / "machine/node/usr/lib/lab/healthcheck").read_text()
    state = tmp_path / "health"
    program = tmp_path / "healthcheck"
    program.write_text(text.replace(health.STATE, str(state)))
    started: list[subprocess.Popen[bytes]] = []

    def start(test: str, *, timeout: float = 5.0, retries: int = 2, start_period: int = 0) -> Path:
        words = ["sh", str(program), "0.05", str(timeout), str(retries), str(start_period), "sh", "-c", test]
        started.append(subprocess.Popen(words))
        return state

    yield start
    for each in started:
        each.terminate()
        each.wait(10)
        assert not state.exists(), "a check that is over says nothing"


def word(state: Path) -> str:
    """The first line, or nothing yet."""
    return state.read_text().splitlines()[0] if state.exists() else ""


def becomes(state: Path, wanted: str) -> None:
    """Fail unless the program says `wanted` within ten seconds."""
    end = time.monotonic() + 10
    while word(state) != wanted:
        assert time.monotonic() < end, f"{wanted} expected, {word(state)} said"
        time.sleep(0.02)


def test_it_is_healthy_from_its_first_success_until_all_retries_failed(tries: Tries, tmp_path: Path) -> None:
    good = tmp_path / "good"
    state = tries(f"echo looked; echo x >> {tmp_path}/count; test -e {good}")
    becomes(state, "unhealthy 1")
    assert state.read_text() == "unhealthy 1\nlooked\n"
    good.touch()
    becomes(state, "healthy 0")
    good.unlink()
    becomes(state, "healthy 1")
    becomes(state, "unhealthy 1")


def test_failures_of_the_first_time_do_not_count(tries: Tries) -> None:
    state = tries("false", start_period=100)
    becomes(state, "starting 1")
    time.sleep(0.4)
    assert word(state) == "starting 1"
    becomes(state, "unhealthy 1")


def test_once_healthy_it_has_no_first_time_any_more(tries: Tries, tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.touch()
    state = tries(f"test -e {good}", start_period=10_000)
    becomes(state, "healthy 0")
    good.unlink()
    becomes(state, "unhealthy 1")


def test_a_try_that_hangs_is_ended(tries: Tries) -> None:
    state = tries("echo waiting; sleep 100 & wait", timeout=0.2, retries=1)
    becomes(state, "unhealthy 137")
    said = state.read_text().splitlines()
    assert (said[1], said[-1]) == ("waiting", "ended after 0.2 s")


class Says:
    """A way into a machine that has one answer, or none."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer

    def run(self, *_: object, **__: object) -> Result:
        if self._answer is None:
            raise LabctlError("it does not answer")
        return Result(0, self._answer, b"")


def test_the_word_of_each_machine_is_its_own() -> None:
    plain = ObservedNode("plain", "1", "running", "", "", "", {}, health="starting")
    answers = {"good": b"healthy 0\n", "bad": b"unhealthy 7\nno\n", "silent": None, "odd": b"\0", "new": b"starting\n"}
    nodes = {name: replace(plain, name=name) for name in answers}
    nodes |= {"none": replace(plain, name="none", health=None), "off": replace(plain, name="off", state="exited")}
    told = asked.told(nodes, lambda node: Says(answers[node.name]))  # type: ignore[arg-type,return-value]
    assert {name: node.health for name, node in told.items()} == {
        "good": "healthy",
        "bad": "unhealthy",
        "silent": "unhealthy",
        "odd": "unhealthy",
        "new": "starting",
        "none": None,
        "off": "starting",
    }
    assert asked.verdict(["unhealthy 7", "no"]) == ["healthcheck: exit code 7", "no"]
    assert asked.verdict(["starting"]) == []


def test_it_is_a_service_in_a_machine_and_the_engines_work_in_a_container() -> None:
    check = Healthcheck("test -e /ready", interval=0.5, timeout=1.5, retries=3, start_period=2.0)
    machine = Node("db", "db", provider="vagrant", healthcheck=check)
    container = replace(machine, provider="docker")
    seeds = [{each.path: each.content for each in base.seed(node, Facts("x", "db"))} for node in (machine, container)]
    program = seeds[0]["/etc/lab/services/_healthcheck"].decode()
    assert f"exec {health.PROGRAM} 0.5 1.5 3 200 sh -c 'test -e /ready'" in program
    assert [seed["/etc/lab/apply/services"] for seed in seeds] == [b"_healthcheck\n", b""]
    assert base.apply_needed(machine)
    assert not base.apply_needed(container)
    # another check is put into a machine that runs; a container has to be made anew
    for node, changes in ((machine, (True, False)), (container, (False, True))):
        published = digests.shape(node, {}, {}, (Port(80, 8080),)) == digests.shape(node, {}, {}, ())
        assert published == changes[0]
        other = replace(node, healthcheck=replace(check, retries=4))
        same = digests.shape(node, {}, {}, ()) == digests.shape(other, {}, {}, ())
        assert (same, digests.content(node, ()) == digests.content(other, ())) == changes
