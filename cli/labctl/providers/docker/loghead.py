"""The beginning of what a container printed, asked for without the SDK: cheap enough for every node of an `up`."""

from __future__ import annotations

from collections.abc import Iterator

from labctl.providers.docker.reading import Reader
from labctl.providers.docker.stream import whole_frames


def head(reader: Reader, container: str) -> Iterator[str]:
    """The first lines of both streams, at most 64 KiB of them; none when there is no such container."""
    received = bytearray(reader.log(container, limit=1 << 16))
    text = b"".join(data for _, data in whole_frames(received))
    yield from text.decode(errors="replace").splitlines()
