"""A command in a container with its streams open, over a connection of its own to the engine.

The SDK reads the answer's head through a buffer and then hands out the bare socket: output that came together with the
head would be lost. Here the head is read byte by byte, so that nothing is.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from pathlib import Path
from typing import Any

from labctl.errors import HostError, LabctlError
from labctl.providers.docker.client import APIError, Engine
from labctl.providers.docker.errors import translated, unreachable
from labctl.providers.session import STDERR, STDOUT, NotStartedError

_NOT_STARTED = (b"OCI runtime exec failed", b"unable to find user ")
_HEAD_LIMIT = 64 * 1024
_SETTLE = 10.0
"""Seconds that the engine gets to notice that a command whose output ended has ended."""


class ExecSession:
    """A `Session` made by the engine's exec.

    `container` is the full id of the container, `exec_id` names an exec that was created and not started.
    """

    def __init__(self, engine: Engine, container: str, exec_id: str, *, terminal: bool) -> None:
        self._engine = engine
        self._container = container
        self._exec = exec_id
        self._terminal = terminal
        self._socket = _connect(engine)
        self._frame = (STDOUT, 0)
        self._ended = False
        self._first = True
        try:
            self._start()
        except BaseException:
            self._socket.close()
            raise

    def _start(self) -> None:
        body = json.dumps({"Detach": False, "Tty": self._terminal}).encode()
        head = (
            f"POST /v{self._engine.api_version}/exec/{self._exec}/start HTTP/1.1\r\nHost: engine\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            byte = self._socket.recv(1)
            if not byte or len(answer) > _HEAD_LIMIT:
                raise HostError(
                    "the engine broke off the connection", hint="see the engine's own log", code="LAB-HOST-006"
                )
            answer += byte
        status = answer.split(b" ", 2)[1]
        if status not in (b"101", b"200"):
            self._socket.settimeout(5)
            with contextlib.suppress(OSError):
                answer += self._socket.recv(_HEAD_LIMIT)
            text = answer.partition(b"\r\n\r\n")[2].decode(errors="replace").strip()
            raise _not_started(text)

    # ------------------------------------------------------------ streams

    def read(self) -> tuple[int, bytes] | None:
        piece = self._read()
        first, self._first = self._first, False
        if first and piece is not None and piece[1].startswith(_NOT_STARTED) and not self._started():
            self._raise_not_started(piece[1])
        return piece

    def _started(self) -> bool:
        """Whether there is, or was, a process; output can come before the engine has written down its number."""
        while True:
            state = self._inspect()
            if state.get("Pid"):
                return True
            if not state["Running"] and state.get("ExitCode") is not None:
                return False
            time.sleep(0.01)

    def _raise_not_started(self, text: bytes) -> None:
        """The engine says on the command's own output that there was no command: make it an error."""
        while (piece := self._read()) is not None:
            text += piece[1]
        raise _not_started(text.decode(errors="replace").strip())

    def _read(self) -> tuple[int, bytes] | None:
        if self._ended:
            return None
        if self._terminal:
            data = self._receive(65536)
            if data:
                return STDOUT, data
        else:
            stream, left = self._frame
            while not left:
                head = self._exactly(8)
                if head is None:
                    break
                stream = STDERR if head[0] == STDERR else STDOUT
                left = int.from_bytes(head[4:8], "big")
            data = self._receive(min(left, 65536)) if left else b""
            if data:
                self._frame = (stream, left - len(data))
                return stream, data
        self._ended = True
        return None

    def _receive(self, size: int) -> bytes:
        try:
            return self._socket.recv(size)
        except OSError:
            return b""

    def _exactly(self, size: int) -> bytes | None:
        data = b""
        while len(data) < size:
            piece = self._receive(size - len(data))
            if not piece:
                return None
            data += piece
        return data

    def write(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise BrokenPipeError(str(error)) from None

    def close_input(self) -> None:
        with contextlib.suppress(OSError):
            if self._terminal:
                self._socket.sendall(b"\x04")  # a half-closed connection would lose the output of a terminal
            else:
                self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()

    # ------------------------------------------------------------ the command

    def resize(self, *, columns: int, rows: int) -> None:
        if not (self._terminal and columns and rows):
            return
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:  # the terminal comes into being a moment after the start
            try:
                self._engine.exec_resize(self._exec, height=rows, width=columns)
            except APIError:
                if not self._runs_or_will():
                    return
                time.sleep(0.02)
            else:
                return

    def _runs_or_will(self) -> bool:
        state = self._inspect()
        return bool(state["Running"]) or state.get("ExitCode") is None

    def signal(self, number: int) -> None:
        state = self._inspect() if self._started() else {"Running": False, "Pid": 0}
        pid = state["Pid"]
        if not state["Running"] or not pid:
            return
        if not _belongs_to(pid, self._container):
            return  # the engine's processes are not visible here: never signal a stranger
        try:
            os.killpg(pid, number)  # exec makes its command the leader of a session and group of its own
        except ProcessLookupError:
            return
        except PermissionError:
            self._signal_within(_pid_within(pid), number)

    def _signal_within(self, pid: int, number: int) -> None:
        """As `signal`, by a second exec: for a user who may use the engine, but not signal root's processes."""
        if not pid:
            return
        command = ["sh", "-c", 'kill -s "$1" -- "-$2"', "sh", str(number), str(pid)]
        with contextlib.suppress(APIError):
            made = self._engine.exec_create(self._container, command, user="0")
            self._engine.exec_start(made["Id"], detach=True)

    def wait(self) -> int:
        deadline = time.monotonic() + _SETTLE
        pause = 0.005
        while True:
            state = self._inspect()
            code = state.get("ExitCode")
            if not state["Running"] and code is not None:
                return int(code)
            if time.monotonic() > deadline:
                raise LabctlError("the command closed its output and goes on running in the node", code="LAB-RUN-002")
            time.sleep(pause)
            pause = min(pause * 2, 0.2)

    def _inspect(self) -> dict[str, Any]:
        with translated("look at a command"):
            try:
                state: dict[str, Any] = self._engine.exec_inspect(self._exec)
            except APIError as error:
                if error.status_code != 404:
                    raise
                return {"Running": False, "ExitCode": 137, "Pid": 0}  # the container is gone, and its execs with it
        return state


def _not_started(text: str) -> LabctlError:
    if missing := re.search(r'exec: \\?"([^"\\]+)\\?": (executable file not found|stat .*no such file)', text):
        return NotStartedError(f"command not found: {missing[1]}", found=False)
    if refused := re.search(r'exec: \\?"([^"\\]+)\\?": permission denied', text):
        return NotStartedError(f"{refused[1]} cannot be executed", found=True)
    if user := re.search(r"unable to find user (\S+?):", text):
        return LabctlError(f"the node has no user {user[1]}", details=[text], code="LAB-RUN-002")
    if re.search(r"chdir to cwd .* no such file|no such file or directory.*cwd", text):
        return LabctlError("the node has no such directory to run the command in", details=[text], code="LAB-RUN-002")
    return LabctlError("the engine did not start the command", details=[text] if text else [], code="LAB-HOST-006")


def _connect(engine: Engine) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(engine.socket_path)
    except OSError as error:
        connection.close()
        raise unreachable(error) from error
    return connection


def _belongs_to(pid: int, container: str) -> bool:
    """Whether the host's process `pid` is one of the container: the engine's idea of a pid may be another's."""
    try:
        return container in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _pid_within(pid: int) -> int:
    """The number that the host's process `pid` has in its innermost pid namespace; 0 when that is not known."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    numbers = next((line.split()[1:] for line in lines if line.startswith("NSpid:")), [])
    return int(numbers[-1]) if numbers else 0
