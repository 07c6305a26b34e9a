"""One address for all portals of a target, in the node's own network namespace: what the initiator talks to.

One portal is active. All are tried every second; when the active one is silent, its connection is cut, and the
initiator, which logs in again and repeats what was not answered, comes out at another one. Who connects while no portal
answers is kept waiting instead of being refused: it would come back later and later.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress

INTERVAL = 1.0
PATIENCE = 1.0
SILENT = 3
"""Attempts in a row that get no answer until a portal counts as down; a refusal counts at once."""

_PIPE = 1 << 20
_RESET = struct.pack("ii", 1, 0)


class Relay:
    """Listens at `address`; `hold` stops all traffic for a while without an error for who uses it."""

    def __init__(self, portals: list[str]) -> None:
        self._portals = [(host, int(port)) for host, _, port in (portal.rpartition(":") for portal in portals)]
        self._silent = dict.fromkeys(self._portals, SILENT)
        self._errors: dict[tuple[str, int], str] = {}
        self._active: tuple[str, int] | None = None
        self._held = False
        self._changed = threading.Condition()
        self._open: set[tuple[socket.socket, socket.socket | None]] = set()
        self._ended = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=8)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        for portal in self._portals:
            self._start(self._watch, portal)
        self._start(self._accept)

    def close(self) -> None:
        """Cut everything."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut()

    def hold(self, *, on: bool) -> None:
        """Cut the connection and keep who comes back waiting, until it is off again."""
        with self._changed:
            if on == self._held:
                return
            self._held = on
            self._changed.notify_all()
        if on:
            self._cut()

    @property
    def held(self) -> bool:
        """Whether traffic is stopped."""
        return self._held

    @property
    def carries(self) -> bool:
        """Whether the initiator is connected to a portal."""
        return bool(self._open) and not self._held

    def paths(self) -> tuple[str, list[str], list[str]]:
        """The active portal ("" for none), those that stand by, those that are down."""
        with self._changed:
            name = {portal: f"{portal[0]}:{portal[1]}" for portal in self._portals}
            up = [portal for portal in self._portals if self._silent[portal] < SILENT]
            active = self._active if self._active in up else None
            standby = [name[portal] for portal in up if portal != active]
            down = [name[portal] for portal in self._portals if portal not in up]
            return (name[active] if active else "", standby, down)

    def why_down(self) -> str:
        """ "refused" when a portal's host answers and its service does not, else "silent"."""
        with self._changed:
            return "refused" if "refused" in self._errors.values() else "silent"

    def wait(self, seconds: float) -> bool:
        """Whether a portal answers within that time."""
        with self._changed:
            self._changed.wait_for(lambda: self._active is not None or self._ended, seconds)
            return self._active is not None

    # ------------------------------------------------------------ portals

    def _watch(self, portal: tuple[str, int]) -> None:
        while not self._ended:
            began = time.monotonic()
            try:
                socket.create_connection(portal, PATIENCE).close()
            except ConnectionRefusedError:
                self._heard(portal, "refused")
            except OSError:
                self._heard(portal, "silent")
            else:
                self._heard(portal, "")
            time.sleep(max(0.0, INTERVAL - (time.monotonic() - began)))

    def _heard(self, portal: tuple[str, int], error: str) -> None:
        cut = False
        with self._changed:
            self._errors[portal] = error
            self._silent[portal] = 0 if not error else SILENT if error == "refused" else self._silent[portal] + 1
            up = [each for each in self._portals if self._silent[each] < SILENT]
            if self._active not in up:
                cut = self._active is not None
                # Of those that answer, the one that answered last: not one that is about to be found silent too.
                self._active = min(up, key=lambda each: self._silent[each], default=None)
                self._changed.notify_all()
        if cut:
            self._cut()

    def _cut(self) -> None:
        with self._changed:
            pairs, self._open = self._open, set()
        for client, upstream in pairs:
            for each in (upstream, client):
                if each is not None:
                    _abort(each)

    # ------------------------------------------------------------ connections

    def _start(self, what: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=what, args=arguments, daemon=True).start()

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or (self._active is not None and not self._held))
            portal = self._active
        upstream = None
        if portal is not None and not self._ended:
            with suppress(OSError):
                upstream = socket.create_connection(portal, PATIENCE)
        if upstream is None:
            _abort(client)
            return
        for each in (client, upstream):
            each.settimeout(None)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = (client, upstream)
        with self._changed:
            good = self._active == portal and not self._held and not self._ended
            if good:
                self._open.add(pair)
        if not good:
            _abort(upstream)
            _abort(client)
            return
        back = threading.Thread(target=_carry, args=(upstream, client), daemon=True)
        back.start()
        _carry(client, upstream)
        back.join()
        with self._changed:
            self._open.discard(pair)
        for each in (upstream, client):
            _abort(each)


def _carry(source: socket.socket, target: socket.socket) -> None:
    """Carry bytes until one side ends; then both are ended."""
    out, into = os.pipe()
    with suppress(OSError):
        fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, _PIPE)
    try:
        with suppress(OSError):
            while moved := os.splice(source.fileno(), into, _PIPE):
                while moved:
                    moved -= os.splice(out, target.fileno(), moved)
    finally:
        os.close(out)
        os.close(into)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _abort(one: socket.socket) -> None:
    """Close without delivering what is still to be sent: an old write must not arrive after a newer one."""
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
