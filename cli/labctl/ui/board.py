"""What the live display knows: each thing of the plan, what is done to it, and for how long. No terminal here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from labctl.events import Event, PlanReady, StepEnded, StepOutput, StepStarted
from labctl.ui.words import clean, doing, done, duration, thing

Span = tuple[str, str]
"""Text and its style, a name that `Ink` knows or nothing."""
Line = list[Span]

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
NAME_WIDTH = 32
"""Cells that the names may take at most, so that what happens stands in one column."""
_URGENCY: Mapping[str, int] = MappingProxyType({"failed": 0, "running": 1})


@dataclass(slots=True)
class Row:
    """One thing and its steps. Times are in seconds since the epoch; `output` is the last line that a step printed."""

    ref: str
    verbs: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    running: str | None = None
    since: float = 0.0
    spent: float = 0.0
    outcome: str = ""
    output: str = ""

    @property
    def state(self) -> str:
        """failed, running, skipped, done or waiting (also between two steps)."""
        if self.outcome in ("failed", "skipped"):
            return self.outcome
        if self.running:
            return "running"
        return "done" if self.verbs and len(self.done) >= len(self.verbs) else "waiting"


class Board:
    """The state that the events add up to. Not thread-safe: its owner locks."""

    def __init__(self) -> None:
        self.lab = ""
        self.rows: dict[str, Row] = {}
        self.total = 0
        self.ended = 0
        self.began: float | None = None

    def apply(self, event: Event, *, now: float) -> None:
        """Take `event` in; `now` is its time when it has none."""
        match event:
            case PlanReady(lab=lab, steps=steps):
                # A second plan takes the place of the first: a choice of labctl's clashed and was made anew.
                self.rows, self.ended = {}, 0
                self.lab, self.total = lab, len(steps)
                self.began = now if self.began is None else self.began
                for _, verb, ref, _ in steps:
                    self._row(ref).verbs.append(verb)
            case StepStarted(verb=verb, ref=ref, time=at):
                row = self._row(ref)
                row.running, row.since, row.output = verb, at, ""
            case StepOutput(ref=ref, line=line):
                self._row(ref).output = clean(line) or self._row(ref).output
            case StepEnded(verb=verb, ref=ref, outcome=outcome, seconds=seconds):
                row = self._row(ref)
                row.running, row.output = None, ""
                row.spent += seconds
                self.ended += 1
                if outcome == "done":
                    row.done.append(verb)
                elif row.outcome != "failed":
                    row.outcome = outcome

    def lines(self, *, now: float, height: int, spinner: str) -> list[Line]:
        """At most `height` lines: a head, then what goes on or failed, then what waits or is done as far as it fits."""
        if not self.rows or height < 1:
            return []
        took = duration(now - self.began) if self.began is not None else ""
        head: Line = [(self.lab, "bold"), (f"  {self.ended}/{self.total} steps  {took}", "dim")]
        if height < 3:
            return [head]
        body = self._body(now=now, space=height - 1, spinner=spinner)
        return [head, *body]

    def _row(self, ref: str) -> Row:
        return self.rows.setdefault(ref, Row(ref))

    def _body(self, *, now: float, space: int, spinner: str) -> list[Line]:
        rows = [row for row in self.rows.values() if not _small(row)]
        small = [row for row in self.rows.values() if _small(row)]
        width = min(max((len(_label(row.ref)) for row in rows), default=0), NAME_WIDTH)
        blocks = [(row, _block(row, now=now, spinner=spinner, width=width)) for row in rows]
        gathered = _gathered(small)
        if sum(len(block) for _, block in blocks) + len(gathered) <= space:
            return _tree(gathered + [line for _, block in blocks for line in block])
        # Too many for this terminal: what needs eyes stays, the rest is counted.
        kept: list[Line] = []
        left: dict[str, int] = {}
        for row, block in sorted(blocks, key=lambda pair: _URGENCY.get(pair[0].state, 2)):
            if len(kept) + len(block) < space:
                kept += block
            else:
                left[row.state] = left.get(row.state, 0) + 1
        for row in small:
            left[row.state] = left.get(row.state, 0) + 1
        counts = ", ".join(f"{number} {state}" for state, number in left.items())
        return _tree([*kept, [(f"… {counts}", "dim")]])


def _small(row: Row) -> bool:
    """Networks and volumes that are done or wait share a line: there is nothing to see."""
    return row.ref.startswith(("network/", "volume/")) and row.state in ("done", "waiting")


def _gathered(rows: Sequence[Row]) -> list[Line]:
    groups: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        kind, _, name = row.ref.partition("/")
        word = done(row.done[-1]) if row.state == "done" else "waiting"
        groups.setdefault((kind, word), []).append(name)
    return [
        [
            (f"{kind}s " if len(names) > 1 else f"{kind} ", ""),
            (", ".join(names), ""),
            (f"  {word}", "green" if word != "waiting" else "dim"),
        ]
        for (kind, word), names in groups.items()
    ]


def _block(row: Row, *, now: float, spinner: str, width: int) -> list[Line]:
    label: Span = (f"{_label(row.ref):<{width}}  ", "")
    match row.state:
        case "running":
            took = duration(now - row.since)
            line: Line = [
                label,
                (f"{spinner} {_doing(row.running or '')}", "cyan"),
                (f"  {took}", "dim"),
            ]
            return [line, [("  ", ""), (row.output, "dim")]] if row.output else [line]
        case "failed":
            return [[label, ("✗ failed", "bold red")]]
        case "skipped":
            return [[label, ("- skipped", "yellow")]]
        case "done":
            return [[label, (f"✓ {done(row.done[-1])}", "green"), (f"  {duration(row.spent)}", "dim")]]
        case _:
            word = done(row.done[-1]) if row.done else "waiting"
            return [[label, (f"· {word}", "dim")]]


def _label(ref: str) -> str:
    """Nodes by their bare names; an image without what makes its tag unique."""
    kind, _, name = ref.partition("/")
    if kind == "image":
        return f"image {name.removeprefix('labctl/').partition(':')[0]}"
    return name if kind == "node" else thing(ref)


def _doing(verb: str) -> str:
    return "getting ready" if verb == "verify" else doing(verb)


def _tree(lines: list[Line]) -> list[Line]:
    """`lines` as the branches of a tree; a line that begins with spaces belongs to the branch above it."""

    def detail(line: Line) -> bool:
        return line[0] == ("  ", "")

    last = max((place for place, line in enumerate(lines) if not detail(line)), default=-1)
    drawn: list[Line] = []
    for place, line in enumerate(lines):
        if detail(line):
            drawn.append([("   " if place > last else "│  ", "dim"), *line])
        else:
            drawn.append([("└─ " if place == last else "├─ ", "dim"), *line])
    return drawn
