"""A raw stream to the engine: an HTTP request that becomes a two-way pipe.

The SDK reads the answer's head through a buffer and may lose what came with it, and cannot close the sending side
alone; here both are exact.
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from labctl.errors import LabctlError

_CHUNK = 1 << 16
_CHECK = 0.2
_FRAME = struct.Struct(">BxxxI")


class Stream:
    """An open pipe. `send` bytes, `close_sending` once, and read `frames` until the other side is done."""

    def __init__(self, socket_path: str, path: str, body: Any, *, timeout: float) -> None:
        """POST `body` to `path` (with its version) and switch protocols. Raises `OSError` or `LabctlError`."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(socket_path)
            data = json.dumps(body).encode()
            self._socket.sendall(
                f"POST {path} HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode()
                + data
            )
            self._received = self._head()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def _head(self) -> bytearray:
        """Read the answer's head; what came after it is returned. Raises `LabctlError` when it is a refusal."""
        data = bytearray()
        while b"\r\n\r\n" not in data:
            part = self._socket.recv(_CHUNK)
            if not part:
                break
            data += part
        head, _, rest = bytes(data).partition(b"\r\n\r\n")
        status = head.split(b" ", 2)[1:2]
        if status not in ([b"101"], [b"200"]):
            raise LabctlError(_reason(head, rest), code="LAB-HOST-006")
        return bytearray(rest)

    def frames(
        self, stdin: bytes, *, until: float, check: Callable[[], None] | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Send `stdin` and close the sending side, and pass on (1 stdout or 2 stderr, bytes) as they come.

        Ends when the other side is done. Raises `TimeoutError` when `time.monotonic()` passes `until`, and what `check`
        raises, which is called every now and then.
        """
        waiting = memoryview(stdin)
        self._socket.settimeout(0)
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ | (selectors.EVENT_WRITE if waiting else 0))
            if not waiting:
                self._close_sending()
            yield from whole_frames(self._received)
            while True:
                left = until - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                if check is not None:
                    check()
                for _, events in selector.select(left if check is None else min(left, _CHECK)):
                    if events & selectors.EVENT_WRITE:
                        waiting = self._send(waiting)
                        if not waiting:
                            self._close_sending()
                            selector.modify(self._socket, selectors.EVENT_READ)
                    if events & selectors.EVENT_READ:
                        data = self._receive()
                        if data is None:
                            return
                        self._received += data
                        yield from whole_frames(self._received)

    def _send(self, waiting: memoryview) -> memoryview:
        try:
            return waiting[self._socket.send(waiting[:_CHUNK]) :]
        except BlockingIOError:
            return waiting
        except (BrokenPipeError, ConnectionResetError):
            return waiting[len(waiting) :]  # the command did not want all of it

    def _receive(self) -> bytes | None:
        try:
            return self._socket.recv(_CHUNK) or None
        except BlockingIOError:
            return b""
        except ConnectionResetError:
            return None

    def _close_sending(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the other side was faster


def whole_frames(received: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take the engine's frames that are whole out of `received`: (1 stdout or 2 stderr, bytes)."""
    while len(received) >= _FRAME.size:
        kind, length = _FRAME.unpack_from(received)
        end = _FRAME.size + length
        if len(received) < end:
            return
        payload = bytes(received[_FRAME.size : end])
        del received[:end]
        yield kind, payload


def _reason(head: bytes, rest: bytes) -> str:
    """The engine's own sentence in a refusal, whichever way its body is written."""
    start, end = rest.find(b"{"), rest.rfind(b"}")
    try:
        return str(json.loads(rest[start : end + 1])["message"])
    except (ValueError, KeyError, TypeError):
        return head.split(b"\r\n", 1)[0].decode(errors="replace") or "the engine closed the connection"
