"""Letting a node go: its data written out, its mounts taken off, its clients ended, in this order.

A node that is stopped before its storage container takes the network away from it, and what is not written yet is lost.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from keeper import engine, inside, paths
from keeper.engine import Container

_STOP = 8


def release(names: list[str]) -> list[str]:
    """Release nodes until they or their storage containers are started again; returns what could not be written."""
    with paths.alone():
        wanted = paths.read(paths.CONFIGURATION).get("nodes", {})
        released = paths.read(paths.RELEASED)
        for name in names:
            node = engine.inspect(wanted[name]["container"]) if name in wanted else None
            if node is not None:
                storage = wanted[name].get("storage") and engine.inspect(wanted[name]["storage"])
                released[name] = [node.started, storage.started if storage else ""]
        paths.write(paths.RELEASED, released)
        problems: list[str] = []
        for name in names:
            if name in wanted and wanted[name].get("mounts"):
                problems += _release(name, wanted[name])
        return problems


def _release(name: str, wanted: dict[str, Any]) -> list[str]:
    node = engine.inspect(wanted["container"])
    problems = []
    if node is not None and node.pid:
        standing = inside.mounts(node.pid)
        mine = [mount for mount in wanted["mounts"] if mount["target"] in standing]
        if mine:
            # They go on when the mounts are back, should the node not be stopped after all.
            paths.write(paths.INTERRUPTED, paths.read(paths.INTERRUPTED) | {name: node.started})
            inside.services(node.pid, "force-stop")
        storage = engine.inspect(wanted["storage"])

        def answers(mount: dict[str, Any]) -> bool:
            known = paths.volumes_of(storage.pid, storage.started) if storage is not None else {}
            return bool(known.get(mount["volume"], {}).get("active"))

        # Those whose server answers first: who waits for another one is cut off then.
        for mount in sorted(mine, key=answers, reverse=True):
            try:
                inside.write_out(node.pid, mount["target"], partial(answers, mount))
            except OSError as error:
                problems.append(f"{name}: {mount['volume']} could not be written out: {error.strerror}")
                engine.kill(wanted["storage"])
        for mount in reversed(mine):
            try:
                inside.take_off(node.pid, mount["target"])
            except OSError as error:
                problems.append(f"{name}: {mount['target']} could not be unmounted: {error.strerror}")
    engine.stop(wanted["storage"], _STOP)
    return problems


def is_released(released: dict[str, list[str]], name: str, node: Container, storage: Container | None) -> bool:
    """Whether the node was released in this run of its own and of its storage container: a new one ends that."""
    known = released.get(name)
    return known is not None and known[0] == node.started and (storage is None or known[1] == storage.started)
