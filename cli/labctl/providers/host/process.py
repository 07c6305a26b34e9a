"""One process of a lab on this host: started, asked and ended through its name in the kernel's table of sockets.

The kernel says which process has a name, so that no number is ever believed that a file has kept, and nobody else's
process can be meant. See ``templates/host/usr/lib/lab/resident.py``, which is what runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from labctl.errors import DeadlineError, HostError, LabctlError

START_TIMEOUT = 60.0
END_TIMEOUT = 10.0
_ASK_TIMEOUT = 15.0

PYTHON = "/usr/bin/python3"
"""The distribution's own: it has the distribution's websockify."""

TAKEN, PORT_IN_USE = 97, 98
"""Exit codes of a start: there is one already; the port is somebody else's."""


def start(name: str, program: Path, words: Sequence[str]) -> int:
    """Start `program` under `name`; returns when it serves, or one of the exit codes above."""
    command = [PYTHON, "-B", "-E", "-s", str(program), name, *words]
    environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=START_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        end(name)
        raise DeadlineError(
            f"{_shown(name)} did not start within {START_TIMEOUT:g} s", hint="labctl up again", code="LAB-HOST-010"
        ) from None
    except OSError as error:
        raise HostError(f"{PYTHON} cannot be run: {error.strerror}", hint="labctl doctor --fix") from error
    if done.returncode == TAKEN and (uid := owner(name)) not in (None, os.getuid()):
        raise _foreign(name, uid)
    if done.returncode not in (0, TAKEN, PORT_IN_USE):
        raise LabctlError(f"{_shown(name)} did not start", details=done.stderr.splitlines()[-8:], code="LAB-HOST-010")
    return done.returncode


def ask(name: str, word: str = "state") -> dict[str, Any] | None:
    """What the process says; None when there is none of that name. Raises `DeadlineError`, `LabctlError`."""
    with _connected(name) as connection:
        if connection is None:
            return None
        try:
            connection.sendall(f"{word}\n".encode())
            said = b"".join(iter(lambda: connection.recv(65536), b""))
        except TimeoutError:
            raise DeadlineError(f"{_shown(name)} gave no answer", hint="labctl up", code="LAB-HOST-010") from None
        except OSError:
            return None
    try:
        told: dict[str, Any] = json.loads(said)
    except ValueError:
        # it answers only root and its own user, and ends in the midst of a word when it is ended
        return {} if owner(name) is not None else None
    return told


def owner(name: str) -> int | None:
    """The user (uid) whose process has the name, and serves; None when there is none."""
    with _connected(name) as connection:
        return None if connection is None else _peer(connection)[1]


def end(name: str) -> None:
    """Have the process end, by force when it does not by itself; gone is fine. Raises `LabctlError`."""
    with _connected(name) as connection:
        if connection is None:
            return
        pid, uid = _peer(connection)
        if os.getuid() not in (0, uid):
            raise _foreign(name, uid)
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if not _is_open(connection):
                return  # it ended before the handle was there, which may be another one's by now
            with contextlib.suppress(OSError):
                connection.sendall(b"end\n")
            if _ended(handle):
                return
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            if not _ended(handle):
                raise DeadlineError(f"{_shown(name)} did not end within {END_TIMEOUT:g} s", code="LAB-HOST-010")
        finally:
            os.close(handle)


@contextlib.contextmanager
def _connected(name: str) -> Iterator[socket.socket | None]:
    end = time.monotonic() + _ASK_TIMEOUT
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_ASK_TIMEOUT)
        while True:
            try:
                connection.connect(f"\0{name}")
            except ConnectionRefusedError:
                yield None
                return
            except BlockingIOError:  # it is there, and does not take those who ask
                if time.monotonic() > end:
                    hint = f"sudo ss -xlp | grep {name} shows it"
                    raise DeadlineError(f"{_shown(name)} gave no answer", hint=hint, code="LAB-HOST-010") from None
                time.sleep(0.1)
            else:
                yield connection
                return


def _peer(connection: socket.socket) -> tuple[int, int]:
    """The process at the other end, and its user, by the kernel's word."""
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid


def _is_open(connection: socket.socket) -> bool:
    """Whether the other side is still there; it never speaks first."""
    connection.settimeout(0)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        connection.settimeout(_ASK_TIMEOUT)


def _ended(handle: int) -> bool:
    """Whether the process of the handle ends in time."""
    return bool(select.select([handle], [], [], END_TIMEOUT)[0])


def _foreign(name: str, uid: int | None) -> LabctlError:
    return LabctlError(
        f"{_shown(name)} is another user's ({uid})",
        hint="give the lab another `name`, or have that user take it down",
        code="LAB-HOST-010",
    )


def _shown(name: str) -> str:
    _, lab, kind = name.split("/")
    return f"the process for the {'desktops' if kind == 'gateway' else kind} of lab {lab}"
