"""Documents that judge: checks, jobs, and the reasons behind a node's state."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckDocument:
    """How a check of the lab file ended. `node` is where it ran from, null for this host.

    `attempts` counts the tries, `seconds` is how long they took in all, `output` what the last of them said.
    """

    name: str
    type: str
    subject: str
    node: str | None
    state: Literal["passed", "failed", "skipped"]
    attempts: int
    seconds: float
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecksDocument:
    """The checks of a lab: ``labctl test``."""

    version: Literal[1] = 1
    kind: Literal["checks"] = "checks"
    lab: str
    passed: bool
    checks: list[CheckDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionDocument:
    """Something that a node needs to be well: `said` is what its probe said just now, `hint` what to do else."""

    what: str
    holds: bool
    said: str
    hint: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonDocument:
    """Why a node is as it is. `well` when all conditions hold; `log` are the last lines that it printed."""

    node: str
    state: str
    well: bool
    conditions: list[ConditionDocument]
    log: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyDocument:
    """The reasons behind the state of a lab's nodes: ``labctl why``."""

    version: Literal[1] = 1
    kind: Literal["why"] = "why"
    lab: str
    nodes: list[ReasonDocument]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseDocument:
    """A part of a pipeline's job. `code`, `error`, `details` and `hint` are its failure's, null and empty without one.

    A phase is skipped when one before it failed, or when a signal ended the run.
    """

    name: Literal["up", "checks", "down"]
    state: Literal["passed", "failed", "skipped"]
    seconds: float
    code: str | None = None
    error: str | None = None
    details: list[str] = dataclasses.field(default_factory=list)
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineDocument:
    """What became of a job: ``labctl ci``. `checks` holds all checks of the lab file, those not tried as skipped.

    `left` names what could not be removed; `kept` says that the lab was left running on purpose. `because` is the one
    sentence that explains `exit_code`, empty when it is 0; `signal` is the number of the signal that ended the run.
    """

    version: Literal[1] = 1
    kind: Literal["pipeline"] = "pipeline"
    lab: str
    exit_code: int
    because: str
    seconds: float
    phases: list[PhaseDocument]
    checks: list[CheckDocument]
    left: list[str]
    kept: bool
    signal: int | None
