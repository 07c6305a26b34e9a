"""A process of the host that belongs to one lab and outlives the labctl that started it.

It is known by a name in the kernel's own table of sockets: no second one can have that name, no file of it is left,
and it is gone with the process, however that ends. There root and its own user can ask it, a word and a line of JSON
in return: ``state``, ``again`` (read your files again), ``end``.

    resident.py NAME PROGRAM [ADDRESS:PORT]

returns when the process serves, or says on stderr why it does not; exit code 97 means that the name is taken, 98 that
the port is.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, Protocol

ROOT = Path(__file__).resolve().parents[3]
TAKEN, IN_USE = 97, 98


class Program(Protocol):
    """What the process is there for; made, it serves."""

    def again(self) -> dict[str, Any]:
        """Read the files again. Returns what is to be told of it."""


def gateway(place: str) -> Program:
    """The desktops of the lab at one port; it sees by itself when its file has changed."""
    from gateway import CONFIGURATION, Gateway

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    address, _, port = place.rpartition(":")
    server = Gateway((address, int(port)), CONFIGURATION)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    class Desktops:
        def again(self) -> dict[str, Any]:
            return {}

    return Desktops()


def ports(_: str) -> Program:
    """Ports of the lab's machines on ports of this host."""
    from forward import Forwarder

    return Forwarder(ROOT / "etc/lab/ports.json")


PROGRAMS: dict[str, Callable[[str], Program]] = {"gateway": gateway, "ports": ports}


def serve(name: str, program: Program, listener: socket.socket) -> NoReturn:
    """Answer those who may ask, one after another, until one says that it is over."""
    while True:
        asking, _ = listener.accept()
        with asking:
            try:
                asking.settimeout(5)
                answer(asking, program)
            except OSError:
                continue


def answer(asking: socket.socket, program: Program) -> None:
    _, uid, _ = struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid not in (0, os.getuid()):
        return
    word = asking.recv(64).decode(errors="replace").strip()
    if word == "end":
        os._exit(0)
    told = program.again() if word == "again" else {}
    asking.sendall(json.dumps({"root": str(ROOT), **told}).encode() + b"\n")


def main(name: str, kind: str, place: str = "") -> None:
    ready, says = os.pipe()
    if os.fork():
        os.close(says)
        said = os.read(ready, 1)
        sys.exit(said[0] if said else 1)
    os.close(ready)
    os.setsid()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    code = TAKEN
    try:
        listener.bind(f"\0{name}")
        code = IN_USE
        program = PROGRAMS[kind](place)
        listener.listen(16)
    except Exception as error:
        print(error, file=sys.stderr, flush=True)
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        os.write(says, bytes([code if taken else 1]))
        os._exit(1)
    # Whoever started it waits for its streams to end.
    log = os.open(ROOT / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    for number, stream in enumerate((os.open(os.devnull, os.O_RDONLY), log, log)):
        os.dup2(stream, number)
    os.write(says, b"\0")
    os.close(says)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Thread(target=serve, args=(name, program, listener), daemon=True).start()
    while True:
        signal.pause()


if __name__ == "__main__":
    os.umask(0o077)
    main(*sys.argv[1:])
