"""The checks of a lab, tried on the lab as it runs, with their results as a document."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from labctl.errors import ChecksFailedError, NotFoundError

if TYPE_CHECKING:
    from labctl.api import RunningLab
    from labctl.checks import CheckResult
    from labctl.documents.verdicts import ChecksDocument
    from labctl.model.lab import Check, Lab


def chosen(lab: Lab, names: Sequence[str]) -> list[Check]:
    """The checks of those names, all when none is given. Raises `NotFoundError` with the nearest name."""
    for each in names:
        if each not in lab.checks:
            near = get_close_matches(each, lab.checks, n=1)
            raise NotFoundError(
                f"lab {lab.name} has no check {each}",
                details=[f"checks: {', '.join(lab.checks) or 'none'}"],
                hint=f"did you mean {near[0]}?" if near else None,
                code="LAB-FIND-003",
            )
    return [lab.checks[each] for each in dict.fromkeys(names)] if names else list(lab.checks.values())


def try_all(running: RunningLab, checks: Sequence[Check], *, deadline: float | None = None) -> list[CheckResult]:
    """Try the checks, all at once, until `deadline` (of the monotonic clock)."""
    from labctl.checks import run_checks
    from labctl.world import LabWorld

    return run_checks(checks, LabWorld(running), deadline=deadline)


def document(lab: str, results: Sequence[CheckResult]) -> ChecksDocument:
    """The results as data."""
    from labctl.documents.verdicts import CheckDocument, ChecksDocument

    return ChecksDocument(
        lab=lab,
        passed=all(result.state != "failed" for result in results),
        checks=[
            CheckDocument(
                name=result.name,
                type=result.kind,
                subject=result.subject,
                node=result.node,
                state=result.state,
                attempts=result.attempts,
                seconds=round(result.seconds, 3),
                output=result.output,
            )
            for result in results
        ],
    )


def failure(results: Sequence[CheckResult]) -> ChecksFailedError | None:
    """What the failed checks come to, with what each of them said last; None when all hold."""
    failed = [result for result in results if result.state == "failed"]
    if not failed:
        return None
    return ChecksFailedError(
        f"{len(failed)} of {len(results)} checks failed",
        details=[
            line
            for result in failed
            for line in (
                f"{result.name}: {result.kind} {result.subject} from {result.node or 'this host'}, {_tries(result)}:",
                *(f"  {said}" for said in result.output.splitlines()[-10:] or ["nothing"]),
            )
        ],
        hint=_what_to_do(failed),
    )


def _tries(result: CheckResult) -> str:
    if result.attempts == 0:
        return "not tried"
    tries = f"{result.attempts} tr{'y' if result.attempts == 1 else 'ies'}"
    return f"{tries} in {result.seconds:.1f} s; the last one said"


def _what_to_do(failed: Sequence[CheckResult]) -> str:
    hints = {result.hint for result in failed if result.hint is not None}
    if len(hints) > 1:
        return "labctl start"  # nodes that do not run are all that is known before the first try
    return hints.pop() if hints else f"once more, it alone: labctl test {failed[0].name}"
