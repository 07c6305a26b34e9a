"""One exit code for a whole job: of all that went wrong, what a pipeline has to know first."""

from __future__ import annotations

from collections.abc import Collection

from labctl.errors import ExitCode

ORDER = (
    ExitCode.INVALID,
    ExitCode.HOST,
    ExitCode.BUSY,
    ExitCode.PARTLY,
    ExitCode.TIMEOUT,
    ExitCode.CHECKS,
)
"""Behind leftovers and signals: the earlier of two wins."""


def verdict(codes: Collection[int], *, left: bool, signal: int | None) -> int:
    """The exit code of a job whose parts ended with `codes`; `left`: something of the lab is still on the host."""
    if left:
        return int(ExitCode.FAILED)
    if signal is not None:
        return 128 + signal
    wrong = [code for code in codes if code]
    return next((int(code) for code in ORDER if code in wrong), wrong[0] if wrong else 0)


def of_up(code: int) -> int:
    """The exit code of an `up` as a job tells it: 1 is kept for what is left behind."""
    return int(ExitCode.PARTLY) if code == ExitCode.FAILED else code
