"""The same thing in several nodes at once, every line with the name of its node."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO

from labctl.access.session import run_quietly
from labctl.errors import ExitCode, LabctlError
from labctl.providers.session import STDERR, Session


class Prefixed:
    """Writes whole lines of several nodes to two streams, each behind its node's name. Safe in threads."""

    def __init__(self, nodes: Sequence[str], stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self._width = max((len(node) for node in nodes), default=0)
        self._streams = {False: stdout, True: stderr}
        self._partial: dict[tuple[str, int], bytes] = {}
        self._lock = threading.Lock()

    def write(self, node: str, stream: int, data: bytes) -> None:
        """Take a piece of output; what has no newline yet waits for the rest of its line."""
        with self._lock:
            *lines, rest = (self._partial.pop((node, stream), b"") + data).split(b"\n")
            if rest:
                self._partial[node, stream] = rest
            self._put(node, stream, lines)

    def end(self, node: str) -> None:
        """The node's output is over: a last line without newline gets one."""
        with self._lock:
            for key in [key for key in self._partial if key[0] == node]:
                self._put(node, key[1], [self._partial.pop(key)])

    def _put(self, node: str, stream: int, lines: Sequence[bytes]) -> None:
        if lines:
            prefix = f"{node:<{self._width}} | ".encode()
            out = self._streams[stream == STDERR]
            out.write(b"".join(prefix + line + b"\n" for line in lines))
            out.flush()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended in one node: its exit code, or labctl's own error there."""

    node: str
    code: int
    error: LabctlError | None = None


def run_in_all(
    openers: Mapping[str, Callable[[], Session]],
    output: Prefixed,
    *,
    timeout: float | None,
    stop: threading.Event,
) -> list[Outcome]:
    """Start one session per node at once and wait for all of them.

    A command that did not end in `timeout` seconds has the code 124, one that could not be started 125.
    """

    def run(node: str, open_session: Callable[[], Session]) -> Outcome:
        try:
            code = run_quietly(
                open_session(), lambda stream, data: output.write(node, stream, data), timeout=timeout, stop=stop
            )
        except LabctlError as error:
            return Outcome(node, int(ExitCode.CHILD_FAILED), error)
        finally:
            output.end(node)
        return Outcome(node, int(ExitCode.CHILD_TIMEOUT) if code is None else code)

    with ThreadPoolExecutor(max_workers=max(1, len(openers))) as pool:
        futures = [pool.submit(run, node, opener) for node, opener in openers.items()]
        try:
            return [future.result() for future in futures]
        except BaseException:
            stop.set()
            raise
