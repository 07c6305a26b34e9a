"""kill -9 at any moment of `up` and `down`: the next `up` or `down` repairs it, and in the end nothing is left."""

from __future__ import annotations

import os
import random
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.scenarios.project import Process, Project, end
from tests.scenarios.proxy import Proxy, Request
from tests.support.host_state import HostState, describe, read_host, settled

pytestmark = pytest.mark.engine

PACKAGE = "hello"
LAB = """
networks: {lan: {}, san: {internal: true}}
volumes: {data: {type: local, reclaim: Delete}}
nodes:
  a: {packages: [<package>], networks: [lan, san], volumes: [data:/data], ports: ["80"]}
  b: {networks: [lan, san], run: [echo ran >> /root/ran], depends_on: {c: {condition: started}}}
  c: {networks: [san, lan]}
"""

PHASES = {
    "building": r"POST /build",
    "creating": r"POST /(containers|networks|volumes)/create|PUT /containers/.*/archive",
    "attaching": r"POST /networks/.*/connect",
    "starting": r"POST /containers/.*/start",
    "configuring": r"POST .*/exec.*",
    "removing": r"DELETE /.*",
}
"""What the engine is doing for labctl, by the request under way."""

AT_LEAST = {"building": 2, "creating": 2, "attaching": 2, "starting": 1, "configuring": 1, "removing": 2}


def phase_of(request: Request) -> str | None:
    return next((name for name, pattern in PHASES.items() if re.fullmatch(pattern, str(request))), None)


@dataclass
class Calm:
    """A command that nobody disturbed: how long it took, and each of its requests by phase, in seconds."""

    command: str
    seconds: float
    requests: dict[str, list[float]]


@dataclass(frozen=True)
class Moment:
    """When to kill: `seconds` after the start, or after the `number`th request of `phase` reached the engine."""

    command: str
    phase: str | None
    number: int
    seconds: float

    def __str__(self) -> str:
        place = f"request {self.number} of {self.phase}" if self.phase else "its start"
        return f"{self.command}: {self.seconds * 1000:.0f} ms after {place}"


@dataclass
class Killer:
    """Kills one labctl at a moment, and knows what the engine was doing for it then."""

    moment: Moment
    process: Process | None = None
    caught: set[str] = field(default_factory=set)
    _seen: int = 0
    _started: threading.Event = field(default_factory=threading.Event)

    def watch(self, request: Request) -> None:
        if self.moment.phase is not None and phase_of(request) == self.moment.phase:
            self._seen += 1
            if self._seen == self.moment.number:
                self._started.set()

    def run(self, process: Process, proxy: Proxy) -> None:
        """Wait for the moment, or for a process that was faster."""
        if self.moment.phase is not None:
            while not self._started.wait(0.01):
                if process.poll() is not None:
                    break
        time.sleep(self.moment.seconds)
        self.caught = {phase for each in proxy.open_requests() if (phase := phase_of(each))}
        process.kill()
        process.communicate()


@dataclass
class Rounds:
    """Rounds of killing on one lab, all from one seed."""

    project: Project
    fresh: Callable[[str], str]
    before: HostState
    own: Path
    seed: int
    tally: Counter[str] = field(default_factory=Counter)
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def measure(self, command: str) -> Calm:
        """Run `command` in peace."""
        with Proxy() as proxy:
            began = time.monotonic()
            self.project.labctl(command, env=proxy.env)
            seconds = time.monotonic() - began
        requests: dict[str, list[float]] = {}
        for request in proxy.requests:
            if phase := phase_of(request):
                requests.setdefault(phase, []).append((request.ended or request.began) - request.began)
        return Calm(command, seconds, requests)

    def moment(self, calm: Calm, phase: str | None) -> Moment:
        if phase is None:
            return Moment(calm.command, None, 0, self.random.uniform(0.05, calm.seconds))
        number = self.random.randrange(len(calm.requests[phase]))
        return Moment(calm.command, phase, number + 1, self.random.random() * calm.requests[phase][number])

    def kill(self, moment: Moment, *arguments: str) -> None:
        """Run labctl and kill it at `moment`."""
        killer = Killer(moment)
        with Proxy(before=killer.watch) as proxy:
            killer.run(self.project.begin(moment.command, *arguments, env=proxy.env), proxy)
        self.tally.update(killer.caught)
        self.done.append(f"{moment}, while {', '.join(sorted(killer.caught)) or 'nothing was asked of the engine'}")

    def repair(self) -> None:
        """`up` makes it whole, or `down` takes it away: either has to do."""
        if self.random.random() < 0.5:
            self.up()
        self.down()

    def up(self, *arguments: str) -> None:
        ran = end(self.project.begin("up", *arguments))
        assert ran.code == 0, f"{self}\n{ran.err}"
        assert self.project.plan() == [], self
        assert set(self.project.ids()) == {"a", "b", "c"}, self
        for node in "abc":
            self.project.sh(node, "getent hosts a b c > /dev/null && ip -4 -br addr | grep -c eth | grep -qx 2")
        assert self.project.ssh("a", "hostname") == "a"

    def down(self) -> None:
        ran = end(self.project.begin("down", "--name", self.project.name))
        assert ran.code in (0, 9), f"{self}\n{ran.err}"
        left = settled(self.before, self.own)
        assert not left, f"{self}\n{describe(left)}"
        assert not self.project.state.exists(), self

    def __str__(self) -> str:
        return "\n".join([f"CHAOS_SEED={self.seed}", *self.done])


@pytest.fixture
def rounds(
    fresh: Callable[[str], str], project: Project, session_directory: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Rounds]:
    """Rounds on a lab that is not there yet."""
    seed = int(os.environ.get("CHAOS_SEED", "0")) or secrets.randbelow(10**6) + 1
    project.write(LAB, package=PACKAGE)
    made = Rounds(project, fresh, read_host(session_directory), session_directory, seed)
    unfinished = leftovers_of_builds(project)
    yield made
    with capsys.disabled():
        print(f"\n{made}")  # noqa: T201 - the seed has to be seen
    fresh(PACKAGE)
    assert leftovers_of_builds(project) <= unfinished, made


def leftovers_of_builds(project: Project) -> set[str]:
    """Containers and nameless images of builds that were not finished."""
    mark = {"label": ["labctl.kind=baking"]}
    containers = project.engine.containers(all=True, filters=mark)
    images = project.engine.images(filters={**mark, "dangling": ["true"]})
    return {str(each["Id"]) for each in (*containers, *images)}


def play(rounds: Rounds, *, more: int) -> None:
    """Kill in every phase as often as `AT_LEAST` says, and at `more` moments anywhere in `up` and `down`."""
    rounds.fresh(PACKAGE)
    calm = {command: rounds.measure(command) for command in ("up", "down")}
    assert not settled(rounds.before, rounds.own)
    wanted = {phase: number for phase, number in AT_LEAST.items() if phase in {**calm["up"].requests, "removing": 1}}

    def kill(command: str, phase: str | None) -> None:
        if phase == "building":
            rounds.fresh(PACKAGE)
        if command == "down":
            rounds.up()
        rounds.kill(rounds.moment(calm[command], phase))

    for phase, number in wanted.items():
        for attempt in range(3 * number):
            if rounds.tally[phase] >= number:
                break
            kill("down" if phase == "removing" else "up", phase)
            if phase == "building" and rounds.tally[phase] >= number:
                rounds.up()  # a finished build takes up what the killed ones left
                rounds.down()
            else:
                rounds.repair()
            assert attempt < 3 * number, rounds
    for number in range(more):
        kill("down" if number % 3 == 2 else "up", None)
        rounds.repair()
    assert len(rounds.done) >= 10, rounds
    assert all(rounds.tally[phase] >= number for phase, number in wanted.items()), rounds


@pytest.mark.timeout(600)
def test_killed_at_any_moment(rounds: Rounds) -> None:
    play(rounds, more=3)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_killed_again_and_again(rounds: Rounds) -> None:
    for _ in range(5):
        rounds.tally.clear()
        play(rounds, more=10)


def test_killed_while_it_changes_a_lab(rounds: Rounds) -> None:
    """In place (a package, a file, a run list), anew (a capability): the next `up` finishes it."""
    lab = LAB.replace("c: {networks: [san, lan]}", "c: {networks: [san, lan], <change>}")
    for seconds in (rounds.random.uniform(0.4, 1.2), rounds.random.uniform(1.2, 4.0)):
        rounds.project.write(lab, package="tree", change="memory: 300MiB")
        rounds.up("--yes")
        rounds.project.write(
            lab.replace("echo ran", "echo again"), package=f"tree, {PACKAGE}", change="capabilities: [NET_ADMIN]"
        )
        rounds.kill(Moment("up", None, 0, seconds), "--yes")
        rounds.up("--yes")
        rounds.project.sh("a", "command -v hello tree")
        assert rounds.project.sh("b", "tail -n 1 /root/ran") == "again", rounds
        assert rounds.project.inspect("c")["HostConfig"]["CapAdd"] == ["NET_ADMIN"], rounds
        rounds.down()
