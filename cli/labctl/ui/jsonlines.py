"""Progress as NDJSON: one JSON object per line, flushed, each with `version`, `type` and `time`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from types import TracebackType
from typing import Self, TextIO

from labctl.documents.events import event_data
from labctl.events import Event


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
