"""Rounds of killing whoever takes part in shared storage while it is written to: nothing hangs, no promise is broken.

STORAGE_ROUNDS (20) and SOAK_SEED choose how many and which; SOAK_RESULT names a file for the figures.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from tests.scenarios.project import Project, until

pytestmark = [pytest.mark.engine, pytest.mark.soak, pytest.mark.timeout(3600)]

LAB = """
networks: {lan: {}, san-1: {internal: true}, san-2: {internal: true}}
volumes:
  home: {type: nfs, server: nas, reclaim: Delete}
  disk: {type: iscsi, server: nas, size: 256MiB, networks: [san-1, san-2], reclaim: Delete}
nodes:
  nas: {networks: [lan, san-1, san-2]}
  files: {networks: [lan], volumes: [home:/mnt/home]}
  blocks: {networks: [lan, san-1, san-2], volumes: [disk:/data]}
"""

PLACES = {"files": "/mnt/home", "blocks": "/data"}
SERVERS = ("pkill -9 -x tgtd", "pkill -9 -x ganesha.nfsd", "pkill -9 -x tgtd; pkill -9 -x ganesha.nfsd")
PATIENCE = 60.0

# Opened anew for every number: whoever is killed, the writer goes on as soon as its mount is back.
WRITER = r"""
use IO::Handle; use Fcntl; $| = 1; my ($place, $round) = @ARGV; my $n = 0;
while (1) {
    my $done = eval {
        -e "$place/here" or die; sysopen my $f, "$place/$round", O_WRONLY | O_CREAT or die; sysseek $f, 16 * $n, 0;
        syswrite($f, sprintf "%015d\n", $n) == 16 or die; $f->sync or die; close $f; print "$n\n"; $n++;
    };
    select undef, undef, undef, 0.02 unless $done;
}
"""


@dataclass
class Figures:
    """What the rounds showed: seconds from the kill until all volumes stood again, by who was killed."""

    rounds: int
    seed: int
    back: dict[str, list[float]] = field(default_factory=dict)
    promised: int = 0
    checks: int = 0


class Writer:
    """Writes numbers in a node, each with fsync; `acknowledged` counts them."""

    def __init__(self, project: Project, node: str, number: int, said: Path) -> None:
        self._said = said
        words = ["docker", "exec", "-i", project.container(node), "perl", "-e", WRITER, PLACES[node], str(number)]
        with said.open("a") as output:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL)

    @property
    def acknowledged(self) -> int:
        """How many numbers are promised to be there."""
        return len(self._said.read_text().split("\n")) - 1


@contextmanager
def writing(project: Project, number: int, directory: Path) -> Iterator[dict[str, Writer]]:
    """Both nodes write meanwhile."""
    writers = {node: Writer(project, node, number, directory / f"{node}-{number}") for node in PLACES}
    try:
        until(lambda: all(each.acknowledged > 5 for each in writers.values()))
        yield writers
    finally:
        for node, each in writers.items():
            subprocess.run(
                ["docker", "exec", project.container(node), "pkill", "-9", "perl"], check=False, capture_output=True
            )
            each.process.kill()
            each.process.wait()


def test_rounds_of_kills_lose_nothing_that_was_promised(project: Project, tmp_path: Path) -> None:
    rounds = int(os.environ.get("STORAGE_ROUNDS", "20"))
    seed = int(os.environ.get("SOAK_SEED", str(random.SystemRandom().randrange(10**6))))
    chance = random.Random(seed)
    figures = Figures(rounds, seed)
    project.write(LAB)
    project.labctl("up", "--yes")
    for node, place in PLACES.items():
        project.sh(node, f"touch {place}/here; sync")
    victims = ["node", "storage", "server", "keeper", "keeper and storage", "server and storage"]
    for number in range(rounds):
        if number % len(victims) == 0:
            # Everybody has their turn, in an order by chance.
            chance.shuffle(victims)
        victim = victims[number % len(victims)]
        where = f"seed {seed}, round {number}, {victim}"
        with writing(project, number, tmp_path) as writers:
            time.sleep(chance.uniform(0.1, 1.0))
            began = time.monotonic()
            kill(project, victim, chance)
            stand(project, where)
            figures.back.setdefault(victim, []).append(time.monotonic() - began)
            promised = {node: each.acknowledged for node, each in writers.items()}
        # Not before: who writes with fsync waits for it nearly all the time.
        answers(where)
        for node, count in promised.items():
            lines = project.sh(node, f"cat {PLACES[node]}/{number}").splitlines()
            assert lines[:count] == [f"{n:015d}" for n in range(count)], f"{where}: {node} lost what was promised"
            figures.promised += count
        fsck(project, where)
        figures.checks += 1
    project.labctl("down", "--volumes")
    assert project.ids() == {}
    assert project.volumes() == []
    answers("after down")
    report(figures)


def kill(project: Project, victim: str, chance: random.Random) -> None:
    """Kill processes, as a crash would, and bring back what nobody but the user brings back."""
    node = chance.choice(list(PLACES))
    if "keeper" in victim:
        dead(project, "_keeper")
    if "server" in victim:
        project.sh("nas", f"{chance.choice(SERVERS)}; true")
    if "storage" in victim:
        dead(project, f"_storage-{node}")
    if victim == "node":
        dead(project, node)


def dead(project: Project, name: str) -> None:
    """Kill the first process of a container past the engine, which then takes it for a crash."""
    pid = project.inspect(name)["State"]["Pid"]
    subprocess.run(["kill", "-9", str(pid)], check=True)
    until(lambda: not Path(f"/proc/{pid}").exists(), seconds=10)


def stand(project: Project, where: str) -> None:
    """Wait until all volumes are in their nodes and can be written, by a try."""
    end = time.monotonic() + PATIENCE
    while True:
        told = project.engine.containers(filters={"label": [f"labctl.lab={project.name}"]})
        names = {each["Labels"]["labctl.name"] for each in told}
        if {"_keeper", "_storage-files", "_storage-blocks", "nas", *PLACES} <= names and all(
            tried(project, node) for node in PLACES
        ):
            return
        assert time.monotonic() < end, f"{where}: not back\n{project.labctl('status', '--storage').out}"
        time.sleep(0.1)


def tried(project: Project, node: str) -> bool:
    """Whether a write with fsync comes through within a second."""
    place = PLACES[node]
    script = f"[ -e {place}/here ] && echo x | timeout -s KILL 1 dd of={place}/try conv=fsync 2> /dev/null"
    words = ["docker", "exec", project.container(node), "sh", "-c", script]
    return subprocess.run(words, check=False, capture_output=True, timeout=30).returncode == 0


def answers(where: str) -> None:
    """The kernel is well: loop devices answer, nothing waits for ever."""
    subprocess.run(["losetup", "-a"], check=True, timeout=5, capture_output=True)
    end = time.monotonic() + 10
    suspects = waiting()
    while suspects:
        assert time.monotonic() < end, f"{where}: in state D: {[described(each) for each in suspects]}"
        time.sleep(0.3)
        suspects &= waiting()


def waiting() -> set[str]:
    """Processes in uninterruptible sleep now."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "D":
                found.add(stat.parent.name)
        except OSError:
            continue
    return found


def described(pid: str) -> str:
    """Who a process is, and what it waits for in the kernel."""
    try:
        place = Path("/proc", pid)
        return f"{pid} {(place / 'comm').read_text().strip()}: {(place / 'stack').read_text().split()}"
    except OSError as error:
        return f"{pid}: {error}"


def fsck(project: Project, where: str) -> None:
    """The disk's file system is clean once its node has let go of it."""
    project.labctl("stop", "blocks")
    image = project.inspect("_keeper")["Image"]
    volume = f"labctl-{project.name}-disk"
    words = ["docker", "run", "--rm", "--network", "none", "-v", f"{volume}:/disk:ro", image]
    checked = subprocess.run(
        [*words, "e2fsck", "-f", "-n", "/disk/disk"], check=False, capture_output=True, text=True, timeout=120
    )
    assert checked.returncode == 0, f"{where}: {checked.stdout}{checked.stderr}"
    project.labctl("start", "blocks")
    stand(project, where)


def report(figures: Figures) -> None:
    """Print the figures as the lines of a table, and write them where SOAK_RESULT says."""
    rows = {
        "rounds, seed": f"{figures.rounds}, {figures.seed}",
        "numbers that fsync acknowledged, all there": str(figures.promised),
        "file systems checked, all clean": str(figures.checks),
    }
    for who, times in sorted(figures.back.items()):
        ordered = sorted(times)
        rows[f"{who} killed ({len(times)}): writes go on after"] = (
            f"{ordered[len(ordered) // 2]:.1f} s, at most {ordered[-1]:.1f} s"
        )
    text = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    print(f"\n{text}")  # noqa: T201 - the figures are what the run is for
    if place := os.environ.get("SOAK_RESULT"):
        Path(place).write_text(json.dumps(asdict(figures), indent=1))
