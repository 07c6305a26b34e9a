"""One node with its storage container: what is wrong with them, and what is done about it."""

from __future__ import annotations

import time
from typing import Any

from keeper import engine, inside, paths
from keeper.engine import Container

_PAUSES = (0.0, 1.0, 2.0, 5.0, 10.0)


class Starter:
    """Starts a container that should run, less and less often when it does not stay up."""

    def __init__(self) -> None:
        self._tries = 0
        self._next = 0.0

    def start(self, name: str) -> None:
        """Start it, unless that was tried a moment ago."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _PAUSES[min(self._tries, len(_PAUSES) - 1)]
        self._tries += 1
        engine.start(name)

    def well(self) -> None:
        """It runs and does its work."""
        self._tries = 0


class Node:
    """A node of keeper.json; `look` brings it nearer to what it should be and says how it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._starter = Starter()
        self._since: dict[str, float] = {}
        self._fenced = 0

    def look(
        self, wanted: dict[str, Any], node: Container | None, storage: Container | None, *, released: bool
    ) -> dict[str, Any]:
        """One round; raises EngineError. What can be done only later is done in a later round."""
        mounts = wanted.get("mounts", [])
        if not mounts:
            return {"healthy": True, "volumes": {}}
        if node is None or not node.pid or released:
            if storage is not None and storage.pid and not released:
                # It has lost its network with the node: what it had not written is as if the power had failed.
                engine.kill(wanted["storage"])
            self._since.clear()
            return {"healthy": False, "volumes": {}, "released": released}
        if storage is None or not storage.pid or storage.started < node.started:
            self._cut_off(node, mounts)
            if storage is not None and storage.pid:
                engine.kill(wanted["storage"])
            if storage is not None:
                self._starter.start(wanted["storage"])
            return {"healthy": False, "volumes": {mount["volume"]: _gone(storage) for mount in mounts}}
        volumes = paths.volumes_of(storage.pid, storage.started)
        known = {mount["volume"]: self._place(mount, volumes, node, storage) for mount in mounts}
        healthy = all(each["mounted"] and not each.get("layer") for each in known.values())
        if all(each["mounted"] for each in known.values()):
            self._starter.well()
            self._go_on(node)
        return {"healthy": healthy, "volumes": known}

    def _cut_off(self, node: Container, mounts: list[dict[str, Any]]) -> None:
        """The storage container is dead: nothing may go on reading or writing what is only a memory of the disk."""
        standing = inside.mounts(node.pid)
        targets = [mount["target"] for mount in mounts if mount["target"] in standing]
        if self._fenced != node.pid and targets:
            self._fenced = node.pid
            inside.fence(node.pid, targets)
            self._interrupt(node)

    def _interrupt(self, node: Container) -> None:
        """Stop the node's services until its mounts are back; a keeper that comes after this one knows of it."""
        known = paths.read(paths.INTERRUPTED)
        if known.get(self.name) != node.started:
            paths.write(paths.INTERRUPTED, known | {self.name: node.started})
            inside.services(node.pid, "force-stop")

    def _go_on(self, node: Container) -> None:
        known = paths.read(paths.INTERRUPTED)
        if known.pop(self.name, None) == node.started:
            inside.services(node.pid, "start")
            paths.write(paths.INTERRUPTED, known)

    def _place(
        self, mount: dict[str, Any], volumes: dict[str, dict[str, Any]], node: Container, storage: Container
    ) -> dict[str, Any]:
        volume, target = mount["volume"], mount["target"]
        known = dict(volumes.get(volume) or {"phase": "starting"})
        device = known.get("mount", "")
        there = inside.mounts(node.pid).get(target)
        if known["phase"] == "ready" and device and (there is None or there.device != device):
            source = f"{paths.MOUNTS}/{volume}"
            ready = inside.mounts(storage.pid).get(source)
            if ready is not None and ready.device == device:
                if there is not None or volume in self._since:
                    self._interrupt(node)
                try:
                    inside.move(storage.pid, source, node.pid, target)
                except OSError as error:
                    known |= {"layer": "mount", "message": f"it cannot be mounted at {target}: {error.strerror}"}
                else:
                    self._since[volume] = time.time()
                    self._fenced = 0
                    print(f"{self.name}: {volume} is at {target}", flush=True)
                there = inside.mounts(node.pid).get(target)
        mounted = known["phase"] == "ready" and there is not None and there.device == device
        if mounted:
            self._since.setdefault(volume, time.time())
            known["since"] = self._since[volume]
        return known | {"mounted": mounted}


def _gone(storage: Container | None) -> dict[str, Any]:
    what = "there is no storage container" if storage is None else "the storage container does not run"
    return {"phase": "starting", "mounted": False, "message": what}
