"""A way into a node over ssh: one connection for all commands of a run. The only module that knows the SDK.

Commands come as an argument vector and run under the user that is asked for: who logs in is `lab`, who may be anybody.
"""

from __future__ import annotations

import contextlib
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import paramiko

from labctl.errors import DeadlineError, LabctlError
from labctl.providers.base import Line, Result
from labctl.providers.session import STDERR, STDOUT

LOGIN = "lab"
CONNECT_TIMEOUT = 30.0
_BLOCK = 65536

BROKEN = (OSError, EOFError, paramiko.SSHException)
"""What a channel raises when the other side is gone."""


class Connection:
    """One node. It connects on first use, again when the node was started anew, and may be used from many threads.

    `host_key` gives the node's public key (type and key) when it is known: another one is refused.
    """

    def __init__(self, name: str, address: str, key: Path, host_key: Callable[[], str | None]) -> None:
        self.name, self.address = name, address
        self._key, self._host_key = key, host_key
        self._lock = threading.Lock()
        self._client: paramiko.SSHClient | None = None

    def channel(self) -> paramiko.Channel:
        """A new channel. Raises `LabctlError` when the node does not let us in."""
        with self._lock:
            for attempt in (1, 2):
                transport = self._client.get_transport() if self._client is not None else None
                if transport is None or not transport.is_active():
                    self._client = self._connect()
                    transport = self._client.get_transport()
                assert transport is not None
                try:
                    return transport.open_session(timeout=CONNECT_TIMEOUT)
                except BROKEN as error:
                    self._drop()
                    if attempt == 2:
                        raise self._refused(error) from error
        raise AssertionError

    def close(self) -> None:
        """Let go of the connection, if there is one."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.close()
            self._client = None

    def _connect(self) -> paramiko.SSHClient:
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(_Expected(self.name, self._host_key()))
        try:
            client.connect(
                self.address,
                username=LOGIN,
                key_filename=str(self._key),
                timeout=CONNECT_TIMEOUT,
                banner_timeout=CONNECT_TIMEOUT,
                auth_timeout=CONNECT_TIMEOUT,
                allow_agent=False,
                look_for_keys=False,
            )
        except BROKEN as error:
            client.close()
            raise self._refused(error) from error
        transport = client.get_transport()
        if transport is not None:
            transport.set_keepalive(30)
        return client

    def _refused(self, error: Exception) -> LabctlError:
        if isinstance(error, paramiko.AuthenticationException):
            return LabctlError(
                f"node {self.name} runs, and does not know the lab's key",
                details=[f"{self.address}: {error}"],
                hint=f"make it anew: labctl down, then labctl up; what it says: labctl logs {self.name}",
                code="LAB-VM-004",
            )
        return LabctlError(
            f"node {self.name} does not answer over ssh",
            details=[f"{self.address}: {error or type(error).__name__}"],
            hint=f"see what it says: labctl logs {self.name}",
            code="LAB-VM-004",
        )


class _Expected(paramiko.MissingHostKeyPolicy):
    def __init__(self, name: str, known: str | None) -> None:
        self._name, self._known = name, known

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Refuse a key that is not the one that the node said on its console."""
        shown = f"{key.get_name()} {key.get_base64()}"
        if self._known is not None and shown != self._known:
            raise paramiko.SSHException(f"what answers for {self._name} is not that node: its host key is another")


def command_line(
    command: Sequence[str], user: str, environment: Mapping[str, str] | None, directory: str | None = None
) -> str:
    """`command` for the login shell of `lab`, so that it runs as `user` with these variables."""
    words = ["sudo", "-n", "-H", "-u", user, "--"]
    if environment:
        words += ["env", *(f"{name}={value}" for name, value in environment.items())]
    words += ["sh", "-c", 'cd "$0" && exec "$@"', directory or "/"]
    return shlex.join([*words, *command])


def output(channel: paramiko.Channel, end: float, check: Callable[[], None] | None) -> Iterator[tuple[int, bytes]]:
    """What a command says, in pieces, until it ends. Raises `TimeoutError` at `end` (monotonic seconds)."""
    channel.setblocking(0)
    while True:
        idle = True
        for ready, read, stream in (
            (channel.recv_ready, channel.recv, STDOUT),
            (channel.recv_stderr_ready, channel.recv_stderr, STDERR),
        ):
            while ready():
                data = read(_BLOCK)
                if not data:
                    break
                idle = False
                yield stream, data
        if idle:
            if channel.exit_status_ready() and channel.eof_received:
                return
            if channel.closed:
                return
            if check is not None:
                check()
            if time.monotonic() >= end:
                raise TimeoutError
            time.sleep(0.01)


def send_signal(channel: paramiko.Channel, name: str) -> None:
    """Have the server signal the command (``TERM``); the SDK itself has no word for it."""
    message = paramiko.Message()
    message.add_byte(b"\x62")  # a request on a channel
    message.add_int(channel.remote_chanid)
    message.add_string("signal")
    message.add_boolean(False)  # noqa: FBT003
    message.add_string(name)
    with contextlib.suppress(*BROKEN):
        channel.get_transport()._send_user_message(message)  # type: ignore[attr-defined]


def feed(channel: paramiko.Channel, data: bytes) -> None:
    """Give a command its whole standard input, and end it."""
    channel.setblocking(1)
    with contextlib.suppress(OSError, socket.timeout):
        for start in range(0, len(data), _BLOCK):
            channel.sendall(data[start : start + _BLOCK])
        channel.shutdown_write()


def run(
    connection: Connection,
    command: Sequence[str],
    *,
    user: str = "root",
    stdin: bytes = b"",
    timeout: float,
    environment: Mapping[str, str] | None = None,
    on_line: Line | None = None,
    check: Callable[[], None] | None = None,
) -> Result:
    """Run `command` and wait; see `Shell.run`."""
    end = time.monotonic() + timeout
    said: dict[int, bytearray] = {STDOUT: bytearray(), STDERR: bytearray()}
    lines = _Lines(on_line)
    with contextlib.closing(connection.channel()) as channel:
        channel.settimeout(max(min(timeout, CONNECT_TIMEOUT), 1.0))
        channel.exec_command(command_line(command, user, environment))
        feeding = threading.Thread(target=feed, args=(channel, stdin), daemon=True)
        if len(stdin) > _BLOCK:
            feeding.start()
        else:
            feed(channel, stdin)
        try:
            for stream, data in output(channel, end, check):
                said[stream] += data
                lines.add(stream, data)
        except TimeoutError:
            lines.close()
            last = bytes(said[STDOUT] + said[STDERR]).decode(errors="replace").splitlines()[-8:]
            raise DeadlineError(
                f"a command in node {connection.name} did not end within {timeout:g} s",
                details=[" ".join(command)[:200], *last],
                hint="give it more time, or see what it waits for: labctl exec",
                code="LAB-WAIT-003",
            ) from None
        lines.close()
        return Result(channel.recv_exit_status(), bytes(said[STDOUT]), bytes(said[STDERR]))


class _Lines:
    """Cuts what comes in pieces into lines."""

    def __init__(self, on_line: Line | None) -> None:
        self._on_line = on_line
        self._rest: dict[int, bytes] = {}

    def add(self, stream: int, data: bytes) -> None:
        if self._on_line is None:
            return
        *whole, self._rest[stream] = (self._rest.get(stream, b"") + data).split(b"\n")
        for line in whole:
            self._on_line(line.decode(errors="replace"))

    def close(self) -> None:
        for rest in self._rest.values():
            if rest and self._on_line is not None:
                self._on_line(rest.decode(errors="replace"))
