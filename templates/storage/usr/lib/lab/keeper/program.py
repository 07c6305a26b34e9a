"""The keeper's commands: `run` (what the container runs), `release NODE…` and `check` (by exec)."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from typing import Any

from keeper import engine, inside, paths
from keeper.engine import Container, EngineError
from keeper.node import Node, Starter
from keeper.release import is_released, release

_ROUND = 1.0
_LOOK_AGAIN = 15.0
"""Seconds after which the engine is asked for everything again, though it told of no event."""


class Keeper:
    """Goes round all nodes every second, and at once when the engine tells of something."""

    def __init__(self) -> None:
        self._wake = threading.Event()
        self._ended = False
        self._nodes: dict[str, Node] = {}
        self._disks: dict[str, tuple[Starter, str]] = {}
        self._containers: dict[str, Container | None] = {}
        self._asked = 0.0

    def run(self) -> int:
        """Until SIGTERM. Nodes keep their mounts then."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        lab = ""
        while not self._ended:
            wanted = paths.read(paths.CONFIGURATION)
            if wanted.get("lab", "") != lab:
                lab = wanted["lab"]
                threading.Thread(target=engine.follow, args=(lab, self._wake), daemon=True).start()
            try:
                with paths.alone():
                    paths.write(paths.STATE, self._round(wanted))
            except EngineError as error:
                print(f"the engine: {error}", flush=True)
            except OSError as error:
                print(f"this round: {error}", flush=True)
            inside.reap()
            if self._wake.wait(_ROUND):
                self._wake.clear()
                self._asked = 0.0
        return 0

    def _end(self, *_: object) -> None:
        self._ended = True
        self._wake.set()

    def _round(self, wanted: dict[str, Any]) -> dict[str, Any]:
        nodes: dict[str, dict[str, Any]] = wanted.get("nodes", {})
        disks: dict[str, dict[str, Any]] = wanted.get("disks", {})
        self._ask(nodes, disks)
        released = paths.read(paths.RELEASED)
        known_disks = {name: self._disk(name, each, nodes) for name, each in disks.items()}
        known_nodes = {}
        for name, each in nodes.items():
            container = self._containers.get(each["container"])
            storage = self._containers.get(each.get("storage", ""))
            gone = container is not None and is_released(released, name, container, storage)
            keeper = self._nodes.setdefault(name, Node(name))
            known_nodes[name] = keeper.look(each, container, storage, released=gone)
        self._nodes = {name: node for name, node in self._nodes.items() if name in nodes}
        return {"time": time.time(), "nodes": known_nodes, "disks": known_disks}

    def _ask(self, nodes: dict[str, Any], disks: dict[str, Any]) -> None:
        """Ask the engine for all containers, if anything may have changed."""
        names = [each[key] for each in nodes.values() for key in ("container", "storage") if each.get(key)]
        names += [each["container"] for each in disks.values()]
        now = time.monotonic()
        same = set(names) == set(self._containers) and all(map(_as_it_was, self._containers.values()))
        if same and now - self._asked < _LOOK_AGAIN:
            return
        self._asked = now
        self._containers = {name: engine.inspect(name) for name in names}

    def _disk(self, name: str, wanted: dict[str, Any], nodes: dict[str, Any]) -> dict[str, Any]:
        """A raw disk's container: kept running; after it came back, who used the disk starts anew."""
        container = self._containers.get(wanted["container"])
        starter, run = self._disks.setdefault(name, (Starter(), ""))
        if container is None or not container.pid:
            if container is not None:
                starter.start(wanted["container"])
            return {"phase": "starting", "message": "its container does not run", "healthy": False}
        known = paths.volumes_of(container.pid, container.started).get(name) or {"phase": "starting"}
        if known["phase"] == "ready":
            starter.well()
        if run and run != container.started:
            for each in nodes.values():
                node = self._containers.get(each["container"])
                if node is not None and node.pid and any(one["volume"] == name for one in each.get("devices", [])):
                    inside.services(node.pid, "force-restart")
        self._disks[name] = (starter, container.started)
        return known | {"healthy": known["phase"] == "ready" and not known.get("layer")}


def _as_it_was(container: Container | None) -> bool:
    """Whether what the engine said of a running container still holds, without asking it again."""
    return container is not None and container.pid > 0 and paths.alive(container.pid)


def main(words: list[str]) -> int:
    """The program `keeper`."""
    if words == ["run"]:
        return Keeper().run()
    if words == ["check"]:
        json.dump(paths.read(paths.STATE), sys.stdout, indent=1)
        print()
        return 0
    if words[:1] == ["release"]:
        problems = release(words[1:])
        for problem in problems:
            print(problem)
        return 1 if problems else 0
    print("usage: keeper run | release NODE… | check", file=sys.stderr)
    return 2
