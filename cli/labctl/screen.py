"""A picture of a desktop, taken the way a viewer sees it: over VNC, with the password that may only look."""

from __future__ import annotations

import socket
import struct
import time
import zlib

from labctl.errors import DeadlineError, LabctlError
from labctl.features.vncauth import answer

_RAW, _DESKTOP_SIZE = 0, -223
# 32 bits per pixel, depth 24, little endian, true colour, 8 bits each: blue, green, red, nothing in memory.
_PIXELS = struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)


class ScreenError(LabctlError):
    """The desktop did not give a picture: it refused the password, or spoke something else than VNC."""

    code = "LAB-VNC-003"


def picture(address: str, password: str, *, port: int = 5901, timeout: float = 10.0) -> bytes:
    """The screen at `address` as a PNG file. Raises `ScreenError`, `DeadlineError` after `timeout` seconds."""
    width, height, rgb = pixels(address, password, port=port, timeout=timeout)
    return png(width, height, rgb)


def pixels(address: str, password: str, *, port: int = 5901, timeout: float = 10.0) -> tuple[int, int, bytes]:
    """Width, height and the screen's pixels, three bytes each (red, green, blue), row by row from the top."""
    try:
        with socket.create_connection((address, port), timeout=timeout) as connection:
            return _Viewer(connection, time.monotonic() + timeout).look(password)
    except TimeoutError:
        raise DeadlineError(f"no picture from {address}:{port} within {timeout:g} s", code="LAB-VNC-003") from None
    except OSError as error:
        raise ScreenError(f"no desktop answers at {address}:{port}", details=[str(error)]) from error


def png(width: int, height: int, rgb: bytes) -> bytes:
    """A PNG file of `rgb`, three bytes a pixel."""
    stride = width * 3
    rows = b"".join(b"\0" + rgb[at : at + stride] for at in range(0, stride * height, stride))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 6)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


class _Viewer:
    """One connection to a VNC server (RFB 3.8), until a deadline."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def look(self, password: str) -> tuple[int, int, bytes]:
        if not self._read(12).startswith(b"RFB 003."):
            raise ScreenError("what answers is not a VNC server")
        self._send(b"RFB 003.008\n")
        self._authenticate(password)
        self._send(b"\1")  # shared: the others stay
        width, height = struct.unpack(">HH", self._read(4))
        self._read(16)
        self._read(self._length())
        self._send(struct.pack(">B3x", 0) + _PIXELS)
        self._send(struct.pack(">BxHii", 2, 2, _RAW, _DESKTOP_SIZE))
        self._send(struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))
        return self._whole(width, height)

    def _authenticate(self, password: str) -> None:
        kinds = self._read(self._read(1)[0])
        if 2 not in kinds:
            reason = self._read(self._length()).decode(errors="replace") if not kinds else "no password asked for"
            raise ScreenError("the desktop refused the connection", details=[reason])
        self._send(b"\2")
        self._send(answer(password, self._read(16)))
        if self._length() != 0:
            raise ScreenError("the desktop refused the password", details=[self._text()])

    def _whole(self, width: int, height: int) -> tuple[int, int, bytes]:
        """Rectangles until every pixel has come once; a changed size starts again."""
        rows: list[bytearray] = [bytearray(width * 4) for _ in range(height)]
        missing = width * height
        while missing > 0:
            kind = self._read(1)[0]
            if kind == 2:
                continue
            if kind == 3:
                self._read(3)
                self._read(self._length())
                continue
            if kind != 0:
                raise ScreenError(f"unexpected VNC message {kind}")
            self._read(1)
            for _ in range(struct.unpack(">H", self._read(2))[0]):
                x, y, w, h, encoding = struct.unpack(">HHHHi", self._read(12))
                if encoding == _DESKTOP_SIZE:
                    self._send(struct.pack(">BBHHHH", 3, 0, 0, 0, w, h))
                    return self._whole(w, h)
                for row in range(y, y + h):
                    rows[row][x * 4 : (x + w) * 4] = self._read(w * 4)
                missing -= w * h
        data = b"".join(rows)
        rgb = bytearray(width * height * 3)
        rgb[0::3], rgb[1::3], rgb[2::3] = data[2::4], data[1::4], data[0::4]
        return width, height, bytes(rgb)

    def _length(self) -> int:
        return int(struct.unpack(">I", self._read(4))[0])

    def _text(self) -> str:
        return self._read(self._length()).decode(errors="replace")

    def _send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def _read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
            part = self._connection.recv(count - len(data))
            if not part:
                raise ScreenError("the desktop closed the connection")
            data += part
        return bytes(data)
