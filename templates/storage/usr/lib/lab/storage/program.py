"""The program: follows storage.json, writes state.json, ends on SIGTERM with everything taken down."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from storage import kernel, loop
from storage.iscsi import IscsiDevice, IscsiVolume
from storage.nfs import NfsVolume
from storage.state import State
from storage.volume import Life

CONFIGURATION = Path("/etc/lab/storage.json")
_LOOK = 0.2
_BEAT = 1.0
_END = 8.0
_ALONE = 60.0
"""Seconds without any network after which the node is taken for gone: nothing could ever be written any more."""


Volumes = Callable[[dict[str, Any]], dict[str, tuple[type[Life], dict[str, Any]]]]


class Program:
    """All volumes of storage.json, by name; `volumes` says what each of them is."""

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes
        self._state = State()
        self._lives: dict[str, Life] = {}
        self._stamp: tuple[int, int] | None = None
        self._numbers: list[int] = []
        self._ended = threading.Event()

    def end(self, *_: object) -> None:
        """Ask it to end."""
        self._ended.set()

    def run(self) -> int:
        """Until it is asked to end, or its node is gone."""
        beat = connected = time.monotonic()
        while not self._ended.wait(_LOOK):
            self._follow()
            now = time.monotonic()
            if now - beat >= _BEAT:
                beat = now
                self._state.write()
                if len(socket.if_nameindex()) > 1:
                    connected = now
                elif now - connected > _ALONE:
                    print("the node's network is gone", flush=True)
                    break
        self._finish(list(self._lives))
        # Also what an earlier run left that was killed.
        for number in self._numbers:
            loop.remove(number)
        return 0

    def _follow(self) -> None:
        """Take up what storage.json says when it changed; one that cannot be read leaves everything as it is."""
        try:
            status = CONFIGURATION.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp == self._stamp:
                return
            data = json.loads(CONFIGURATION.read_text())
            wanted = self._volumes(data)
        except (OSError, ValueError, KeyError, TypeError) as error:
            if self._stamp is not None or not isinstance(error, FileNotFoundError):
                print(f"{CONFIGURATION} cannot be read: {type(error).__name__}", flush=True)
            return
        self._stamp = stamp
        self._numbers = [device["loop"] for device in data.get("devices", ()) if "loop" in device]
        old = [
            name
            for name, life in self._lives.items()
            if name not in wanted or not isinstance(life, wanted[name][0]) or not life.changed(wanted[name][1])
        ]
        self._finish(old)
        for name, (kind, volume) in wanted.items():
            if name not in self._lives:
                self._lives[name] = kind(volume, self._state)
                self._lives[name].start()

    def _finish(self, names: list[str]) -> None:
        lives = [self._lives.pop(name) for name in names]
        for life in lives:
            life.stop()
        deadline = time.monotonic() + _END
        for life in lives:
            life.join(deadline - time.monotonic())


def volumes(data: dict[str, Any]) -> dict[str, tuple[type[Life], dict[str, Any]]]:
    kinds: dict[str, type[Life]] = {"nfs": NfsVolume, "iscsi": IscsiVolume}
    wanted: dict[str, tuple[type[Life], dict[str, Any]]] = {}
    for mount in data.get("mounts", ()):
        wanted[mount["volume"]] = (kinds[mount["kind"]], mount)
    for device in data.get("devices", ()):
        wanted[device["volume"]] = (IscsiDevice, device)
    return wanted


def main() -> int:
    """The storage container's program."""
    for place in ("/lab/probe", "/lab/mounts"):
        Path(place).mkdir(parents=True, exist_ok=True)
    program = Program(volumes)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, program.end)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    # What is mounted here is for the node alone: nothing comes in from outside, nothing goes out by itself.
    kernel.make_private("/")
    return program.run()
