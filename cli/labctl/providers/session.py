"""What a person or a check does in a node beyond `Shell`: commands with open streams, archives of files, logs.

A provider gives one `Access` per node. Everything in `labctl.access` (exec, ssh by exec, cp, logs) is written above
these two protocols, for containers and virtual machines alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Literal, Protocol

from labctl.errors import ExitCode, LabctlError

STDOUT = 1
STDERR = 2

PathKind = Literal["file", "directory", "other"]


class NotStartedError(LabctlError):
    """The node has no such command (exit code 127), or cannot execute it (126), as a shell would say it."""

    code = "LAB-RUN-001"

    def __init__(self, message: str, *, found: bool, details: Sequence[str] = ()) -> None:
        super().__init__(message, details=details)
        self.exit_code = ExitCode.CHILD_NOT_EXECUTABLE if found else ExitCode.CHILD_NOT_FOUND


@dataclass(frozen=True, slots=True)
class Found:
    """What a path of a node is, and its real name: `path` has no symlink as its last part."""

    kind: PathKind
    path: str


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a node wrote, newline included where there was one.

    `stream` is `STDOUT` or `STDERR`; `time` is the engine's time of it in RFC 3339 (UTC, nanoseconds), which sorts as
    text.
    """

    stream: int
    time: str
    data: bytes


class Session(Protocol):
    """A command that runs in a node, with its streams open. One thread may read while another writes."""

    def read(self) -> tuple[int, bytes] | None:
        """The next piece of output as (`STDOUT` or `STDERR`, bytes); None when the command has ended.

        Raises `NotStartedError` when the node has no such command, or it cannot be executed.
        """

    def write(self, data: bytes) -> None:
        """Give `data` to the command's standard input. Raises `BrokenPipeError` when it reads no more."""

    def close_input(self) -> None:
        """End the command's standard input; its output goes on."""

    def resize(self, *, columns: int, rows: int) -> None:
        """Tell the command's terminal its size; silently nothing when there is no terminal (any more)."""

    def signal(self, number: int) -> None:
        """Send a signal to the command and what it started in the node; nothing when it has ended."""

    def wait(self) -> int:
        """The command's exit code, once `read` has given None."""

    def close(self) -> None:
        """Let go of the streams. The command is not ended by this."""


class Access(Protocol):
    """The ways into one node. All but `open` work for a stopped node too, as far as its provider can."""

    def open(
        self,
        command: Sequence[str],
        *,
        user: str = "root",
        environment: Mapping[str, str] | None = None,
        directory: str | None = None,
        terminal: bool = False,
        stdin: bool = False,
    ) -> Session:
        """Start `command` (an argument vector). With `terminal` it has one of its own, and its streams are one."""

    def logs(self, *, follow: bool = False, tail: int | None = None, since: float | None = None) -> Iterator[LogLine]:
        """What the node's first process wrote, oldest first; with `follow` until the node stops.

        `tail` is a number of lines from the end, `since` seconds since the epoch.
        """

    def look(self, path: str) -> Found | None:
        """What the absolute `path` is, symlinks followed; None when it is not there."""

    def pack(self, path: str) -> IO[bytes]:
        """A tar stream of `path` (absolute, no symlink itself), symlinks in it kept; its members share a first part.

        Raises `NotFoundError`. The caller closes it; reading raises `LabctlError` when it breaks off.
        """

    def unpack(self, directory: str, tar: IO[bytes]) -> None:
        """Extract a tar stream below `directory`, which is there, with the numeric owners and modes of the stream."""
