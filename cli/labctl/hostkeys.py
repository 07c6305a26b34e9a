"""The ssh host keys of a lab's nodes: each makes its own, and says the public half."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from labctl.errors import LabctlError

if TYPE_CHECKING:
    from labctl.plan.model import DesiredNode, ObservedNode
    from labctl.providers.base import Provider

PATIENCE = 3.0
"""Seconds for nodes that were started and not waited for to say their host keys."""


class HostKeys:
    """What is known and what is learnt during one `up`: `known` maps nodes to type and key.

    `started` are the nodes that this `up` has started so far: they may not have said theirs yet.
    """

    def __init__(self, provider: Provider, known: dict[str, str], started: Collection[str]) -> None:
        self.provider, self.known, self.started = provider, known, started

    def learn(self, node: DesiredNode | ObservedNode) -> None:
        """Read the key of a box from its log, or from its file when the log no longer has it, unless it is known."""
        from labctl import features

        if node.name in self.known:
            return
        with suppress(LabctlError):
            key = next(filter(None, map(features.host_key, self.provider.head(node))), None)
            if key is None and node.name not in self.started:
                key = features.public_key(self.provider.shell(node).get(f"{features.HOST_KEY}.pub").decode())
            if key is not None:
                self.known[node.name] = key

    def learn_all(self, nodes: Mapping[str, DesiredNode | ObservedNode]) -> None:
        """Learn those that are not known yet; a node that was started and not waited for has a moment to make one."""
        end = time.monotonic() + PATIENCE
        while missing := [node for name, node in nodes.items() if name not in self.known]:
            for node in missing:
                self.learn(node)
            if time.monotonic() > end or not {*self.started} & {*nodes} - {*self.known}:
                return
            time.sleep(0.05)
