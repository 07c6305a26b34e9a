"""TCP from ports of this host's 127.0.0.1 to ports of a node, for as long as it is wanted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from labctl.errors import ConflictError, LabctlError, UsageError

CONNECT = 5.0
"""Seconds within which a node must accept a connection."""

_PIECE = 256 * 1024


class Writer(Protocol):
    """What is used of a stream that is written to, a socket's or a process's."""

    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    def can_write_eof(self) -> bool: ...
    def write_eof(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Way:
    """How connections reach a node: at its `address`, else (when that refuses) through `tunnel`.

    `tunnel` gives a command, by port, whose standard input and output are a connection to that port of the node's own
    127.0.0.1; None where there is no such command.
    """

    node: str
    address: str | None
    tunnel: Callable[[int], Sequence[str]] | None = field(default=None)


@dataclass(frozen=True, slots=True)
class Rule:
    """One port of the node and the local port for it; 0 takes a free one."""

    port: int
    local: int = 0


def parse_rule(text: str) -> Rule:
    """``8080`` or ``8080:18080`` (the node's port first). Raises `UsageError`."""
    match = re.fullmatch(r"([0-9]{1,5})(?::([0-9]{1,5}))?", text)
    numbers = [int(number) for number in match.groups() if number is not None] if match else []
    if not numbers or not all(0 < number < 65536 for number in numbers):
        raise UsageError(f"{text} is no port", hint="write 8080, or 8080:18080 for port 18080 of this host")
    return Rule(*numbers)


async def forward(
    way: Way, rules: Sequence[Rule], *, ready: Callable[[Rule], None], said: Callable[[str], None]
) -> None:
    """Serve until cancelled. `ready` is called with every rule once it listens, its local port filled in.

    `said` takes a sentence when a connection could not be made later on. Raises `LabctlError` when nothing listens in
    the node, `ConflictError` when a local port is taken.
    """
    await asyncio.gather(*(_probe(way, rule.port) for rule in rules))
    servers: list[asyncio.Server] = []
    try:
        for rule in rules:
            server = await _listen(way, rule, said)
            servers.append(server)
            ready(Rule(rule.port, server.sockets[0].getsockname()[1]))
        await asyncio.Event().wait()
    finally:
        for server in servers:
            server.close()


async def _listen(way: Way, rule: Rule, said: Callable[[str], None]) -> asyncio.Server:
    at_work: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The loop itself forgets a task whose connections it watches no more (one direction has ended): hold it.
        task = asyncio.current_task()
        at_work.add(task)
        try:
            await _carry(way, rule.port, reader, writer)
        except (LabctlError, OSError) as error:
            said(f"{way.node}:{rule.port}: {error}")
            with contextlib.suppress(OSError):
                writer.transport.abort()
        finally:
            at_work.discard(task)

    try:
        return await asyncio.start_server(serve, "127.0.0.1", rule.local, limit=_PIECE)
    except OSError as error:
        raise ConflictError(
            f"port {rule.local} of this host is in use already" if rule.local else "no port of this host is free",
            taken=f"port 127.0.0.1:{rule.local}",
            retry=False,
            details=[str(error)],
            hint=f"leave the port out to have a free one chosen: labctl forward {way.node} {rule.port}",
            code="LAB-NET-004",
        ) from error


async def _probe(way: Way, port: int) -> None:
    """Connect once and let go, so that a wrong port is an error now and not an empty page later."""
    _, writer, process = await _connect(way, port)
    if process is not None:
        # The tunnel is up at once, its end in the node is not: it gives up when nobody is there.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 1.5)
        if process.returncode is not None:
            raise _nobody(way, port)
    writer.close()
    await _end(process)


async def _connect(way: Way, port: int) -> tuple[asyncio.StreamReader, Writer, asyncio.subprocess.Process | None]:
    if way.address is not None:
        try:
            async with asyncio.timeout(CONNECT):
                reader, writer = await asyncio.open_connection(way.address, port, limit=_PIECE)
        except TimeoutError:
            raise LabctlError(
                f"{way.node} does not answer at {way.address}", hint=f"labctl status {way.node}", code="LAB-NET-008"
            ) from None
        except OSError:
            if way.tunnel is None:
                raise _nobody(way, port) from None
        else:
            return reader, writer, None
    if way.tunnel is None:
        raise LabctlError(f"{way.node} is on no network", hint="give it one with `networks:`", code="LAB-NODE-008")
    process = await asyncio.create_subprocess_exec(
        *way.tunnel(port),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        limit=_PIECE,
        start_new_session=True,  # a Ctrl-C at the terminal is ours to handle
    )
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdout, process.stdin, process


def _nobody(way: Way, port: int) -> LabctlError:
    return LabctlError(
        f"nothing listens on port {port} of {way.node}",
        hint=f"labctl exec {way.node} -- ss -ltn shows what does" if way.tunnel else None,
        code="LAB-NET-008",
    )


async def _carry(way: Way, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, both ways at once: the end of one direction is passed on while the other goes on."""
    far_reader, far_writer, process = await _connect(way, port)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy(reader, far_writer))
            group.create_task(_copy(far_reader, writer))
    except* (ConnectionError, OSError):
        writer.transport.abort()
    finally:
        far_writer.close()
        writer.close()
        await _end(process)


async def _copy(reader: asyncio.StreamReader, writer: Writer) -> None:
    while data := await reader.read(_PIECE):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _end(process: asyncio.subprocess.Process | None) -> None:
    if process is None:
        return
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    await process.wait()


def ssh_tunnel(config: os.PathLike[str] | str, node: str) -> Callable[[int], Sequence[str]]:
    """A `Way.tunnel` by the ssh client and the lab's ssh configuration."""
    return lambda port: ("ssh", "-F", os.fspath(config), "-o", "ConnectTimeout=5", "-W", f"127.0.0.1:{port}", node)
