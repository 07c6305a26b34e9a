"""`make soak`: rounds of a lab of containers and a machine with `kill -9` at random moments; nothing of it is left.

SOAK_MIXED_ROUNDS (10) and SOAK_SEED choose how many and which.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from labctl.providers.vagrant import libvirt
from tests.scenarios.project import Project, end
from tests.support.boxes import share_boxes

pytestmark = [pytest.mark.engine, pytest.mark.vm, pytest.mark.soak, pytest.mark.timeout(7200)]

LAB = """
networks: {lan: {}, san: {internal: true}}
volumes:
  home: {type: nfs, server: nas, networks: [san], reclaim: Delete}
nodes:
  nas: {networks: [lan, san]}
  dev: {networks: [lan, san], desktop: true, volumes: [home:/home/lab/shared]}
  old: {provider: vagrant, networks: [lan]}
checks:
  screen: {desktop: dev}
  there: {tcp: "old:22", from: dev}
  back: {tcp: "dev:22", from: old}
  home: {mount: /home/lab/shared, on: dev}
"""

LONGEST = {"up": 60.0, "down": 8.0}
"""Seconds after which a command that is to be killed is killed at the latest."""

PATIENCE = 600.0
"""Seconds that a command may take on a processor that is emulated."""


@pytest.fixture
def boxes(labctl_home: Path) -> None:
    share_boxes(labctl_home)


@pytest.mark.usefixtures("boxes", "host_state")
def test_rounds_of_containers_and_a_machine_leave_nothing(project: Project) -> None:
    rounds = int(os.environ.get("SOAK_MIXED_ROUNDS", "10"))
    seed = int(os.environ.get("SOAK_SEED", str(random.SystemRandom().randrange(10**6))))
    chance = random.Random(seed)
    times: dict[str, list[float]] = {"up": [], "down": []}
    kills = {"up": 0, "down": 0}
    project.write(LAB)
    for number in range(rounds):
        for command, words in (("up", ["up", "--yes", "--timeout", "500s"]), ("down", ["down", "-n", project.name])):
            before = "nothing"
            if chance.random() < 0.5:
                process = project.begin(*words)
                try:
                    process.wait(chance.uniform(0.05, LONGEST[command]))
                except subprocess.TimeoutExpired:
                    process.kill()
                    kills[command] += 1
                before = process.communicate()[1]
            began = time.monotonic()
            ran = end(project.begin(*words), patience=PATIENCE)
            times[command].append(time.monotonic() - began)
            assert ran.code == 0 or (command == "down" and ran.code == 9), (
                f"seed {seed}, round {number}, {command}: {ran.code}\n{ran.err}\nbefore it: {before}"
            )
            if command == "up":
                project.labctl("test")
        assert left(project) == [], f"seed {seed}, round {number}"
        last = {what: round(each[-1], 1) for what, each in times.items()}
        print(f"seed {seed}, round {number + 1}: nothing is left; {last} s, killed so far {kills}", flush=True)  # noqa: T201
    said = "; ".join(
        f"{what} {sorted(each)[len(each) // 2]:.1f} s, at most {max(each):.1f}" for what, each in times.items()
    )
    print(f"\nseed {seed}: {rounds} rounds, killed {kills}; {said}")  # noqa: T201 - the figures are what the run is for


def left(project: Project) -> list[str]:
    """What the engine and libvirt have of the lab: containers, networks, volumes, machines, disks."""
    own = {"label": [f"labctl.lab={project.name}"]}
    prefix = f"labctl-{project.name}-"
    disks = [line.split()[0] for line in libvirt.virsh("vol-list", "default").splitlines() if line.strip()]
    return [
        *(each["Id"] for each in project.engine.containers(all=True, filters=own)),
        *(each["Id"] for each in project.engine.networks(filters=own)),
        *(each["Name"] for each in project.engine.volumes(filters=own)["Volumes"] or ()),
        *(each.name for each in libvirt.domains(prefix)),
        *(each.name for each in libvirt.networks(prefix)),
        *(each for each in disks if each.startswith(prefix)),
    ]
