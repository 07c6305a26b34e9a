"""A socket between labctl and the engine that sees every request, and may hold or refuse it."""

from __future__ import annotations

import json
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

ENGINE = "/var/run/docker.sock"
LAST_CHUNK = b"0\r\n\r\n"
READS = ("GET", "HEAD")


@dataclass
class Request:
    """One request to the engine. `path` is without the version of the language; times are of `time.monotonic`."""

    method: str
    path: str
    began: float
    body: bytes = b""
    ended: float | None = None

    @property
    def is_read(self) -> bool:
        return self.method in READS

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class Proxy:
    """Listens at `url` while it is entered. `before` is called with each request before the engine sees it.

    With `reads_only`, what is not a read is refused; it is in `requests` all the same.
    """

    reads_only: bool = False
    before: Callable[[Request], None] | None = None
    requests: list[Request] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="proxy-")  # short: a socket's path has 107 bytes
        path = str(Path(self._directory.name) / "s")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(64)
        self.url = f"unix://{path}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self._directory.cleanup()

    @property
    def env(self) -> dict[str, str]:
        return {"DOCKER_HOST": self.url}

    @property
    def writes(self) -> list[str]:
        """What was asked of the engine beyond reading."""
        return [str(request) for request in self.requests if not request.is_read]

    def open_requests(self) -> list[Request]:
        """What the engine has not answered yet."""
        return [request for request in self.requests if request.ended is None]

    # ------------------------------------------------------------ one connection

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        current: list[Request] = []
        with client, server:
            server.connect(ENGINE)
            back = threading.Thread(target=self._answer, args=(server, client, current), daemon=True)
            back.start()
            with suppress(OSError):
                self._pass_on(client, server, current)
                server.shutdown(socket.SHUT_WR)
            back.join()

    def _pass_on(self, client: socket.socket, server: socket.socket, current: list[Request]) -> None:
        """Requests one after the other: a head, then what its length says, or all that follows (exec, chunks)."""
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = client.recv(65536)
                if not more:
                    return
                data += more
            head, _, rest = data.partition(b"\r\n\r\n")
            request = _parse(head)
            self.requests.append(request)
            current[:] = [request]
            if self.reads_only and not request.is_read:
                body = json.dumps({"message": f"only reads are let through, not {request}"}).encode()
                answer = f"HTTP/1.1 403 Forbidden\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                client.sendall(answer.encode() + body)
                return
            length = _length(head)
            if length is None:
                self._look(request)
                server.sendall(head + b"\r\n\r\n" + rest)
                while more := client.recv(65536):
                    server.sendall(more)
                return
            while len(rest) < length:
                more = client.recv(65536)
                if not more:
                    return
                rest += more
            request.body, data = rest[:length], rest[length:]
            self._look(request)
            server.sendall(head + b"\r\n\r\n" + request.body)

    def _look(self, request: Request) -> None:
        if self.before is not None:
            self.before(request)

    def _answer(self, server: socket.socket, client: socket.socket, current: list[Request]) -> None:
        """Bytes back. A request counts as answered with the first of them, one with a long answer with the last."""
        with suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
                if current and (not _is_long(current[0]) or data.endswith(LAST_CHUNK)):
                    current[0].ended = current[0].ended or time.monotonic()
            client.shutdown(socket.SHUT_WR)
        if current:
            current[0].ended = current[0].ended or time.monotonic()


def _parse(head: bytes) -> Request:
    method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
    return Request(method, re.sub(r"^/v[0-9.]+|\?.*", "", target), time.monotonic())


def _length(head: bytes) -> int | None:
    """How many bytes follow the head; None when that is open."""
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    }
    if "chunked" in fields.get("transfer-encoding", "").lower() or "upgrade" in fields:
        return None
    return int(fields.get("content-length", "0"))


def _is_long(request: Request) -> bool:
    return request.path.endswith("/build") or "/exec/" in request.path or request.path.endswith("/images/create")
