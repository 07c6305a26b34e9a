"""Every error that labctl raises on purpose, and the exit code of each.

An error has a message (a sentence without full stop), the evidence (`details`), one `hint` (the next thing to do) and
an exit code. Nothing else may reach a user: `app.main` turns what is not a `LabctlError` into an internal error with
the place of its log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What a process that calls labctl can rely on."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INVALID = 3
    HOST = 4
    TIMEOUT = 5
    CHECKS = 6
    PARTLY = 7
    BUSY = 8
    NOT_FOUND = 9
    CHANGES = 10
    CHILD_TIMEOUT = 124
    CHILD_FAILED = 125
    CHILD_NOT_EXECUTABLE = 126
    CHILD_NOT_FOUND = 127
    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143


class LabctlError(Exception):
    """The root of labctl's errors: exit code 1 unless a subclass says otherwise."""

    exit_code: ExitCode = ExitCode.FAILED
    code: str = "LAB-GEN-001"
    """What it is called for good; `codes.CODES` explains it."""

    def __init__(
        self, message: str, *, details: Sequence[str] = (), hint: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.message = message
        self.details = tuple(details)
        self.hint = hint


class UsageError(LabctlError):
    """The command line asks for something that cannot be, or a confirmation was refused."""

    exit_code = ExitCode.USAGE
    code = "LAB-USE-001"


class HostError(LabctlError):
    """This host cannot do what the lab needs: engine missing, no permission, disk full."""

    exit_code = ExitCode.HOST
    code = "LAB-HOST-001"


class DeadlineError(LabctlError):
    """Something was waited for and did not come in time; the message names it."""

    exit_code = ExitCode.TIMEOUT
    code = "LAB-WAIT-001"


class ChecksFailedError(LabctlError):
    """At least one check of the lab does not hold."""

    exit_code = ExitCode.CHECKS
    code = "LAB-CHECK-001"


class PartlyUpError(LabctlError):
    """Some nodes could not be brought up; the others run."""

    exit_code = ExitCode.PARTLY
    code = "LAB-UP-001"


class BusyError(LabctlError):
    """Another labctl works on the same lab."""

    exit_code = ExitCode.BUSY
    code = "LAB-BUSY-001"


class NotFoundError(LabctlError):
    """No such lab, node, template or box."""

    exit_code = ExitCode.NOT_FOUND
    code = "LAB-FIND-001"


class ConflictError(HostError):
    """A subnet, port or name is taken by somebody else.

    `taken` names what was refused, e.g. ``"port 127.0.0.1:20022"`` or ``"subnet 10.201.4.0/24"``; `retry` is true when
    labctl had made the choice itself, so that observing and planning again can make another.
    """

    code = "LAB-NET-001"

    def __init__(
        self,
        message: str,
        *,
        taken: str,
        retry: bool,
        details: Sequence[str] = (),
        hint: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message, details=details, hint=hint, code=code)
        self.taken = taken
        self.retry = retry


KeyPath = tuple[str | int, ...]
"""A place in a lab file: the keys and list indexes from the root to a value, e.g. ``("nodes", "web", "ports", 0)``."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a lab file.

    `path` is the value (or, with `at_key`, its key) that the message is about; whoever knows the text turns it into
    file, line and column. `hint` is what to do, when that does not follow from the message.
    """

    path: KeyPath
    message: str
    hint: str | None = None
    at_key: bool = False


class InvalidLabError(LabctlError):
    """A lab file that does not say what a lab may say: all its problems, ready to print with line and caret."""

    exit_code = ExitCode.INVALID
    code = "LAB-FILE-001"

    def __init__(self, rendered: Sequence[str], *, hint: str | None = None) -> None:
        count = len(rendered)
        super().__init__(f"{count} problem{'s' * (count != 1)} in the lab file", details=rendered, hint=hint)
