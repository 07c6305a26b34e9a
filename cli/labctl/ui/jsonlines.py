"""Progress as NDJSON: one JSON object per line, flushed, each with `version`, `type` and `time`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict
from types import MappingProxyType, TracebackType
from typing import Any, Self, TextIO

from labctl.documents.model import stamp
from labctl.events import Event, Finished, Notice, PlanReady, StepEnded, StepOutput, StepStarted

TYPES: Mapping[type[Event], str] = MappingProxyType(
    {
        PlanReady: "plan",
        StepStarted: "step-started",
        StepOutput: "step-output",
        StepEnded: "step-ended",
        Notice: "notice",
        Finished: "finished",
    }
)


class JsonDisplay:
    """Writes every event to `stream`. An event that has no time of its own gets that of its arrival."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock
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
        text = json.dumps(event_data(event, clock=self._clock), ensure_ascii=False) + "\n"
        with self._lock, suppress(OSError):
            self._stream.write(text)
            self._stream.flush()


def event_data(event: Event, *, clock: Callable[[], float]) -> dict[str, Any]:
    """`event` as plain data; its steps, if it has any, as objects."""
    fields = asdict(event)
    at = fields.pop("time", None)
    if isinstance(event, PlanReady):
        words = ("id", "verb", "ref", "because")
        fields["steps"] = [dict(zip(words, step, strict=True)) for step in event.steps]
    return {"version": 1, "type": TYPES[type(event)], "time": stamp(clock() if at is None else at), **fields}
