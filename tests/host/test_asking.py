"""Questions are asked at once, each has a deadline, and none can take the others down."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from labctl.probe.finding import Finding, Probe, ask_all
from labctl.probe.host import Host, attempt
from labctl.probe.questions import able, questions
from tests.host.made_up import made_up_host


def answer(name: str, *, after: float = 0.0) -> Callable[[Host], Sequence[Finding]]:
    def ask(host: Host) -> Sequence[Finding]:
        time.sleep(after)
        return [Finding(name, name, "ok", "here")]

    return ask


def test_questions_are_asked_at_once_and_answered_in_order(tmp_path: Path) -> None:
    probes = [Probe(str(number), "", answer(str(number), after=0.3 - number / 20)) for number in range(5)]
    begin = time.monotonic()
    findings = ask_all(probes, made_up_host(tmp_path))
    assert [finding.id for finding in findings] == ["0", "1", "2", "3", "4"]
    assert time.monotonic() - begin < 1.0


def test_a_question_that_hangs_is_unknown_and_costs_its_deadline_only(tmp_path: Path) -> None:
    never = threading.Event()

    def hang(host: Host) -> Sequence[Finding]:
        never.wait()
        return []

    begin = time.monotonic()
    findings = ask_all(
        [Probe("slow", "slow", hang, deadline=0.3), Probe("quick", "quick", answer("quick"))], made_up_host(tmp_path)
    )
    never.set()
    assert [(finding.id, finding.status) for finding in findings] == [("slow", "unknown"), ("quick", "ok")]
    assert findings[0].evidence == "no answer within 0.3 s"
    assert time.monotonic() - begin < 2


def test_a_question_that_breaks_is_a_finding(tmp_path: Path) -> None:
    def broken(host: Host) -> Sequence[Finding]:
        raise ZeroDivisionError("never foreseen")

    findings = ask_all([Probe("a", "A", broken), Probe("b", "B", answer("b"))], made_up_host(tmp_path))
    assert [finding.status for finding in findings] == ["unknown", "ok"]
    assert "never foreseen" in findings[0].evidence


def test_without_an_answer_to_an_essential_question_nothing_is_promised(tmp_path: Path) -> None:
    def broken(host: Host) -> Sequence[Finding]:
        raise ImportError("cannot import name")

    probe = Probe("engine", "engine", broken, essential=True)
    assert not able(ask_all([probe], made_up_host(tmp_path)))
    assert next(each for each in questions(["docker"], boxes=True) if each.id == "engine").essential


def test_a_command_that_hangs_goes_with_its_children(tmp_path: Path) -> None:
    mark = tmp_path / "alive"
    begin = time.monotonic()
    tried = attempt(["sh", "-c", f"(sleep 1.5; touch {mark}) & wait"], 0.3)
    assert tried.code is None
    assert time.monotonic() - begin < 1.2
    time.sleep(1.8)
    assert not mark.exists()


def test_a_command_that_is_not_there() -> None:
    assert attempt(["labctl-no-such-program"], 1).code is None


def test_what_a_command_says() -> None:
    tried = attempt(["sh", "-c", "echo out; echo err >&2; exit 3"], 5)
    assert tried.code == 3
    assert sorted(tried.output.split()) == ["err", "out"]
