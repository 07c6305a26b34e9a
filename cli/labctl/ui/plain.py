"""Progress as one line per event, for logs and pipelines."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime, tzinfo
from types import TracebackType
from typing import Self, TextIO

from labctl.events import Event, Finished, Notice, PlanReady, StepEnded, StepOutput, StepStarted
from labctl.ui.colour import Ink
from labctl.ui.words import clean, clean_text, doing, done, duration, summary, thing


class PlainDisplay:
    """Writes a line with its time when a step starts and when it ends; `verbose` adds what steps print.

    Times are in `zone` (the local one when None).
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        verbose: bool,
        environ: Mapping[str, str],
        clock: Callable[[], float],
        zone: tzinfo | None = None,
    ) -> None:
        self._stream = stream
        self._verbose = verbose
        self._ink = Ink(stream, environ)
        self._clock = clock
        self._zone = zone
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def pause(self) -> AbstractContextManager[None]:
        return nullcontext()

    def emit(self, event: Event) -> None:
        match event:
            case PlanReady(lab=lab, steps=steps):
                self._write(self._clock(), [f"{lab}: {len(steps)} step{'s' * (len(steps) != 1)}"])
            case StepStarted(verb=verb, ref=ref, time=at):
                self._write(at, [f"{doing(verb)} {thing(ref)}"])
            case StepOutput(ref=ref, line=line, time=at):
                if self._verbose:
                    self._write(at, [self._ink(f"{thing(ref)} | {clean(line)}", "dim")])
            case StepEnded():
                self._write(event.time, self._ended(event))
            case Notice(text=said, level=level):
                text = clean_text(said)
                self._write(
                    self._clock(), [f"{self._ink('warning:', 'yellow')} {text}" if level == "warning" else text]
                )
            case Finished():
                self._write(self._clock(), [summary(event)])

    def _ended(self, event: StepEnded) -> list[str]:
        took = duration(event.seconds)
        if event.outcome == "done":
            ready = (
                f"{thing(event.ref)} is ready" if event.verb == "verify" else f"{done(event.verb)} {thing(event.ref)}"
            )
            return [f"{ready} ({took})"]
        why = f": {event.error}" if event.error else ""
        if event.outcome == "skipped":
            return [f"{self._ink('skipped:', 'yellow')} {event.verb} {thing(event.ref)}{why}"]
        lines = [f"{self._ink('failed:', 'red')} {event.verb} {thing(event.ref)} ({took}){why}"]
        lines += [f"  {clean(line)}" for detail in event.details for line in detail.splitlines()]
        return [*lines, f"  hint: {event.hint}"] if event.hint else lines

    def _write(self, at: float, lines: list[str]) -> None:
        clock = self._ink(datetime.fromtimestamp(at, self._zone).strftime("%H:%M:%S"), "dim")
        text = "".join(f"{clock} {line}\n" for line in lines)
        with self._lock, suppress(OSError):
            self._stream.write(text)
            self._stream.flush()
