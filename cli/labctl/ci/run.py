"""One job from its beginning to its end: up, checks, evidence, down. Whatever happens, the end comes, and in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from labctl import api
from labctl.ci.evidence import Report
from labctl.ci.interrupts import Interrupts, Stopped
from labctl.ci.verdict import of_up, verdict
from labctl.documents.verdicts import CheckDocument, PhaseDocument, PipelineDocument
from labctl.errors import BusyError, DeadlineError, ExitCode, LabctlError
from labctl.events import Emit, Notice
from labctl.lab import LabDirectory, home

if TYPE_CHECKING:
    from labctl.model.lab import Check, Lab
    from labctl.plan.model import Observed

PhaseName = Literal["up", "checks", "down"]

RESERVE = 60.0
"""Seconds of the whole, and at most a fifth of it, that are kept for evidence and for taking the lab down."""

OVERTIME = 60.0
"""Seconds beyond the deadline after which even taking down is given up: the engine does not answer any more."""

LONGEST_PAUSE = 86400.0
"""Seconds for which a lab that failed waits for the person who looks at it."""

LEAST_TTL = 3600.0
"""Seconds after which `gc` may take what a killed job left, when neither file nor command line says so."""

ROUNDS = 4
"""How often what is still there is removed: the engine may finish what an ended `up` had asked of it."""


@dataclass(frozen=True)
class Wishes:
    """How a job is to run. `pause` is asked before a lab that failed is taken down; it returns when it may be.

    `take_over`: a lab of that name that is there already was left by an earlier job, and is removed first.
    """

    timeout: float
    ttl: float | None = None
    keep_on_failure: bool = False
    pause: Callable[[], None] | None = None
    take_over: bool = False


@dataclass
class _Phase:
    name: PhaseName
    seconds: float = 0.0
    state: Literal["passed", "failed", "skipped"] = "skipped"
    error: LabctlError | None = None
    code: int = 0

    def document(self) -> PhaseDocument:
        error = self.error
        if error is None:
            return PhaseDocument(name=self.name, state=self.state, seconds=round(self.seconds, 3))
        return PhaseDocument(
            name=self.name,
            state=self.state,
            seconds=round(self.seconds, 3),
            code=error.code,
            error=error.message,
            details=list(error.details),
            hint=error.hint,
        )


@dataclass
class Job:
    """A job on one lab. `emit` gets the events of up and down."""

    lab: Lab
    files: Sequence[Path]
    wishes: Wishes
    report: Report
    emit: Emit
    phases: dict[PhaseName, _Phase] = field(default_factory=dict)
    checks: list[CheckDocument] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    kept: bool = False

    def run(self) -> PipelineDocument:
        """Run it and return what became of it, also when another job or a person has that lab."""
        self.phases = {name: _Phase(name) for name in ("up", "checks", "down")}
        began = time.monotonic()
        end = began + self.wishes.timeout
        enough = end - min(RESERVE, self.wishes.timeout / 5)
        with Interrupts() as interrupts:
            try:
                with _alone(self.lab.name):
                    self._run(interrupts, enough, end)
            except BusyError as error:
                self._fail("up", error)
            return self._document(began, interrupts)

    def _run(self, interrupts: Interrupts, enough: float, end: float) -> None:
        try:
            with interrupts.work(enough):
                before = self._make_room()
        except Stopped:
            self._ended_early(interrupts)
            return
        try:
            with interrupts.work(enough):
                self._up(enough)
                if self.phases["up"].state == "passed":
                    self._check(enough)
        except Stopped:
            self._ended_early(interrupts)
        failed = any(phase.state == "failed" for phase in self.phases.values())
        with suppress(LabctlError, OSError, Stopped), interrupts.cleaning(time.monotonic() + OVERTIME):
            running = api.open_lab(self.lab.name)
            self.report.collect(running, self.lab, seconds=3.0 if interrupts.signal else 20.0)
        if failed and self.wishes.pause is not None and not interrupts.stopped:
            with suppress(Stopped), interrupts.work(time.monotonic() + LONGEST_PAUSE):
                self.wishes.pause()
        if failed and self.wishes.keep_on_failure and interrupts.signal is None:
            self.kept = True
        else:
            self._down(interrupts, before, max(end, time.monotonic()) + OVERTIME)

    def _fail(self, name: PhaseName, error: LabctlError) -> None:
        phase = self.phases[name]
        phase.state, phase.error, phase.code = "failed", error, int(error.exit_code)

    # ------------------------------------------------------------ phases

    @contextmanager
    def _phase(self, name: PhaseName) -> Iterator[_Phase]:
        phase = self.phases[name]
        began = time.monotonic()
        try:
            yield phase
            if phase.state == "skipped":
                phase.state = "passed"
        except LabctlError as error:
            self._fail(name, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the lab is taken down and the report written
            self._fail(name, LabctlError(f"internal error: {type(error).__name__}: {error}", code="LAB-CI-002"))
        finally:
            phase.seconds = time.monotonic() - began

    def _up(self, end: float) -> None:
        from labctl import lifecycle

        with self._phase("up") as phase:
            result = lifecycle.up(
                self.lab,
                files=self.files,
                emit=self.emit,
                confirm=lambda plan: None,
                timeout=max(end - time.monotonic() - 1.0, 1.0),
                # A job that is killed together with its host leaves a lab that ends by itself.
                ttl=self.wishes.ttl or (None if self.lab.ttl else max(self.wishes.timeout * 2, LEAST_TTL)),
            )
            if error := result.error():
                raise error
        phase.code = of_up(phase.code)

    def _check(self, end: float) -> None:
        from labctl import trial

        with self._phase("checks"):
            running = api.open_lab(self.lab.name)
            results = trial.try_all(running, list(self.lab.checks.values()), deadline=end - 0.5)
            self.checks = trial.document(self.lab.name, results).checks
            if error := trial.failure(results):
                error.hint = "look at the lab while it is there: labctl ci --keep-on-failure, then labctl test"
                raise error

    def _ended_early(self, interrupts: Interrupts) -> None:
        """Say in the phase that was under way what ended it."""
        phase = next((each for each in self.phases.values() if each.state == "skipped"), self.phases["checks"])
        if interrupts.signal is not None:
            phase.error = LabctlError(
                f"ended by signal {interrupts.signal} while the lab was {_doing(phase.name)}", code="LAB-CI-001"
            )
            phase.code = 128 + interrupts.signal
        else:
            phase.error = DeadlineError(
                f"the lab was still {_doing(phase.name)} when its time was over",
                details=[self._last_step()],
                hint="give the job more time with --timeout, or see what it waited for in the report",
                code="LAB-WAIT-004",
            )
            phase.code = int(ExitCode.TIMEOUT)
        phase.state = "failed"

    def _last_step(self) -> str:
        started = {each["id"] for each in self.report.events if each["type"] == "step-started"}
        over = {each["id"] for each in self.report.events if each["type"] == "step-ended"}
        return f"under way: {', '.join(sorted(started - over)) or 'nothing'}"

    # ------------------------------------------------------------ room, and leaving it as it was

    def _make_room(self) -> frozenset[str]:
        """Take away what an earlier job left, or refuse; the volumes that were there before and so stay."""
        from labctl import lifecycle

        try:
            observed = api.provider().observe(self.lab.name)
        except LabctlError:
            return frozenset()  # `up` meets the same error, and tells it
        if observed.nodes or observed.networks:
            if not self.wishes.take_over:
                raise BusyError(
                    f"lab {self.lab.name} is up already, and a job takes its lab down at the end",
                    hint=f"take it down first (labctl down -n {self.lab.name}), or run the job with --name auto",
                    code="LAB-BUSY-002",
                )
            self.emit(Notice(f"lab {self.lab.name} was left by an earlier job: it is removed first", "warning"))
            lifecycle.down(self.lab.name, volumes=False, emit=self.emit, missing_ok=True)
            observed = api.provider().observe(self.lab.name)
        return frozenset(observed.volumes)

    def _down(self, interrupts: Interrupts, before: frozenset[str], end: float) -> None:
        with self._phase("down"):
            try:
                with interrupts.cleaning(end):
                    self._remove(before, end)
            except Stopped:
                self.left = self.left or [f"what there is of {self.lab.name}: the engine did not end in time"]
        if self.left:
            told = self.phases["down"].error
            self._fail(
                "down",
                LabctlError(
                    f"not all of the lab is gone: {', '.join(self.left)}",
                    details=[told.message] if told else [],
                    hint=f"labctl down -n {self.lab.name} --volumes; labctl gc removes what is left of it later",
                    code="LAB-LAB-006",
                ),
            )

    def _remove(self, before: frozenset[str], end: float) -> None:
        """Take the lab down until nothing of it is there; volumes of `before` stay."""
        from labctl import lifecycle

        problem: LabctlError | None = None
        for attempt in range(ROUNDS):
            try:
                outcome, _ = lifecycle.down(
                    self.lab.name, volumes=not before, emit=self.emit, missing_ok=True, retained=lambda: before
                )
                if before:
                    self._remove_volumes(before)
                lifecycle.raise_for(outcome)
                problem = None
            except LabctlError as error:
                problem = error
            try:
                observed = api.provider().observe(self.lab.name)
            except LabctlError as error:
                if not any(each["type"] == "step-started" for each in self.report.events):
                    return  # the engine was never reached: nothing was made
                self.left = [f"what there is of {self.lab.name}: the engine does not tell"]
                problem = error
            else:
                self.left = _things(observed, before)
                if not self.left:
                    return
            if time.monotonic() > end:
                break
            time.sleep(0.5 * (attempt + 1))
        if problem is not None:
            raise problem

    def _remove_volumes(self, before: frozenset[str]) -> None:
        provider = api.provider()
        for volume in provider.observe(self.lab.name).volumes.values():
            if volume.name not in before:
                provider.remove(volume)

    # ------------------------------------------------------------ the result

    def _document(self, began: float, interrupts: Interrupts) -> PipelineDocument:
        tried = {each.name for each in self.checks}
        checks = [*self.checks, *(_untried(each) for each in self.lab.checks.values() if each.name not in tried)]
        code = verdict([phase.code for phase in self.phases.values()], left=bool(self.left), signal=interrupts.signal)
        return PipelineDocument(
            lab=self.lab.name,
            exit_code=code,
            because=self._because(code, interrupts),
            seconds=round(time.monotonic() - began, 3),
            phases=[phase.document() for phase in self.phases.values()],
            checks=checks,
            left=self.left,
            kept=self.kept,
            signal=interrupts.signal,
        )

    def _because(self, code: int, interrupts: Interrupts) -> str:
        if code == 0:
            return ""
        if self.left:
            return f"not all of the lab is gone: {', '.join(self.left)}"
        if interrupts.signal is not None:
            return f"ended by signal {interrupts.signal}"
        wrong = [phase for phase in self.phases.values() if phase.error is not None]
        first = next((phase for phase in wrong if phase.code == code), wrong[0])
        assert first.error is not None
        return first.error.message


def refused(name: str, error: LabctlError) -> PipelineDocument:
    """The document of a job that never began, for example because the lab file is wrong."""
    phase = _Phase("up", state="failed", error=error, code=int(error.exit_code))
    return PipelineDocument(
        lab=name,
        exit_code=phase.code,
        because=error.message,
        seconds=0.0,
        phases=[phase.document(), _Phase("checks").document(), _Phase("down").document()],
        checks=[],
        left=[],
        kept=False,
        signal=None,
    )


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Keep other jobs from the same lab for as long as this one runs: its own steps hold the lab only in between."""
    with ExitStack() as held:
        try:
            held.enter_context(LabDirectory(home(), f"{name}/job").lock())
        except BusyError as error:
            raise BusyError(
                f"another job works on lab {name}",
                details=error.details,
                hint="wait until it is done, or give every job a lab of its own with --name auto",
                code="LAB-BUSY-002",
            ) from None
        yield


def _things(observed: Observed, before: frozenset[str]) -> list[str]:
    return [
        *(f"node {name}" for name in observed.nodes),
        *(f"network {name}" for name in observed.networks),
        *(f"volume {name}" for name in observed.volumes if name not in before),
        *(["its lease"] if observed.expires is not None else []),
    ]


def _untried(check: Check) -> CheckDocument:
    subject = check.subject if isinstance(check.subject, str) else " ".join(check.subject)
    return CheckDocument(
        name=check.name,
        type=check.kind,
        subject=subject,
        node=check.node,
        state="skipped",
        attempts=0,
        seconds=0.0,
        output="not tried: the lab did not come up in time",
    )


def _doing(phase: PhaseName) -> str:
    return {"up": "coming up", "checks": "being checked", "down": "going down"}[phase]
