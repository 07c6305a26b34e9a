"""The beginning of what a container printed, asked for without the SDK: cheap enough for every node of an `up`."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from labctl.providers.docker.reading import Reader

_FRAME = struct.Struct(">BxxxI")


def head(reader: Reader, container: str) -> Iterator[str]:
    """The first lines of both streams, at most 64 KiB of them; none when there is no such container."""
    data = memoryview(reader.log(container, limit=1 << 16))
    text = bytearray()
    while len(data) >= _FRAME.size:
        _, length = _FRAME.unpack_from(data)
        text += data[_FRAME.size : _FRAME.size + length]
        data = data[_FRAME.size + length :]
    yield from text.decode(errors="replace").splitlines()
