"""A way into a running container: commands with clean bytes and a deadline, files in and out."""

from __future__ import annotations

import io
import os
import secrets
import signal
import tarfile
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from labctl.errors import DeadlineError, LabctlError, NotFoundError
from labctl.providers.archive import archive
from labctl.providers.base import Line, Result
from labctl.providers.docker.client import APIError, Engine
from labctl.providers.docker.errors import explain, translated
from labctl.providers.docker.stream import Stream
from labctl.recipe import Entry

MARK = "LABCTL_EXEC"
"""The variable by which the processes of one command are known again: children inherit it."""

_KILL = r"""
found=$(grep -lsF "$1" /proc/[0-9]*/environ | tr -dc '0-9\n')
while :; do
    more=
    for status in /proc/[0-9]*/status; do
        pid=${status#/proc/}; pid=${pid%/status}
        parent=$(sed -n 's/^PPid:[^0-9]*//p' "$status" 2>/dev/null) || continue
        case " $(echo $found) " in *" $pid "*) continue ;; *" $parent "*) more="$more $pid" ;; esac
    done
    [ -n "$more" ] || break
    found="$found $more"
done
[ -z "$found" ] || kill -9 $found
"""
"""Ends all processes with a mark, and their descendants (a child may have dropped its environment)."""


class DockerShell:
    """`Shell` over the engine's exec. `container` is its id or name."""

    def __init__(self, engine: Engine, container: str, node: str) -> None:
        self._engine = engine
        self._container = container
        self._node = node

    def run(
        self,
        command: Sequence[str],
        *,
        user: str = "root",
        stdin: bytes = b"",
        timeout: float,
        environment: dict[str, str] | None = None,
        on_line: Line | None = None,
        check: Callable[[], None] | None = None,
    ) -> Result:
        """See `Shell.run`. When it does not end (deadline, Ctrl-C), what it started in the node is killed."""
        mark = secrets.token_hex(8)
        until = time.monotonic() + timeout
        created = self._create(command, user, {**(environment or {}), MARK: mark})
        output: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
        lines = _Lines(on_line)
        try:
            with self._start(created, timeout=timeout) as stream:
                for kind, data in stream.frames(stdin, until=until, check=check):
                    output.setdefault(kind, bytearray()).extend(data)
                    lines.add(kind, data)
        except TimeoutError:
            self._kill(created, mark)
            lines.close()
            raise DeadlineError(
                f"a command in node {self._node} did not end within {timeout:g} s",
                details=[" ".join(command)[:200], *_last_lines(output[1], output[2])],
                hint="give it more time, or see what it waits for: labctl exec",
                code="LAB-WAIT-003",
            ) from None
        except BaseException:
            self._kill(created, mark)
            raise
        lines.close()
        return Result(self._code(created), bytes(output[1]), bytes(output[2]))

    def put(self, entries: Collection[Entry]) -> None:
        """See `Shell.put`."""
        if entries:
            with translated(f"write files into node {self._node}"):
                self._engine.put_archive(self._container, "/", archive(entries))

    def get(self, path: str) -> bytes:
        """See `Shell.get`. A link is followed."""
        for _ in range(8):
            with translated(f"read {path} in node {self._node}"):
                try:
                    chunks, _stat = self._engine.get_archive(self._container, path)
                except APIError as error:
                    if error.status_code == 404:
                        break
                    raise
                data = b"".join(chunks)
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                member = tar.next()
                file = tar.extractfile(member) if member is not None and member.isfile() else None
                if file is not None:
                    return file.read()
                if member is None or not member.issym():
                    raise NotFoundError(f"{path} in node {self._node} is not a file", code="LAB-COPY-001")
                path = os.path.normpath(os.path.join(os.path.dirname(path), member.linkname))
        raise NotFoundError(f"there is no file {path} in node {self._node}", code="LAB-COPY-001")

    # ------------------------------------------------------------ exec

    def _create(self, command: Sequence[str], user: str, environment: dict[str, str]) -> str:
        with translated(f"run a command in node {self._node}"):
            try:
                made = self._engine.exec_create(
                    self._container,
                    list(command),
                    stdin=True,
                    user=user,
                    environment=[f"{name}={value}" for name, value in environment.items()],
                )
            except APIError as error:
                if error.status_code in (404, 409):
                    raise LabctlError(
                        f"node {self._node} is not running",
                        details=[str(error.explanation)],
                        hint=f"labctl start {self._node}",
                        code="LAB-NODE-001",
                    ) from error
                raise
        return str(made["Id"])

    def _start(self, created: str, *, timeout: float) -> Stream:
        path = f"/v{self._engine._version}/exec/{created}/start"
        try:
            return Stream(self._engine.socket_path, path, {"Detach": False, "Tty": False}, timeout=timeout)
        except LabctlError as error:
            raise explain(error.message, f"run a command in node {self._node}") from error

    def _code(self, created: str) -> int:
        with translated(f"see how a command in node {self._node} ended"):
            for _ in range(500):
                state = self._engine.exec_inspect(created)
                if not state["Running"] and state["ExitCode"] is not None:
                    return int(state["ExitCode"])
                time.sleep(0.01)
        raise LabctlError(
            f"a command in node {self._node} closed its output and goes on",
            hint="let it run in the background with its output elsewhere, or as a service",
            code="LAB-RUN-002",
        )

    def _kill(self, created: str, mark: str) -> None:
        """End what a command started. Where the node has no shell, only the command itself, and only for root."""
        with suppress(LabctlError, OSError, APIError):
            killer = self._create(["sh", "-c", _KILL, "sh", f"{MARK}={mark}"], "root", {})
            with self._start(killer, timeout=10) as stream:
                for _ in stream.frames(b"", until=time.monotonic() + 10):
                    pass
            if self._code(killer) == 0:
                return
        with suppress(LabctlError, OSError, APIError):
            pid = self._engine.exec_inspect(created)["Pid"]
            if pid:
                os.kill(pid, signal.SIGKILL)


class _Lines:
    """Cuts two streams into whole lines and hands them on as they are complete."""

    def __init__(self, on_line: Line | None) -> None:
        self._on_line = on_line
        self._rest: dict[int, bytes] = {}

    def add(self, kind: int, data: bytes) -> None:
        if self._on_line is None:
            return
        *lines, self._rest[kind] = (self._rest.get(kind, b"") + data).split(b"\n")
        for line in lines:
            self._on_line(line.decode(errors="replace").rstrip("\r"))

    def close(self) -> None:
        for rest in self._rest.values():
            if rest and self._on_line is not None:
                self._on_line(rest.decode(errors="replace").rstrip("\r"))


def _last_lines(*streams: bytearray, count: int = 5) -> list[str]:
    text = b"\n".join(bytes(stream) for stream in streams).decode(errors="replace")
    return [line for line in text.splitlines() if line.strip()][-count:]
