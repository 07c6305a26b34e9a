"""labctl at a terminal of a test's own: what it shows is read, keys are pressed, and the window can be closed."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from types import TracebackType
from typing import Self

from tests.scenarios.project import LABCTL, Project

PATIENCE = 60.0


class Terminal:
    """Inside ``with``: a labctl that runs in the project's directory, the leader of a session with this terminal."""

    def __init__(self, project: Project, *arguments: str) -> None:
        self.shown = ""
        self._open, self._ended = True, False
        self.pid, self._end = pty.fork()
        if self.pid == 0:
            os.chdir(project.directory)
            os.execve(LABCTL, [LABCTL, *arguments], {**os.environ, "TERM": "xterm"})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if not self._ended:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def wait_for(self, words: str) -> None:
        """Read what it shows until `words` are there."""
        deadline = time.monotonic() + PATIENCE
        while words not in self.shown:
            assert time.monotonic() < deadline, self.shown
            self._read()

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._end, keys.encode())

    def close(self) -> None:
        """Close the window."""
        if self._open:
            os.close(self._end)
            self._open = False

    def wait(self) -> int:
        """The exit code of labctl, which has to end."""
        deadline = time.monotonic() + PATIENCE
        while (ended := os.waitpid(self.pid, os.WNOHANG))[0] == 0:
            assert time.monotonic() < deadline, self.shown
            self._read()
        self._ended = True
        return os.waitstatus_to_exitcode(ended[1])

    def _read(self) -> None:
        if not self._open:
            time.sleep(0.1)
        elif select.select([self._end], [], [], 0.1)[0]:
            try:
                self.shown += os.read(self._end, 65536).decode(errors="replace")
            except OSError:  # nobody has the other end any more
                time.sleep(0.1)
