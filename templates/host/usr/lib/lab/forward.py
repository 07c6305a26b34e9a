"""Ports of a lab's machines on ports of this host, TCP and UDP, as one file says: see `Forwarder`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from pathlib import Path
from typing import Any, cast

Place = tuple[str, str, int]
"""Protocol, address and port on this host."""
Target = tuple[str, int]
"""Address and port of a machine."""

CONNECT_TIMEOUT = 10.0
QUIET = 60.0
"""Seconds after which who sent a datagram is forgotten, unless something went either way."""
BLOCK = 1 << 16


class Forwarder:
    """Listens where `file` says: a list of objects with protocol, address, port (here), to_address, to_port.

    What cannot be listened at is told by `again`, with the port, and tried anew each time; all else works meanwhile.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._open: dict[Place, Tcp | Udp] = {}
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.again()

    def again(self) -> dict[str, Any]:
        """Bring what is listened at to what the file says. Returns the ports that failed, with the reason of each."""
        listed = json.loads(self._file.read_text())
        wanted = {
            (each["protocol"], each["address"], each["port"]): (each["to_address"], each["to_port"]) for each in listed
        }
        return asyncio.run_coroutine_threadsafe(self._bring(wanted), self._loop).result(10)

    async def _bring(self, wanted: dict[Place, Target]) -> dict[str, Any]:
        failed = []
        for place in [each for each in self._open if each not in wanted]:
            self._open.pop(place).close()
        for place, target in wanted.items():
            if place in self._open:
                self._open[place].target = target
                continue
            kind: type[Tcp | Udp] = Tcp if place[0] == "tcp" else Udp
            try:
                self._open[place] = await kind.listen(place, target)
            except OSError as error:
                failed.append({"port": place[2], "reason": error.strerror or str(error)})
        return {"failed": failed}


# ---------------------------------------------------------------- TCP


class Tcp:
    """One listening port; each connection gets one to the machine, and an end of either half goes through."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def listen(cls, place: Place, target: Target) -> Tcp:
        made = cls(target)
        made._server = await asyncio.start_server(made._connected, place[1], place[2], limit=BLOCK)
        return made

    def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._tasks.add(task)
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await asyncio.wait_for(asyncio.open_connection(*self.target, limit=BLOCK), CONNECT_TIMEOUT)
            await asyncio.gather(pump(reader, there), pump(back, writer))
            there.close()
            writer.close()
        except (OSError, asyncio.TimeoutError, asyncio.CancelledError):
            for each in (writer, there):
                if each is not None:
                    each.transport.abort()
        finally:
            self._tasks.discard(task)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way until that side has said all."""
    while data := await reader.read(BLOCK):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


# ---------------------------------------------------------------- UDP


class Udp(asyncio.DatagramProtocol):
    """One listening port; each sender gets a socket of its own to the machine, so that answers find back."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._senders: dict[Any, Answers] = {}

    @classmethod
    async def listen(cls, place: Place, target: Target) -> Udp:
        loop = asyncio.get_running_loop()
        _, made = await loop.create_datagram_endpoint(lambda: cls(target), local_addr=(place[1], place[2]))
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, sender: Any) -> None:
        now = time.monotonic()
        for each in [each for each, known in self._senders.items() if now - known.last > QUIET]:
            self._senders.pop(each).close()
        known = self._senders.get(sender)
        if known is None:
            known = self._senders[sender] = Answers(self.transport, sender, now)
            known.task = asyncio.ensure_future(known.connect(self.target))
        known.send(data, now)

    def close(self) -> None:
        self.transport.close()
        for each in self._senders.values():
            each.close()


class Answers(asyncio.DatagramProtocol):
    """The way to the machine for one sender, and what comes back on it."""

    task: asyncio.Task[None]

    def __init__(self, listener: asyncio.DatagramTransport, sender: Any, now: float) -> None:
        self._listener, self._sender, self.last = listener, sender, now
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: list[bytes] = []

    async def connect(self, target: Target) -> None:
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, remote_addr=target)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        for data in self._waiting:
            self._transport.sendto(data)
        self._waiting.clear()

    def send(self, data: bytes, now: float) -> None:
        self.last = now
        if self._transport is None:
            self._waiting.append(data)
        else:
            self._transport.sendto(data)

    def datagram_received(self, data: bytes, _: Any) -> None:
        self.last = time.monotonic()
        self._listener.sendto(data, self._sender)

    def close(self) -> None:
        self.task.cancel()
        if self._transport is not None:
            self._transport.close()
