"""How time and memory grow with the nodes of a lab, and with labs at once: ``python -m tests.bench.scale``."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import docker
import typer

from tests.bench import host
from tests.bench.contenders import HERE, timed
from tests.bench.plot import Panel, fit, svg

LABCTL = str(Path(sys.executable).with_name("labctl"))
MIB = 2**20
SHORT = 7
"""How often what takes a moment is measured; the median counts."""


@dataclass(frozen=True)
class Row:
    """One measurement: seconds of each command, and bytes while all is up.

    `labctl` is the most that one `up` took, `engine` what engine, container runtime and shims took more than before,
    `guests` what runs in the nodes. `listing` is one listing of the same containers by the SDK, as a process.
    """

    labs: int
    nodes: int
    up: float
    status: float
    listing: float
    test: float
    down: float
    labctl: int
    engine: int
    guests: int


@dataclass
class Scale:
    """Labs with names that begin with `prefix`, their files below `directory`."""

    directory: Path
    engine: docker.APIClient
    prefix: str

    def row(self, labs: int, nodes: int) -> Row:
        """Bring `labs` of `nodes` each up at once, look, test, and take them down."""
        names = [f"{self.prefix}-{nodes}-{number}" for number in range(labs)]
        for name in names:
            self.write(name, nodes)
        host.quiet(patience=30)
        before = engine_memory()
        up, peak = self.all_of(names, "up")
        status, listing = self.looking(names, nodes)
        guests = self.guests(names)
        grown = engine_memory() - before
        test, _ = self.all_of(names, "test")
        down, _ = self.all_of(names, "down")
        left = self.engine.containers(all=True, filters={"name": f"labctl-{self.prefix}-{nodes}-"})
        if left:
            raise RuntimeError(f"left behind: {[each['Names'] for each in left]}")
        return Row(labs, nodes, up, status, listing, test, down, peak, grown, guests)

    def write(self, name: str, nodes: int) -> None:
        last = f"n-{nodes}"
        lab = {
            "name": name,
            "nodes": {"n": {"count": nodes}},
            "checks": {"ssh": {"tcp": f"{last}:22", "from": "n-1"}, "name": {"dns": last, "from": "n-1"}},
        }
        (self.directory / name).mkdir(exist_ok=True)
        (self.directory / name / "lab.yaml").write_text(json.dumps(lab))

    def all_of(self, names: Sequence[str], command: str) -> tuple[float, int]:
        """Give the command for all labs at once: seconds until the last ended, and the most memory that one took."""
        began = time.perf_counter()
        running = [
            subprocess.Popen(
                [LABCTL, command],
                cwd=self.directory / name,
                env={**os.environ, "LABCTL_HOME": str(self.directory / "home")},
                stdout=subprocess.DEVNULL,
                stderr=(self.directory / name / "said").open("w"),
            )
            for name in names
        ]
        most = 0
        while any(process.poll() is None for process in running):
            most = max(most, *(peak(process.pid) for process in running))
            time.sleep(0.01)
        seconds = time.perf_counter() - began
        for name, process in zip(names, running, strict=True):
            if process.returncode:
                said = (self.directory / name / "said").read_text()
                raise RuntimeError(f"labctl {command} of {name} ended with {process.returncode}\n{said}")
        return seconds, most

    def looking(self, names: Sequence[str], nodes: int) -> tuple[float, float]:
        """Seconds of `status` of the first lab, and of one listing of its containers, in turn."""
        listing = [sys.executable, str(HERE / "listing.py"), f"labctl.lab={names[0]}"]
        ours, sdks = [], []
        for _ in range(SHORT):
            ours.append(self.all_of(names[:1], "status")[0])
            sdks.append(timed(listing))
        return statistics.median(ours), statistics.median(sdks)

    def guests(self, names: Sequence[str]) -> int:
        """Bytes that the labs' nodes take, as ``labctl ls`` says it."""
        argv = [LABCTL, "ls", "-o", "json"]
        environ = {**os.environ, "LABCTL_HOME": str(self.directory / "home")}
        told = json.loads(subprocess.run(argv, env=environ, capture_output=True, text=True, check=True).stdout)
        return sum(lab["memory"] or 0 for lab in told["labs"] if lab["name"] in names)

    def remove(self) -> None:
        """Take away what is left of labs that did not get to their end."""
        for path in self.directory.glob("*/lab.yaml"):
            argv = [LABCTL, "down", "--volumes", "--quiet", "--name", path.parent.name]
            environ = {**os.environ, "LABCTL_HOME": str(self.directory / "home")}
            subprocess.run(argv, env=environ, capture_output=True, check=False)


def peak(process: int) -> int:
    """The most bytes that a process has had in memory so far; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def engine_memory() -> int:
    """Bytes of the engine, its container runtime and the shims of all containers; what they share counts once."""
    total = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            name = (entry / "comm").read_text().strip()
            if name in ("dockerd", "containerd", "docker-proxy") or name.startswith("containerd-shim"):
                lines = (entry / "smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        except OSError:
            continue
    return total


# ---------------------------------------------------------------- what is told


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    head = (
        "labs",
        "nodes in each",
        "`up`",
        "`status`",
        "one listing",
        "`test`",
        "`down`",
        "labctl",
        "engine",
        "in nodes",
    )
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for row in rows:
        seconds = [f"{value:.2f} s" for value in (row.up, row.status, row.listing, row.test, row.down)]
        memory = [f"{value / MIB:.0f} MiB" for value in (row.labctl, row.engine, row.guests)]
        lines.append(f"| {row.labs} | {row.nodes} | {' | '.join([*seconds, *memory])} |")
    return "\n".join(lines)


def panels(rows: Sequence[Row]) -> list[Panel]:
    """What is drawn: long commands, short ones, memory, against the number of all nodes."""

    def series(get: Callable[[Row], float]) -> list[tuple[float, float]]:
        return [(row.labs * row.nodes, get(row)) for row in rows]

    across = "nodes" if max(row.labs for row in rows) == 1 else f"nodes, {rows[0].nodes} in each lab, all labs at once"
    return [
        Panel("seconds", across, {"up": series(lambda row: row.up), "down": series(lambda row: row.down)}),
        Panel("seconds", across, {"test": series(lambda row: row.test), "status": series(lambda row: row.status)}),
        Panel(
            "memory in MiB",
            across,
            {
                "nodes": series(lambda row: row.guests / MIB),
                "engine, shims": series(lambda row: row.engine / MIB),
                "labctl": series(lambda row: row.labctl / MIB),
            },
        ),
    ]


def slopes(rows: Sequence[Row]) -> str:
    """What a node more costs, and how near to a line that is."""
    said = []
    for panel in panels(rows):
        for name, points in panel.series.items():
            line = fit(points)
            said.append(
                f"{name}: {line.at_zero:.2f} + {line.each:.3f} for each node ({panel.title}), r² {line.share:.3f}"
            )
    return "\n".join(said)


def main(
    nodes: Annotated[str, typer.Option(help="Nodes of one lab, with commas between; none when empty.")] = "1,25,50,100",
    labs: Annotated[str, typer.Option(help="Labs of two nodes at once, with commas between.")] = "1,5,10,20",
    plots: Annotated[Path | None, typer.Option(help="Draw the figures into this directory.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write every figure to this JSON file.")] = None,
    prefix: Annotated[str, typer.Option(help="What the names of the labs begin with.")] = "scale",
) -> None:
    """Measure labs of more and more nodes, and more and more labs at once."""
    found: dict[str, list[Row]] = {"nodes": [], "labs": []}
    with ExitStack() as undo:
        directory = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="labctl-scale-")))
        scale = Scale(directory, docker.from_env(timeout=120).api, prefix)
        undo.callback(scale.remove)
        scale.row(1, 1)  # images are made, all is warm
        for count in _numbers(nodes):
            found["nodes"].append(scale.row(1, count))
            typer.echo(f"one lab of {count}: {found['nodes'][-1]}", err=True)
        for count in _numbers(labs):
            found["labs"].append(scale.row(count, 2))
            typer.echo(f"{count} labs: {found['labs'][-1]}", err=True)
    for name, rows in found.items():
        if len(rows) > 1:
            typer.echo(f"{table(rows)}\n\n{slopes(rows)}\n")
            if plots is not None:
                label = "Time and memory against the number of nodes"
                (plots / f"scale-{name}.svg").write_text(svg(panels(rows), label))
    if output is not None:
        told: dict[str, Any] = {name: [asdict(row) for row in rows] for name, rows in found.items()}
        output.write_text(json.dumps(told, indent=1))


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word]


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
