"""The executor: order, parallelism, failure that skips only what waits for it, interruption."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from labctl.engine import Interrupted, execute
from labctl.errors import LabctlError
from labctl.events import Event, StepEnded, StepStarted
from labctl.plan.model import BakedImage, Plan, Step, Verb


def step(verb: Verb, ref: str, *after: str) -> Step:
    return Step(verb, ref, "test", BakedImage("x"), frozenset(after))


def test_what_waits_comes_after_and_what_does_not_at_once() -> None:
    plan = Plan("l", (step(Verb.CREATE, "a"), step(Verb.CREATE, "b"), step(Verb.START, "a", "create a", "create b")))
    together = threading.Barrier(2, timeout=5)
    seen: list[str] = []

    def act(each: Step, line: Callable[[str], None]) -> None:
        if each.verb is Verb.CREATE:
            together.wait()  # breaks unless both are under way at the same time
        seen.append(each.id)

    outcome = execute(plan, act, lambda event: None)
    assert set(outcome.done) == {"create a", "create b", "start a"}
    assert seen[-1] == "start a"


def test_waiting_steps_take_no_worker() -> None:
    waits = tuple(step(Verb.VERIFY, f"n{number}") for number in range(10))
    plan = Plan("l", (*waits, step(Verb.CREATE, "last")))
    created = threading.Event()

    def act(each: Step, line: Callable[[str], None]) -> None:
        if each.verb is Verb.CREATE:
            created.set()
        else:
            assert created.wait(5)

    assert not execute(plan, act, lambda event: None, workers=1).failed


def test_at_most_so_many_work_at_once() -> None:
    plan = Plan("l", tuple(step(Verb.CREATE, f"n{number}") for number in range(12)))
    now, most, lock = 0, 0, threading.Lock()

    def act(each: Step, line: Callable[[str], None]) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1

    execute(plan, act, lambda event: None, workers=3)
    assert most == 3


def test_a_failure_skips_only_what_waits_for_it() -> None:
    plan = Plan(
        "l",
        (
            step(Verb.CREATE, "a"),
            step(Verb.START, "a", "create a"),
            step(Verb.VERIFY, "a", "start a"),
            step(Verb.CREATE, "b"),
        ),
    )
    events: list[Event] = []

    def act(each: Step, line: Callable[[str], None]) -> None:
        if each.id == "create a":
            raise LabctlError("no", details=["because"], hint="do this")

    outcome = execute(plan, act, events.append)
    assert outcome.done == ["create b"]
    assert outcome.skipped == {"start a": "create a", "verify a": "create a"}
    (failed,) = [event for event in events if isinstance(event, StepEnded) and event.outcome == "failed"]
    assert (failed.error, failed.details, failed.hint) == ("no", ("because",), "do this")
    assert "start a" not in {event.id for event in events if isinstance(event, StepStarted)}


def test_an_interrupt_lets_steps_take_back_what_is_half_done() -> None:
    plan = Plan("l", (step(Verb.BUILD, "slow"), step(Verb.CREATE, "never", "build slow")))
    taken_back = threading.Event()
    main = threading.main_thread()
    assert threading.current_thread() is main

    def act(each: Step, line: Callable[[str], None]) -> None:
        assert each.id == "build slow"
        try:
            import _thread

            _thread.interrupt_main()
            for _ in range(500):
                line("working")
                time.sleep(0.01)
        except Interrupted:
            taken_back.set()
            raise

    with pytest.raises(KeyboardInterrupt):
        execute(plan, act, lambda event: None)
    assert taken_back.is_set()
