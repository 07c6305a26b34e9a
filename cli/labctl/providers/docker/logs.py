"""What a container printed, line by line."""

from __future__ import annotations

from collections.abc import Iterator

from labctl.plan.model import DesiredNode, ObservedNode
from labctl.providers.docker.client import Engine
from labctl.providers.docker.errors import translated
from labctl.providers.docker.nodes import reference_of


def logs(
    engine: Engine, node: DesiredNode | ObservedNode, *, follow: bool, since: float | None, tail: int | None
) -> Iterator[bytes]:
    """Lines of both streams without their newline, oldest first; with `follow` until the container stops.

    `since` is in seconds since the epoch; `tail` is how many of the last lines to begin with, None for all.
    """
    with translated(f"read the log of node {node.name}"):
        parts = engine.logs(
            reference_of(node),
            stdout=True,
            stderr=True,
            stream=True,
            follow=follow,
            since=since,
            tail="all" if tail is None else tail,
        )
        rest = b""
        for part in parts:
            *lines, rest = (rest + part).split(b"\n")
            yield from lines
        if rest:
            yield rest
