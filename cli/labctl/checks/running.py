"""Checks are tried until they hold or their time is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from labctl.checks.attempt import Attempt, Finding, Kind, World, join
from labctl.checks.desktop import desktop
from labctl.checks.dns import dns
from labctl.checks.http import http
from labctl.checks.mount import mount
from labctl.checks.run import run
from labctl.checks.tcp import tcp
from labctl.errors import DeadlineError, LabctlError
from labctl.model.lab import Check

State = Literal["passed", "failed", "skipped"]

KINDS: Mapping[str, Kind] = MappingProxyType(
    {"tcp": tcp, "http": http, "run": run, "dns": dns, "mount": mount, "desktop": desktop}
)

_OUTPUT = 4000
"""Characters of a probe's output that are kept, from its end."""

_SLACK = 5.0
"""Seconds beyond its own timeout after which an attempt is given up from outside."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How a check ended. `output` is what its last attempt said; `seconds` is how long it took in all.

    `hint` is what to do first, when that is known.
    """

    name: str
    kind: str
    subject: str
    node: str | None
    state: State
    attempts: int
    seconds: float
    output: str
    hint: str | None = None


def run_checks(
    checks: Sequence[Check],
    world: World,
    *,
    deadline: float | None = None,
    on_result: Callable[[CheckResult], None] = lambda result: None,
) -> list[CheckResult]:
    """Run all checks at once and return their results in the same order.

    `deadline` (of the monotonic clock) ends those that are not over by then. `on_result` is called as each ends, in
    its own thread.
    """
    stop = threading.Event()

    def one(check: Check) -> CheckResult:
        result = run_check(check, world, deadline=deadline, stop=stop)
        on_result(result)
        return result

    if not checks:
        return []
    pool = ThreadPoolExecutor(max_workers=min(len(checks), 32))
    try:
        return list(pool.map(one, checks))
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)


def run_check(
    check: Check, world: World, *, deadline: float | None = None, stop: threading.Event | None = None
) -> CheckResult:
    """Try a check until it holds, its retries are used up, `deadline` is over or `stop` set. Raises no `LabctlError`.

    A check in a group must hold in every copy. One whose nodes do not run is not tried.
    """
    waiting = stop or threading.Event()
    began = time.monotonic()

    def result(state: State, attempts: int, output: str, hint: str | None = None) -> CheckResult:
        took = time.monotonic() - began
        subject = check.subject if isinstance(check.subject, str) else " ".join(check.subject)
        said = output.strip()[-_OUTPUT:]
        return CheckResult(check.name, check.kind, subject, check.node, state, attempts, took, said, hint)

    kind = KINDS.get(check.kind)
    if kind is None:
        return result("skipped", 0, f"checks of kind {check.kind} are not executed by this version")
    try:
        nodes: Sequence[str | None] = [None] if check.node is None else list(world.members(check.node))
        if check.node is not None:
            world.require(check.node, every=True)
        if target := _target(check):
            world.require(target, every=False)
    except LabctlError as error:
        return result("failed", 0, error.message, error.hint)
    last = "no attempt was made before the deadline"
    for count in range(1, max(check.retries, 1) + 1):
        left = check.timeout if deadline is None else min(check.timeout, deadline - time.monotonic())
        if left <= 0:
            return result("failed", count - 1, join(last, "the deadline of the whole is over"))
        findings = {node: _attempt(kind, Attempt(check, node, world, left)) for node in nodes}
        last = _report(findings)
        if all(finding.holds for finding in findings.values()):
            return result("passed", count, last)
        if count < max(check.retries, 1):
            pause = check.interval if deadline is None else min(check.interval, max(deadline - time.monotonic(), 0.0))
            if waiting.wait(pause):
                break
    return result("failed", max(check.retries, 1), last)


def _target(check: Check) -> str | None:
    """The name of the machine that a check of the kinds tcp and http is about."""
    from urllib.parse import urlsplit

    match check.kind:
        case "tcp":
            return str(check.subject).rpartition(":")[0]
        case "http":
            return urlsplit(str(check.subject)).hostname
        case _:
            return None


def _attempt(kind: Kind, attempt: Attempt) -> Finding:
    """One attempt, given up from outside when it does not keep to its own time."""
    box: list[Finding] = []

    def work() -> None:
        try:
            box.append(kind(attempt))
        except DeadlineError:
            box.append(Finding(holds=False, output=f"no end within {attempt.timeout:g} s"))
        except LabctlError as error:
            box.append(Finding(holds=False, output=join(error.message, *error.details)))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(attempt.timeout + _SLACK)
    return box[0] if box else Finding(holds=False, output=f"no answer within {attempt.timeout:g} s")


def _report(findings: Mapping[str | None, Finding]) -> str:
    if len(findings) == 1:
        return next(iter(findings.values())).output
    failed = {node: finding for node, finding in findings.items() if not finding.holds}
    return "\n".join(f"{node}: {finding.output}" for node, finding in (failed or findings).items())
