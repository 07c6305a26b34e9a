"""Progress on a terminal: a tree of nodes that repaints itself and collapses to one line when all is over."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self, TextIO

from labctl.events import Event, Finished, Notice, StepEnded, StepOutput
from labctl.ui.board import SPINNER, Board, Line
from labctl.ui.colour import Ink
from labctl.ui.words import clean, clean_text, duration, summary, thing

FRAME = 0.1
"""Seconds between two pictures."""

_ERASE_LINE = "\x1b[K"
_ERASE_BELOW = "\x1b[J"
_HIDE_CURSOR = "\x1b[?25l"
_SHOW_CURSOR = "\x1b[?25h"


class Canvas:
    """The lowest lines of a terminal, drawn anew in place: one write per picture, no line is ever empty in between.

    `size` gives the terminal's (columns, lines), asked at every picture: a window may be resized at any time.
    """

    def __init__(self, stream: TextIO, *, ink: Ink, size: Callable[[], tuple[int, int]]) -> None:
        self._stream = stream
        self._ink = ink
        self._size = size
        self._widths: list[int] = []

    def draw(self, lines: Sequence[Line], *, above: Sequence[Line] = ()) -> None:
        """Show `lines` in place of those before; `above` scroll away for good and are not cut."""
        from rich.cells import cell_len

        columns, height = self._size()
        out = [self._back(columns, height)]
        out += [f"{self._text(line)}{_ERASE_LINE}\n" for line in above]
        cut = [_cut(line, columns - 1) for line in lines]
        out += [f"{self._text(line)}{_ERASE_LINE}\n" for line in cut]
        self._widths = [sum(cell_len(text) for text, _ in line) for line in cut]
        self._write("".join([*out, _ERASE_BELOW]))

    def write_code(self, code: str) -> None:
        """Send a control sequence."""
        self._write(code)

    def _back(self, columns: int, height: int) -> str:
        """To the first column of the last picture's first line.

        A terminal that became narrower has wrapped the lines of that picture: they are counted as they stand now.
        """
        wrapped = sum(max(1, -(-width // max(columns, 1))) for width in self._widths)
        up = min(wrapped, height - 1)
        return f"\r\x1b[{up}A" if up else "\r"

    def _text(self, line: Line) -> str:
        return "".join(self._ink(text, style) if style else text for text, style in line)

    def _write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)
            self._stream.flush()


class LiveDisplay:
    """Draws the board ten times a second from a thread of its own; `verbose` lets what steps print scroll by above."""

    def __init__(
        self,
        stream: TextIO,
        *,
        verbose: bool,
        environ: Mapping[str, str],
        clock: Callable[[], float],
        size: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        self._canvas = Canvas(stream, ink=Ink(stream, environ), size=size or (lambda: _terminal_size(stream)))
        self._size = size or (lambda: _terminal_size(stream))
        self._verbose = verbose
        self._clock = clock
        self._board = Board()
        self._above: list[Line] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="labctl-display", daemon=True)
        self._frame = 0
        self._finished = False
        self._paused = False

    def __enter__(self) -> Self:
        self._canvas.write_code(_HIDE_CURSOR)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._over.set()
            self._thread.join()
            with self._lock:
                self._finished = True
                self._paint()
        finally:
            self._canvas.write_code(_SHOW_CURSOR)

    def emit(self, event: Event) -> None:
        with self._lock:
            self._board.apply(event, now=self._clock())
            self._above += self._lasting(event)
            self._finished = self._finished or isinstance(event, Finished)

    @contextmanager
    def pause(self) -> Iterator[None]:
        with self._lock:
            self._canvas.draw([], above=self._take_above())
            self._canvas.write_code(_SHOW_CURSOR)
            self._paused = True
        try:
            yield
        finally:
            with self._lock:
                self._paused = False
                self._canvas.write_code(_HIDE_CURSOR)

    def _run(self) -> None:
        while not self._over.wait(FRAME):
            with self._lock:
                if not self._paused:
                    self._paint()

    def _take_above(self) -> list[Line]:
        above, self._above = self._above, []
        return above

    def _paint(self) -> None:
        self._frame += 1
        lines: list[Line] = []
        if not self._finished:
            _, height = self._size()
            spinner = SPINNER[self._frame % len(SPINNER)]
            lines = self._board.lines(now=self._clock(), height=height - 1, spinner=spinner)
        self._canvas.draw(lines, above=self._take_above())

    def _lasting(self, event: Event) -> list[Line]:
        """What stays on the screen of an event."""
        match event:
            case StepEnded(outcome="failed"):
                return _failure(event)
            case StepOutput(ref=ref, line=line) if self._verbose:
                return [[(f"{thing(ref)} | {clean(line)}", "dim")]]
            case Notice(text=text, level="warning"):
                return [[("warning: ", "yellow"), (clean_text(text), "")]]
            case Notice(text=text):
                return [[(clean_text(text), "")]]
            case Finished():
                good = event.exit_code == 0
                return [[("✓ " if good else "✗ ", "green" if good else "red"), (summary(event), "")]]
            case _:
                return []


def _failure(event: StepEnded) -> list[Line]:
    why = f": {event.error}" if event.error else ""
    lines: list[Line] = [
        [("✗ failed: ", "bold red"), (f"{event.verb} {thing(event.ref)} ({duration(event.seconds)}){why}", "")]
    ]
    lines += [[(f"    {clean(text)}", "dim")] for detail in event.details for text in detail.splitlines()]
    return [*lines, [("  hint: ", "bold"), (event.hint, "")]] if event.hint else lines


def _cut(line: Line, width: int) -> Line:
    """`line` in at most `width` cells, with an ellipsis where it was longer."""
    from rich.cells import cell_len, set_cell_size

    if sum(cell_len(text) for text, _ in line) <= width:
        return line
    kept: Line = []
    space = max(width - 1, 0)
    for text, style in line:
        size = cell_len(text)
        if size > space:
            return [*kept, (set_cell_size(text, space) + "…", style)] if width > 0 else []
        kept.append((text, style))
        space -= size
    return kept


def _terminal_size(stream: TextIO) -> tuple[int, int]:
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 80, 24
    return size.columns or 80, size.lines or 24
