"""What happens while labctl works, as a typed stream: the engine emits, a display renders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class PlanReady:
    """The steps that will run, in a valid order: (id, verb, ref, because) of each."""

    lab: str
    steps: tuple[tuple[str, str, str, str], ...]


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step began. `id` is unique in the plan; `ref` is what it is about, e.g. ``node/web-1``."""

    id: str
    verb: str
    ref: str
    time: float


@dataclass(frozen=True, slots=True)
class StepOutput:
    """One line that a step printed (a package manager, a run step); `time` is in seconds since the epoch."""

    id: str
    ref: str
    line: str
    time: float


@dataclass(frozen=True, slots=True)
class StepEnded:
    """A step is over. `seconds` is how long it took; `error` and `hint` say why it failed or was skipped."""

    id: str
    verb: str
    ref: str
    outcome: Literal["done", "failed", "skipped"]
    seconds: float
    time: float
    error: str | None = None
    details: tuple[str, ...] = ()
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence for the user that belongs to no step. `level` is info or warning."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True, slots=True)
class Finished:
    """The command is over; `seconds` since it began, `exit_code` as the process will return it."""

    lab: str
    seconds: float
    exit_code: int
    counts: dict[str, int] = field(default_factory=dict)


Event = PlanReady | StepStarted | StepOutput | StepEnded | Notice | Finished
Emit = Callable[[Event], None]
