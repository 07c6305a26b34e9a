"""The ways into a machine for people: commands with open streams, archives, logs."""

from __future__ import annotations

import contextlib
import io
import signal
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from labctl.errors import LabctlError, NotFoundError
from labctl.providers import ssh
from labctl.providers.session import STDERR, STDOUT, Found, LogLine, NotStartedError, PathKind
from labctl.providers.vagrant import journal, machines


class MachineAccess:
    """An `Access` for one machine. `console` is where libvirt writes what it says."""

    def __init__(self, connection: ssh.Connection, console: Path) -> None:
        self._connection = connection
        self._console = console

    def open(
        self,
        command: Sequence[str],
        *,
        user: str = "root",
        environment: Mapping[str, str] | None = None,
        directory: str | None = None,
        terminal: bool = False,
        stdin: bool = False,
    ) -> MachineSession:
        """See `Access.open`."""
        return MachineSession(
            self._connection, command, user, environment or {}, directory, terminal=terminal, stdin=stdin
        )

    def logs(self, *, follow: bool = False, tail: int | None = None, since: float | None = None) -> Iterator[LogLine]:
        """See `Access.logs`: its journal; of a machine that does not run, the end of its console."""
        try:
            session = self.open(journal.words(follow=follow, tail=tail, since=since))
        except LabctlError:
            stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000000000Z")
            for text in machines.tail(self._console, tail or 1000):
                yield LogLine(STDOUT, stamp, f"{text}\n".encode())
            return
        rest = b""
        with contextlib.closing(session):
            while piece := session.read():
                *lines, rest = (rest + piece[1]).split(b"\n")
                yield from map(journal.line, lines)
        if rest:
            yield journal.line(rest)

    def look(self, path: str) -> Found | None:
        """See `Access.look`."""
        script = 'p=$(readlink -e -- "$0") || exit 1; printf "%s\\n" "$p"; stat -c %F -- "$p"'
        done = ssh.run(self._connection, ("sh", "-c", script, path), timeout=60.0)
        if done.code != 0:
            return None
        real, kind = done.stdout.decode().splitlines()[:2]
        kinds: dict[str, PathKind] = {"directory": "directory", "regular file": "file", "regular empty file": "file"}
        return Found(kinds.get(kind, "other"), real)

    def pack(self, path: str) -> IO[bytes]:
        """See `Access.pack`."""
        above, _, name = path.rstrip("/").rpartition("/")
        if self.look(path) is None:
            raise NotFoundError(f"there is no {self._connection.name}:{path}", code="LAB-COPY-001")
        return io.BufferedReader(_Output(self.open(("tar", "-C", above or "/", "-cf", "-", "--", name))))

    def unpack(self, directory: str, tar: IO[bytes]) -> None:
        """See `Access.unpack`."""
        session = self.open(("tar", "-C", directory, "--numeric-owner", "-xpf", "-"), stdin=True)
        with contextlib.closing(session):
            with contextlib.suppress(BrokenPipeError):
                while piece := tar.read(256 * 1024):
                    session.write(piece)
            session.close_input()
            said = b"".join(data for _, data in iter(session.read, None))
            if session.wait() != 0:
                raise LabctlError(
                    f"files cannot be copied into node {self._connection.name}",
                    details=said.decode(errors="replace").splitlines()[-5:],
                    code="LAB-VM-004",
                )


class MachineSession:
    """A `Session` over ssh."""

    def __init__(
        self,
        connection: ssh.Connection,
        command: Sequence[str],
        user: str,
        environment: Mapping[str, str],
        directory: str | None,
        *,
        terminal: bool,
        stdin: bool,
    ) -> None:
        self._connection = connection
        self._command = tuple(command)
        self._channel = connection.channel()
        self._first = True
        if terminal:
            self._channel.get_pty(environment.get("TERM", "xterm-256color"))
        words = ssh.command_line(command, user, environment, directory)
        self._channel.exec_command(words)
        if not stdin and not terminal:
            self._channel.shutdown_write()

    def read(self) -> tuple[int, bytes] | None:
        """See `Session.read`."""
        piece = next(ssh.output(self._channel, float("inf"), None), None)
        if piece is None and self._first and self._channel.exit_status_ready():
            code = self._channel.recv_exit_status()
            if code in (126, 127):
                raise NotStartedError(f"{self._connection.name} has no command {self._command[0]}", found=code == 126)
        self._first = False
        return piece

    def write(self, data: bytes) -> None:
        """See `Session.write`."""
        self._channel.setblocking(1)
        try:
            self._channel.sendall(data)
        except OSError as error:
            raise BrokenPipeError(str(error)) from error

    def close_input(self) -> None:
        """See `Session.close_input`."""
        with contextlib.suppress(*ssh.BROKEN):
            self._channel.shutdown_write()

    def resize(self, *, columns: int, rows: int) -> None:
        """See `Session.resize`."""
        with contextlib.suppress(*ssh.BROKEN):
            self._channel.resize_pty(width=columns, height=rows)

    def signal(self, number: int) -> None:
        """See `Session.signal`."""
        name = signal.Signals(number).name.removeprefix("SIG")
        ssh.send_signal(self._channel, name)

    def wait(self) -> int:
        """See `Session.wait`."""
        code: int = self._channel.recv_exit_status()
        return code if code >= 0 else 255

    def close(self) -> None:
        """See `Session.close`."""
        self._channel.close()


class _Output(io.RawIOBase):
    """What a command writes to its output, as a file."""

    def __init__(self, session: MachineSession) -> None:
        self._session = session
        self._left = b""
        self._said = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            piece = self._session.read()
            if piece is None:
                if self._session.wait() != 0:
                    raise LabctlError(
                        "copying broke off",
                        details=self._said.decode(errors="replace").splitlines()[-5:],
                        code="LAB-VM-004",
                    )
                return 0
            if piece[0] == STDERR:
                self._said += piece[1]
            else:
                self._left = piece[1]
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def close(self) -> None:
        self._session.close()
        super().close()
