"""Runs a plan: every step as soon as what it waits for is done, in parallel, deciding nothing.

A failed step skips only the steps that wait for it. Steps that only wait (verify) do not take a worker away from
steps that make the engine work.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from heapq import heappop, heappush
from itertools import count

from labctl.errors import LabctlError
from labctl.events import Emit, StepEnded, StepOutput, StepStarted
from labctl.plan.model import Plan, Step, Verb

WORKERS = 2 * max(2, len(os.sched_getaffinity(0)))
"""Steps that keep the engine busy at once: some of them wait for its locks, so twice as many as there are processors.

More of them get in one another's way: with eight instead of four on two processors, 30 nodes took a third longer.
"""

GRACE = 8.0
"""Seconds that an interrupted run gives to steps under way."""

BUILD_GRACE = 2.0
"""Seconds that it gives to builds: a silent one does not notice, and the engine ends it when nobody listens."""

Action = Callable[[Step, Callable[[str], None]], None]
"""Carries out one step; the second argument takes lines of output."""


FIRST = {Verb.START: 0}
"""Who comes first when several steps could: what was made is started while the next is made, not after the last."""


class Interrupted(Exception):
    """Raised inside a step whose run was interrupted."""


@dataclass
class Outcome:
    """What became of a plan: the ids done, the errors of those that failed, and what was skipped because of which."""

    done: list[str] = field(default_factory=list)
    failed: dict[str, Exception] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def execute(
    plan: Plan,
    action: Action,
    emit: Emit,
    *,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.time,
    workers: int = WORKERS,
) -> Outcome:
    """Run all steps of `plan` and return what became of them; errors of steps are in the outcome, not raised.

    An interrupt of the main thread begins no new step, tells those under way to end (`stop` is set, which they see at
    their next line of output or turn of waiting), gives them `GRACE` seconds to take back what is half done, and is
    then passed on.
    """
    run = _Run(plan, action, emit, clock, _Slots(workers), stop or threading.Event())
    return run.all()


class _Run:
    def __init__(
        self,
        plan: Plan,
        action: Action,
        emit: Emit,
        clock: Callable[[], float],
        slots: _Slots,
        stop: threading.Event,
    ) -> None:
        self.steps = {step.id: step for step in plan.steps}
        self.action, self.emit, self.clock, self.slots = action, emit, clock, slots
        self.outcome = Outcome()
        self.finished: queue.SimpleQueue[tuple[Step, float, BaseException | None]] = queue.SimpleQueue()
        self.stopping = stop
        self.under_way: dict[str, Verb] = {}

    def all(self) -> Outcome:
        order = TopologicalSorter({step.id: step.after for step in self.steps.values()})
        order.prepare()
        try:
            while order.is_active():
                for name in order.get_ready():
                    if not self.begin(self.steps[name]):
                        order.done(name)
                if self.under_way:
                    step, seconds, error = self.finished.get()
                    del self.under_way[step.id]
                    self.end(step, seconds, error)
                    order.done(step.id)
        except BaseException:
            self.stopping.set()
            self.drain()
            raise
        return self.outcome

    def drain(self) -> None:
        """Wait for the steps under way, at most `GRACE` seconds, and for builds at most `BUILD_GRACE`."""
        began = time.monotonic()
        while self.under_way:
            only_builds = all(verb is Verb.BUILD for verb in self.under_way.values())
            left = began + (BUILD_GRACE if only_builds else GRACE) - time.monotonic()
            if left <= 0:
                return
            try:
                step, _, _ = self.finished.get(timeout=left)
            except queue.Empty:
                return
            self.under_way.pop(step.id, None)

    def line(self, step: Step, text: str) -> None:
        if self.stopping.is_set():
            raise Interrupted
        self.emit(StepOutput(step.id, step.ref, text, self.clock()))

    def begin(self, step: Step) -> bool:
        """Start the step in a thread of its own, unless something that it waits for did not succeed."""
        cause = next((each for each in sorted(step.after) if each not in self.outcome.done), None)
        if cause is not None:
            root = self.outcome.skipped.get(cause, cause)
            self.outcome.skipped[step.id] = root
            self.emit(
                StepEnded(step.id, step.verb, step.ref, "skipped", 0.0, self.clock(), error=f"{root} did not succeed")
            )
            return False
        self.under_way[step.id] = step.verb  # before the start: an interrupt may come in the midst of it
        threading.Thread(target=self.work, args=(step,), name=step.id, daemon=True).start()
        return True

    def work(self, step: Step) -> None:
        error: BaseException | None = None
        start = time.monotonic()
        holds_slot = step.verb is not Verb.VERIFY and self.slots.take(FIRST.get(step.verb, 1), self.stopping)
        try:
            if self.stopping.is_set():
                return
            start = time.monotonic()
            self.emit(StepStarted(step.id, step.verb, step.ref, self.clock()))
            self.action(step, lambda text: self.line(step, text))
        except BaseException as caught:  # noqa: BLE001 - handed to the main thread, which decides
            error = caught
        finally:
            if holds_slot:
                self.slots.give_back()
            self.finished.put((step, time.monotonic() - start, error))

    def end(self, step: Step, seconds: float, error: BaseException | None) -> None:
        if error is None:
            self.outcome.done.append(step.id)
            self.emit(StepEnded(step.id, step.verb, step.ref, "done", seconds, self.clock()))
            return
        if not isinstance(error, Exception):
            raise error
        self.outcome.failed[step.id] = error
        details = error.details if isinstance(error, LabctlError) else ()
        hint = error.hint if isinstance(error, LabctlError) else None
        self.emit(
            StepEnded(step.id, step.verb, step.ref, "failed", seconds, self.clock(), str(error), tuple(details), hint)
        )


class _Slots:
    """A number of places; who waits for one gets it by rank, the lowest first, and then by turn."""

    def __init__(self, number: int) -> None:
        self.free = number
        self.waiting: list[tuple[int, int, threading.Event]] = []
        self.turns = count()
        self.lock = threading.Lock()

    def take(self, rank: int, stopping: threading.Event) -> bool:
        """Wait for a place; False when the run was interrupted meanwhile: a silent build may keep its place long."""
        with self.lock:
            if self.free:
                self.free -= 1
                return True
            called = threading.Event()
            heappush(self.waiting, (rank, next(self.turns), called))
        while not called.wait(0.2):
            if stopping.is_set():
                return False  # its place in the queue no longer matters: no step begins any more
        return True

    def give_back(self) -> None:
        """Pass the place on to the first who waits."""
        with self.lock:
            if self.waiting:
                heappop(self.waiting)[-1].set()
            else:
                self.free += 1
