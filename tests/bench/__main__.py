"""labctl, docker compose and a bare script side by side, interleaved: ``python -m tests.bench``."""

from __future__ import annotations

import json
import platform
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import docker
import platformdirs
import typer

from tests.bench import composing, host, storage
from tests.bench.contenders import HERE, Compose, Contender, Floor, Labctl, Shape, timed
from tests.bench.table import Series, markdown

PARTS = ("up", "networks", "health", "noop", "desktops", "help", "storage")


@dataclass
class Bench:
    """All measurements of one run."""

    labctl: Labctl
    others: Sequence[Contender]
    rounds: int
    patience: float
    say: Callable[[str], None]
    busy: int = 0
    found: list[Series] = field(default_factory=list)

    def quietly(self, measure: Callable[[], float]) -> float:
        """Measure when the host is quiet; counts the times when it never was."""
        if not host.quiet(patience=self.patience):
            self.busy += 1
        return measure()

    def series(self, name: str, target: str) -> Series:
        """A new row of the table."""
        self.found.append(Series(name, target))
        return self.found[-1]

    def up_and_down(self, shape: Shape, target: str) -> None:
        """Every contender brings the shape up and down again, in a changing order."""
        title = f"{shape.count} node{'s' * (shape.count > 1)}"
        title += f" on {shape.networks} networks" * (shape.networks > 1) + " with a healthcheck" * shape.healthcheck
        up, down = self.series(f"`up`, {title}", target), self.series(f"`down`, {title}", "≤ compose + 0.3 s")
        who: list[Contender] = [self.labctl, *self.others]
        for number in range(self.rounds):
            ups: dict[str, float] = {}
            downs: dict[str, float] = {}
            for each in [*who[number % len(who) :], *who[: number % len(who)]]:
                ups[each.name] = self.quietly(lambda each=each: each.up(shape))  # type: ignore[misc]
                downs[each.name] = self.quietly(lambda each=each: each.down(shape))  # type: ignore[misc]
            up.rounds.append({each.name: ups[each.name] for each in who})
            down.rounds.append({each.name: downs[each.name] for each in who})
            self.say(f"{title}, round {number + 1}: " + ", ".join(f"{n} {s:.2f} s" for n, s in ups.items()))

    def noop(self, count: int) -> None:
        """An `up` that finds all as it should be, beside one listing of the same containers by the SDK."""
        shape = Shape(f"noop-{count}", count)
        self.labctl.up(shape)
        file, label = str(self.labctl.file(shape)), f"labctl.lab={self.labctl.lab(shape)}"
        listing = [sys.executable, str(HERE / "listing.py"), label]
        self.side_by_side(
            self.series(f"`up` with nothing to do, {count} nodes", "≤ 1.5 × the listing"),
            {"labctl": lambda: self.labctl.run("up", "-f", file), "listing": lambda: timed(listing)},
        )
        self.labctl.down(shape)

    def help(self) -> None:
        """The help of labctl beside that of a Typer app with as many commands that do nothing."""
        from labctl.app import PANELS

        count = sum(len(names) for names in PANELS.values()) + 1
        empty = [sys.executable, str(HERE / "empty.py"), str(count), "--help"]
        self.side_by_side(
            self.series("`labctl --help`", "≤ 1.5 × the empty app"),
            {"labctl": lambda: self.labctl.run("--help"), "empty app": lambda: timed(empty)},
        )

    def desktops(self, count: int) -> None:
        """Nodes with a drawn desktop beside nodes without."""
        series = self.series(f"`up`, {count} desktop nodes, drawn", "≤ 2 × plain nodes")
        desktop, plain = Shape(f"desktops-{count}", count, desktop=True), Shape(f"plain-{count}", count)
        for number in range(self.rounds):
            seconds = {}
            for shape in [desktop, plain] if number % 2 else [plain, desktop]:
                seconds[shape.name] = self.quietly(lambda shape=shape: self.labctl.up(shape))  # type: ignore[misc]
                self.labctl.down(shape)
            series.rounds.append({"desktops": seconds[desktop.name], "plain nodes": seconds[plain.name]})
            self.say(f"desktops, round {number + 1}: {series.rounds[-1]}")

    def side_by_side(self, series: Series, measures: dict[str, Callable[[], float]]) -> None:
        """Short measurements in turn, four to a round."""
        for number in range(4 * self.rounds):
            names = list(measures) if number % 2 else list(reversed(measures))
            if number % 4 == 0 and not host.quiet(patience=self.patience):
                self.busy += 1
            seconds = {name: measures[name]() for name in names}
            series.rounds.append({name: seconds[name] for name in measures})
        self.say(f"{series.name}: {series.medians()}")


def main(
    sizes: Annotated[str, typer.Option(help="How many nodes, with commas between.")] = "1,10,30",
    rounds: Annotated[int, typer.Option(min=1, help="How often everything is measured.")] = 5,
    only: Annotated[
        str, typer.Option(metavar="PARTS", help=f"Some of {','.join(PARTS)}; all when left out.")
    ] = ",".join(PARTS),
    patience: Annotated[float, typer.Option(help="Seconds to wait, each time, until the host is quiet.")] = 30.0,
    output: Annotated[Path | None, typer.Option(help="Write every figure to this JSON file.")] = None,
) -> None:
    """Measure labctl beside docker compose and a bare script, in turn, and print medians and ratios.

    ``storage``: shared storage beside the same tools put together by hand.
    """
    parts = only.split(",")
    rates: list[storage.Rates] = []
    if unknown := set(parts) - set(PARTS):
        raise typer.BadParameter(f"no such part: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    engine = docker.from_env(timeout=120).api
    with ExitStack() as undo:
        directory = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="labctl-bench-")))
        labctl = Labctl(directory, engine)
        undo.callback(lambda: host.remove_all(engine, host.LABEL, *(f"labctl.lab={lab}" for lab in labctl.labs)))
        bench = Bench(labctl, [], rounds, patience, _say)
        # Also what was measured before somebody lost patience.
        undo.callback(_report, bench, rates, output)
        if set(parts) != {"storage"}:
            bench.others = _others(labctl)
            _measure(bench, parts, [int(size) for size in sizes.split(",")])
        if "storage" in parts:
            storage.measure(labctl, rates, rounds, patience, _say)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _report(bench: Bench, rates: Sequence[storage.Rates], output: Path | None) -> None:
    found = sorted(bench.found, key=lambda series: series.name.startswith("`down`"))
    tables = [markdown(found)] * bool(found) + [storage.markdown(rates)] * bool(rates)
    typer.echo("\n\n".join((*tables, _circumstances(bench))))
    if output is not None:
        output.write_text(json.dumps([vars(series) for series in (*found, *rates)], indent=1))


def _others(labctl: Labctl) -> list[Contender]:
    """Images are made, compose is there: what is measured then is warm."""
    engine, directory = labctl.engine, labctl.directory
    first = Shape("first", 1)
    _say("making the images, where they are not there")
    labctl.up(first)
    image = labctl.image(first)
    labctl.down(first)
    program = composing.program(engine, Path(platformdirs.user_cache_dir("labctl", appauthor=False)) / "bench")
    _say(f"docker compose {composing.version(program)}")
    return [Compose(directory, engine, image, program), Floor(directory, engine, image)]


def _measure(bench: Bench, parts: Sequence[str], sizes: Sequence[int]) -> None:
    if "help" in parts:
        bench.help()
    if "noop" in parts:
        bench.noop(30)
    if "up" in parts:
        for size in sizes:
            bench.up_and_down(Shape(f"{size}", size), TARGETS.get(size, ""))
    if "networks" in parts:
        for size in sizes:
            bench.up_and_down(Shape(f"{size}x3", size, networks=3), "≤ 0.9 × compose")
    if "health" in parts:
        for size in [size for size in sizes if size > 1][:1]:
            bench.up_and_down(Shape(f"{size}-healthy", size, healthcheck=True), "")
    if "desktops" in parts:
        bench.labctl.up(warm := Shape("desktops-1", 1, desktop=True))
        bench.labctl.down(warm)
        bench.desktops(10)


TARGETS = {
    1: "≤ compose + 0.4 s",
    10: "≤ 1.1 × compose, ≤ 1.1 × floor",
    30: "≤ compose, ≤ 1.1 × floor",
}


def _circumstances(bench: Bench) -> str:
    server: dict[str, Any] = bench.labctl.engine.version()
    runtime = next((each["Version"] for each in server["Components"] if each["Name"] == "runc"), "?")
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ":")
    return (
        f"{bench.rounds} rounds; engine {server['Version']}, runc {runtime}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {len([*Path('/sys/devices/system/cpu').glob('cpu[0-9]*')])} processors "
        f"({model.partition(':')[2].strip()}); {bench.busy} measurements began on a host that was busy otherwise"
    )


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
