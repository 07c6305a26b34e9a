"""`make soak`: rounds of `up` and `down` with `kill -9` at random moments; in the end the host is as it was before.

SOAK_ROUNDS (100) and SOAK_SEED choose how many and which; after SOAK_SECONDS no other round begins. SOAK_PARTS names a
file for the figures: the rounds in it count as done, so that they can be run in parts.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from tests.scenarios.project import Project, end

pytestmark = [pytest.mark.engine, pytest.mark.soak, pytest.mark.timeout(7200)]

LAB = """
networks: {lan: {}, san: {internal: true}}
volumes:
  home: {type: nfs, server: nas, networks: [san], reclaim: Delete}
  disk: {type: iscsi, server: nas, size: 32MiB, networks: [san], reclaim: Delete}
  keep: {type: local}
nodes:
  nas: {networks: [lan, san]}
  db: {networks: [lan, san], volumes: [disk:/data, home:/mnt/home], services: {idle: {command: sleep 100000}}}
  dev: {networks: [lan, san], desktop: true, volumes: [home:/home/lab/shared, keep:/keep], ports: ["80"]}
checks:
  screen: {desktop: dev}
  ssh: {tcp: "db:22", from: dev}
  disk: {mount: /data, on: db}
  home: {mount: /home/lab/shared, on: dev}
"""

LONGEST = {"up": 6.0, "down": 3.0}
"""Seconds after which a command that is to be killed is killed at the latest."""

MIB = 2**20
FILES_EACH = 8
"""What the engine has open for each container that runs; measured as 7.6 over 100 rounds."""

GROWTH = 1.1
"""How much more may be taken in the last quarter of the rounds than in the one before; all is warm by then."""


@dataclass
class Sample:
    """What the engine and one gateway take: bytes of memory, open files; and how many containers run on the engine."""

    engine_memory: int
    engine_files: int
    gateway_memory: int
    gateway_files: int
    running: int

    @property
    def engine_own_files(self) -> int:
        """The engine's open files without those for the containers that run, others' included."""
        return self.engine_files - FILES_EACH * self.running


@dataclass
class Figures:
    """What a run of rounds showed."""

    rounds: int = 0
    seeds: list[int] = field(default_factory=list)
    killed: dict[str, int] = field(default_factory=dict)
    up: list[float] = field(default_factory=list)
    down: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)


def test_rounds_with_kills_leave_the_host_as_it_was(project: Project) -> None:
    rounds = int(os.environ.get("SOAK_ROUNDS", "100"))
    seed = int(os.environ.get("SOAK_SEED", str(random.SystemRandom().randrange(10**6))))
    chance = random.Random(seed)
    figures = earlier()
    figures.seeds.append(seed)
    over = time.monotonic() + float(os.environ.get("SOAK_SECONDS", "inf"))
    project.write(LAB)
    while figures.rounds < rounds and time.monotonic() < over:
        number = figures.rounds
        for command, times in (("up", figures.up), ("down", figures.down)):
            before = "nothing"
            if chance.random() < 0.5:
                before = interrupted(project, command, chance.uniform(0.05, LONGEST[command]), figures)
            began = time.monotonic()
            ran = end(project.begin(*given(project, command)))
            times.append(time.monotonic() - began)
            # A `down` that was killed may have been done all but saying so.
            assert ran.code == 0 or (command == "down" and ran.code == 9), (
                f"seed {seed}, round {number}, {command}: {ran.code}\n{ran.err}\nbefore it: {before}"
            )
            if command == "up":
                figures.samples.append(sample(project))
                if number % 10 == 0:
                    project.labctl("test")
        own = {"label": [f"labctl.lab={project.name}"]}
        assert project.engine.containers(all=True, filters=own) == [], f"seed {seed}, round {number}"
        assert project.engine.networks(filters=own) == [], f"seed {seed}, round {number}"
        assert not project.engine.volumes(filters=own)["Volumes"], f"seed {seed}, round {number}"
        figures.rounds += 1
    report(figures)
    if len(figures.samples) < 20:
        return  # too few to tell growth from warming up
    quarter = len(figures.samples) // 4
    early, late = figures.samples[-2 * quarter : -quarter], figures.samples[-quarter:]
    assert middle(late, "engine_own_files") <= middle(early, "engine_own_files") + 20
    assert middle(late, "engine_memory") <= middle(early, "engine_memory") * GROWTH + 20 * MIB
    assert middle(late, "gateway_memory") <= middle(early, "gateway_memory") * GROWTH + 2 * MIB
    assert middle(late, "gateway_files") <= middle(early, "gateway_files") + 3


def middle(samples: Sequence[Sample], what: str) -> float:
    """The median of one kind of figure."""
    return float(statistics.median(getattr(each, what) for each in samples))


def earlier() -> Figures:
    """The figures of the parts that were run before."""
    place = Path(os.environ.get("SOAK_PARTS", os.devnull))
    if not place.is_file():
        return Figures()
    kept = json.loads(place.read_text())
    return Figures(**{**kept, "samples": [Sample(**each) for each in kept["samples"]]})


def given(project: Project, command: str) -> list[str]:
    """The command of a round with its options."""
    return {
        "up": ["up", "--yes", "--timeout", "120s"],
        "down": ["down", "--name", project.name, "--volumes"],
    }[command]


def interrupted(project: Project, command: str, seconds: float, figures: Figures) -> str:
    """Begin a command and kill it after `seconds`, unless it was faster; what it said."""
    process = project.begin(*given(project, command))
    try:
        process.wait(seconds)
        what = f"{command}: was faster"
    except subprocess.TimeoutExpired:
        process.kill()
        what = f"{command}: killed"
    figures.killed[what] = figures.killed.get(what, 0) + 1
    return f"{what} after {seconds:.2f} s\n{process.communicate()[1]}"


def sample(project: Project) -> Sample:
    from labctl.probe.usage import memory

    engine = next(int(path.parent.name) for path in Path("/proc").glob("[0-9]*/comm") if comm(path) == "dockerd")
    pages = int(Path(f"/proc/{engine}/statm").read_text().split()[1])
    gateway = project.inspect("_gateway")["Id"]
    told = project.engine.top(gateway, "-o pid")
    return Sample(
        engine_memory=pages * os.sysconf("SC_PAGE_SIZE"),
        engine_files=files(engine),
        gateway_memory=memory([gateway]) or 0,
        gateway_files=sum(files(int(each[0])) for each in told["Processes"]),
        running=len(project.engine.containers()),
    )


def files(process: int) -> int:
    """How many files it has open; none when it has just ended."""
    try:
        return len(os.listdir(f"/proc/{process}/fd"))
    except OSError:
        return 0


def comm(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def report(figures: Figures) -> None:
    """Print the figures as the lines of a table, and write them where SOAK_PARTS says."""

    def told(values: list[float]) -> str:
        ordered = sorted(values)
        return f"{ordered[len(ordered) // 2]:.1f} s, at most {ordered[-1]:.1f} s"

    first, last = figures.samples[0], figures.samples[-1]
    rows = {
        "rounds, seeds": f"{figures.rounds}, {figures.seeds}",
        "kills": ", ".join(f"{what} {count}" for what, count in sorted(figures.killed.items())),
        "up that ended by itself": told(figures.up),
        "down that ended by itself": told(figures.down),
        "engine's memory, first and last": f"{first.engine_memory / MIB:.0f}, {last.engine_memory / MIB:.0f} MiB",
        "engine's open files": f"{first.engine_files}, {last.engine_files}",
        "gateway's memory": f"{first.gateway_memory / MIB:.1f}, {last.gateway_memory / MIB:.1f} MiB",
        "gateway's open files": f"{first.gateway_files}, {last.gateway_files}",
    }
    text = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    print(f"\n{text}")  # noqa: T201 - the figures are what the run is for
    if place := os.environ.get("SOAK_PARTS"):
        Path(place).write_text(json.dumps(asdict(figures), indent=1))
