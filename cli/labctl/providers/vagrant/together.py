"""Calls for several machines that come at the same time, made as one: Vagrant takes seconds to begin."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

GATHER = 0.3
"""Seconds in which others may join."""


@dataclass
class _Round:
    names: list[str] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None


class Together:
    """`act` is given the names of all who asked while the one before it was under way; its error is everybody's."""

    def __init__(self, act: Callable[[Sequence[str]], None], *, gather: float = GATHER) -> None:
        self._act, self._gather = act, gather
        self._lock, self._busy = threading.Lock(), threading.Lock()
        self._next: _Round | None = None

    def __call__(self, name: str) -> None:
        """Take part in the next round and wait for its end. Raises what `act` raised."""
        with self._lock:
            leads = self._next is None
            mine = self._next = self._next or _Round()
            mine.names.append(name)
        if leads:
            self._lead(mine)
        mine.done.wait()
        if mine.error is not None:
            raise mine.error

    def _lead(self, mine: _Round) -> None:
        time.sleep(self._gather)
        with self._busy:
            with self._lock:
                self._next = None
            try:
                self._act(mine.names)
            except BaseException as error:  # noqa: BLE001 - it is raised in every thread that takes part
                mine.error = error
            finally:
                mine.done.set()
