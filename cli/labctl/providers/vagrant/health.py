"""What machines say of their healthchecks. Each tries its own; its word is asked for over ssh, of all at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal, cast

from labctl.errors import LabctlError
from labctl.features.health import STATE
from labctl.plan.model import ObservedNode
from labctl.providers.base import Shell

Health = Literal["healthy", "unhealthy", "starting"]

TIMEOUT = 30.0
"""Seconds after which a machine that says nothing is not healthy: one that is emulated on a busy host may take ten."""

_ASK = ("sh", "-c", f"cat {STATE} 2>/dev/null || echo starting")


def told(nodes: Mapping[str, ObservedNode], shell: Callable[[ObservedNode], Shell]) -> dict[str, ObservedNode]:
    """The nodes with their own word on their health; who runs, has a healthcheck and does not answer is unhealthy."""
    asked = [node for node in nodes.values() if node.state == "running" and node.health is not None]
    words: dict[str, Health] = {}

    def ask(node: ObservedNode) -> None:
        words[node.name] = _word(said(node, shell))

    threads = [threading.Thread(target=ask, args=(node,), daemon=True) for node in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    return {**nodes, **{node.name: replace(node, health=words.get(node.name, "unhealthy")) for node in asked}}


def said(node: ObservedNode, shell: Callable[[ObservedNode], Shell]) -> list[str]:
    """The machine's word (see `features.health.STATE`) as lines; none when it cannot be asked."""
    try:
        return shell(node).run(_ASK, timeout=TIMEOUT).stdout.decode(errors="replace").splitlines()
    except (LabctlError, OSError):
        return []


def verdict(lines: list[str]) -> list[str]:
    """The last try in the words that a container's has too; none when there was none yet."""
    first = lines[0].split() if lines else []
    if len(first) != 2:
        return []
    return [f"healthcheck: exit code {first[1]}", *lines[1:][-8:]]


def _word(lines: list[str]) -> Health:
    first = lines[0].split() if lines else []
    return cast(Health, first[0]) if first and first[0] in ("healthy", "unhealthy", "starting") else "unhealthy"
