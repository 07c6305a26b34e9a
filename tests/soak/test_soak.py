"""`make soak`: rounds of `up` and `down` with `kill -9` at random moments; in the end the host is as it was before.

SOAK_ROUNDS (100) and SOAK_SEED choose how many and which; SOAK_RESULT names a file for the figures.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from tests.scenarios.project import Project, end

pytestmark = [pytest.mark.engine, pytest.mark.soak, pytest.mark.timeout(7200)]

LAB = """
networks: {lan: {}, back: {internal: true}}
volumes: {data: {type: local, reclaim: Delete}}
nodes:
  web: {networks: [lan, back], volumes: [data:/data], services: {idle: {command: sleep 100000}}, ports: ["80"]}
  dev: {networks: [lan], desktop: true}
  ben: {networks: [back], desktop: {wm: openbox}, depends_on: {web: {condition: healthy}}}
checks:
  screen: {desktop: dev}
  ssh: {tcp: "web:22", from: dev}
"""

GROWTH = 1.3
"""How much more the engine may take after the rounds than after the first tenth of them."""


@dataclass
class Sample:
    """What the engine and one gateway take: bytes of memory, open files; and how many containers run on the engine."""

    engine_memory: int
    engine_files: int
    gateway_memory: int
    running: int


@dataclass
class Figures:
    """What a run of rounds showed."""

    rounds: int
    seed: int
    killed: dict[str, int] = field(default_factory=dict)
    up: list[float] = field(default_factory=list)
    down: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)


def test_rounds_with_kills_leave_the_host_as_it_was(project: Project) -> None:
    rounds = int(os.environ.get("SOAK_ROUNDS", "100"))
    seed = int(os.environ.get("SOAK_SEED", str(random.SystemRandom().randrange(10**6))))
    chance = random.Random(seed)
    figures = Figures(rounds, seed)
    project.write(LAB)
    for number in range(rounds):
        for command, times in (("up", figures.up), ("down", figures.down)):
            if chance.random() < 0.5:
                interrupted(project, command, chance.uniform(0.05, 3.0), figures)
            began = time.monotonic()
            ran = end(project.begin(command, *(["--yes"] if command == "up" else ["-n", project.name, "--volumes"])))
            times.append(time.monotonic() - began)
            # A `down` that was killed may have been done all but saying so.
            assert ran.code == 0 or (command == "down" and ran.code == 9), (
                f"seed {seed}, round {number}, {command}: {ran.code}\n{ran.err}"
            )
            if command == "up":
                figures.samples.append(sample(project))
                if number % 10 == 0:
                    project.labctl("test")
        own = {"label": [f"labctl.lab={project.name}"]}
        assert project.engine.containers(all=True, filters=own) == [], f"seed {seed}, round {number}"
        assert project.engine.networks(filters=own) == [], f"seed {seed}, round {number}"
        assert not project.engine.volumes(filters=own)["Volumes"], f"seed {seed}, round {number}"
    report(figures)
    early = figures.samples[max(rounds // 10 - 1, 0)]
    # Others may work on this engine: it is compared with itself under the same load.
    late = [each for each in figures.samples if each.running == early.running][-1]
    assert late.engine_files <= early.engine_files + 20, figures.samples
    assert late.engine_memory <= early.engine_memory * GROWTH + 50 * 2**20, figures.samples
    assert late.gateway_memory <= early.gateway_memory * GROWTH + 10 * 2**20, figures.samples


def interrupted(project: Project, command: str, seconds: float, figures: Figures) -> None:
    """Begin a command and kill it after `seconds`, unless it was faster."""
    process = project.begin(command, *(["--yes"] if command == "up" else ["-n", project.name, "--volumes"]))
    try:
        process.wait(seconds)
        what = f"{command}: was faster"
    except subprocess.TimeoutExpired:
        process.kill()
        what = f"{command}: killed"
    figures.killed[what] = figures.killed.get(what, 0) + 1
    process.communicate()


def sample(project: Project) -> Sample:
    from labctl.probe.usage import memory

    engine = next(int(path.parent.name) for path in Path("/proc").glob("[0-9]*/comm") if comm(path) == "dockerd")
    pages = int(Path(f"/proc/{engine}/statm").read_text().split()[1])
    gateway = project.inspect("_gateway")["Id"]
    return Sample(
        pages * os.sysconf("SC_PAGE_SIZE"),
        len(os.listdir(f"/proc/{engine}/fd")),
        memory([gateway]) or 0,
        len(project.engine.containers()),
    )


def comm(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def report(figures: Figures) -> None:
    """Print the figures as the lines of a table, and write them where SOAK_RESULT says."""

    def middle(values: list[float]) -> str:
        ordered = sorted(values)
        return f"{ordered[len(ordered) // 2]:.1f} s, at most {ordered[-1]:.1f} s"

    first, last = figures.samples[0], figures.samples[-1]
    rows = {
        "rounds, seed": f"{figures.rounds}, {figures.seed}",
        "kills": ", ".join(f"{what} {count}" for what, count in sorted(figures.killed.items())),
        "up that ended by itself": middle(figures.up),
        "down that ended by itself": middle(figures.down),
        "engine's memory, first and last": f"{first.engine_memory / 2**20:.0f}, {last.engine_memory / 2**20:.0f} MiB",
        "engine's open files": f"{first.engine_files}, {last.engine_files}",
        "gateway's memory": f"{first.gateway_memory / 2**20:.1f}, {last.gateway_memory / 2**20:.1f} MiB",
    }
    text = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    print(f"\n{text}")  # noqa: T201 - the figures are what the run is for
    if place := os.environ.get("SOAK_RESULT"):
        Path(place).write_text(json.dumps(asdict(figures), indent=1))
