"""A made-up host to ask: a directory for its files, a list for its programs, an engine of canned answers."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labctl.probe.host import Attempt, Host
from labctl.probe.user import InvokingUser

ROOT_USER = InvokingUser("root", 0, 0, Path("/root"))
DEBIAN = {"/etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'}
MEMORY = {"/proc/meminfo": "MemTotal:       16000000 kB\nMemAvailable:    9000000 kB\n"}
VERSION = {"Version": "20.10.24", "ApiVersion": "1.41", "Components": [{"Name": "Engine"}]}
INFO: dict[str, Any] = {
    "ServerVersion": "20.10.24",
    "Driver": "overlay2",
    "DockerRootDir": "/",
    "CgroupVersion": "2",
    "CgroupDriver": "systemd",
    "MemoryLimit": True,
    "CpuCfsQuota": True,
    "IPv4Forwarding": True,
    "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
    "OSType": "linux",
    "SecurityOptions": ["name=seccomp,profile=default"],
}


def made_up_host(
    root: Path,
    *,
    files: Mapping[str, str] | None = None,
    programs: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    user: InvokingUser = ROOT_USER,
    uid: int = 0,
    answers: Mapping[str, Attempt] | None = None,
) -> Host:
    """A host whose files lie below `root`; `answers` are what programs say, by their names."""
    for name, text in {**DEBIAN, **MEMORY, **(files or {})}.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    said = answers or {}

    def run(argv: Sequence[str], timeout: float) -> Attempt:
        return said.get(argv[0], Attempt(0, ""))

    def find(name: str) -> str | None:
        return f"/usr/bin/{name}" if name in programs else None

    return Host(environ=environ or {}, user=user, uid=uid, home=root / "home", root=root, run=run, find=find)


@contextmanager
def made_up_engine(path: Path, answers: Mapping[str, tuple[int, Any]], *, silent: bool = False) -> Iterator[str]:
    """An engine at the socket `path` that answers GET by `answers`; a `silent` one accepts and says nothing."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(16)
    open_: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if silent:
                open_.append(connection)
                continue
            with connection:
                place = connection.recv(65536).decode().split()[1]
                status, body = answers.get(place, (404, {"message": "page not found"}))
                text = (body if isinstance(body, str) else json.dumps(body)).encode()
                head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
                connection.sendall(head.encode() + text)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"unix://{path}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_:
            connection.close()
        thread.join(5)


def engine_answers(
    version: Mapping[str, Any] | None = None, info: Mapping[str, Any] | None = None
) -> dict[str, tuple[int, Any]]:
    """A healthy engine's answers with some facts changed."""
    return {
        "/_ping": (200, "OK"),
        "/version": (200, {**VERSION, **(version or {})}),
        "/info": (200, {**INFO, **(info or {})}),
        "/networks": (200, []),
    }
