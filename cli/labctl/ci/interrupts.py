"""Signals and the deadline of a job, which end its work and never its cleaning up."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

_WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


class Stopped(BaseException):
    """The work is to end now. It is no `Exception`: nothing that handles errors swallows it."""


class Interrupts:
    """Inside ``with``: a signal or the deadline raises `Stopped` in `work`, and is only noted elsewhere.

    Signals that whoever started us chose to ignore (``nohup``) stay ignored. Works in the main thread alone.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        """The first signal that came."""
        self.late = False
        """The deadline came before the work was done."""
        self._working = self._cleaning = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in _WATCHED:
            if number == signal.SIGALRM or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._arrived)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @property
    def stopped(self) -> bool:
        """Whether the work was ended."""
        return self.late or self.signal is not None

    @contextmanager
    def work(self, end: float) -> Iterator[None]:
        """What a signal or `end` (monotonic seconds) may end. Raises `Stopped`, also for what came before."""
        if self.stopped:
            raise Stopped
        self._working = True
        signal.setitimer(signal.ITIMER_REAL, max(end - time.monotonic(), 0.001))
        try:
            yield
        finally:
            self._working = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    @contextmanager
    def cleaning(self, end: float) -> Iterator[None]:
        """What only `end` (monotonic seconds) may end: signals are noted. Raises `Stopped`."""
        self._cleaning = True
        signal.setitimer(signal.ITIMER_REAL, max(end - time.monotonic(), 0.001))
        try:
            yield
        finally:
            self._cleaning = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGALRM:
            self.late = self.late or self._working
            if self._cleaning:
                self._cleaning = False
                raise Stopped
        elif self.signal is None:
            self.signal = number
        if self._working:
            self._working = False
            raise Stopped
