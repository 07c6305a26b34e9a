"""What nodes wrote, one stream for each reader: byte-clean for one node, prefixed and in order of time for several."""

from __future__ import annotations

import heapq
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import IO

from labctl.access.many import Prefixed
from labctl.errors import LabctlError
from labctl.providers.session import STDERR, LogLine


def print_one(lines: Iterator[LogLine], stdout: IO[bytes], stderr: IO[bytes], *, timestamps: bool) -> None:
    """Write the lines of one node as they are; with `timestamps` behind the engine's time of each."""
    fresh = {stdout: True, stderr: True}
    for line in lines:
        out = stderr if line.stream == STDERR else stdout
        if timestamps and fresh[out]:
            out.write(line.time.encode() + b" ")
        fresh[out] = line.data.endswith(b"\n")
        out.write(line.data)
        out.flush()


def print_merged(sources: Mapping[str, Iterator[LogLine]], output: Prefixed, *, timestamps: bool) -> None:
    """Write what several nodes wrote until now, all lines in order of time."""
    named = (_named(node, lines) for node, lines in sources.items())
    for node, line in heapq.merge(*named, key=lambda item: item[1].time):
        _write(output, node, line, timestamps=timestamps)
    for node in sources:
        output.end(node)


def print_following(
    sources: Mapping[str, Callable[[], Iterator[LogLine]]], output: Prefixed, *, timestamps: bool
) -> None:
    """Write what several nodes write, as it comes, until all of them have stopped.

    The first error of a node is raised when the others are over.
    """
    arrived: queue.Queue[tuple[str, LogLine | None]] = queue.Queue(maxsize=1000)
    errors: list[LabctlError] = []

    def follow(node: str, source: Callable[[], Iterator[LogLine]]) -> None:
        try:
            for line in source():
                arrived.put((node, line))
        except LabctlError as error:
            errors.append(error)
        finally:
            arrived.put((node, None))

    for node, source in sources.items():
        threading.Thread(target=follow, args=(node, source), daemon=True).start()
    left = len(sources)
    while left:
        node, line = arrived.get()
        if line is None:
            left -= 1
            output.end(node)
        else:
            _write(output, node, line, timestamps=timestamps)
    if errors:
        raise errors[0]


def _named(node: str, lines: Iterator[LogLine]) -> Iterator[tuple[str, LogLine]]:
    return ((node, line) for line in lines)


def _write(output: Prefixed, node: str, line: LogLine, *, timestamps: bool) -> None:
    output.write(node, line.stream, (line.time.encode() + b" " if timestamps else b"") + line.data)
