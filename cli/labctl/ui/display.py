"""The displays behind one protocol, and the choice among them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Literal, Protocol, Self, TextIO

from labctl.events import Event
from labctl.ui.colour import is_terminal

Mode = Literal["live", "plain", "json", "quiet"]


class Display(Protocol):
    """Shows what happens. `emit` may be called from any thread; outside of ``with`` it shows nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def emit(self, event: Event) -> None:
        """Show `event`. Never raises for a terminal that went away."""

    def pause(self) -> AbstractContextManager[None]:
        """Leave the terminal to somebody else, a question for example, for the time of a ``with``."""


class QuietDisplay:
    """Shows nothing: errors reach the user as exceptions."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def emit(self, event: Event) -> None:
        return None

    def pause(self) -> AbstractContextManager[None]:
        return nullcontext()


def choose_mode(
    asked: str, *, quiet: bool = False, stderr: TextIO | None = None, environ: Mapping[str, str] = os.environ
) -> Mode:
    """The display for ``--progress`` `asked`: ``auto`` is live on a terminal that can do it, plain elsewhere.

    A terminal can do it when it is no ``dumb`` one and this is no CI job (``CI`` is set and not ``false``).
    """
    if quiet:
        return "quiet"
    match asked:
        case "live" | "plain" | "json" | "quiet":
            return asked
        case _:
            in_ci = environ.get("CI", "").lower() not in ("", "0", "false")
            able = is_terminal(stderr or sys.stderr) and environ.get("TERM", "dumb") != "dumb"
            return "live" if able and not in_ci else "plain"


def open_display(
    mode: Mode,
    *,
    verbose: bool = False,
    data_on_stdout: bool = False,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
    clock: Callable[[], float] = time.time,
) -> Display:
    """The display of `mode`. All write to stderr but json.

    JSON events are the data of a command that has no other: they go to stdout, unless `data_on_stdout` says that the
    command prints a document there (``-o json``).
    """
    err = stderr or sys.stderr
    if mode == "json":
        from labctl.ui.jsonlines import JsonDisplay

        return JsonDisplay(err if data_on_stdout else stdout or sys.stdout, clock=clock)
    if mode == "plain":
        from labctl.ui.plain import PlainDisplay

        return PlainDisplay(err, verbose=verbose, environ=environ, clock=clock)
    if mode == "live":
        from labctl.ui.live import LiveDisplay

        return LiveDisplay(err, verbose=verbose, environ=environ, clock=clock)
    return QuietDisplay()
