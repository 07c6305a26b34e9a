"""A lab that stands still and goes on: in which order its parts are held and released, and that every way leads back.

Who mounts from others is held first and goes on last: nobody waits for a server that does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from typing import TYPE_CHECKING

from labctl.engine import Outcome, execute
from labctl.errors import LabctlError, UsageError
from labctl.events import Emit
from labctl.lab import Put
from labctl.plan.model import STORAGE, STORING, Observed, ObservedNode, Plan, Step, Verb
from labctl.plan.steps import node_ref

if TYPE_CHECKING:
    from labctl.api import RunningLab
    from labctl.providers.base import Provider

SYNC_TIMEOUT = 30.0
"""Seconds for a node to have on their way home what it wrote to other nodes' volumes."""


def in_order(observed: Observed, names: Collection[str] | None = None) -> list[ObservedNode]:
    """The lab's nodes, or those named and what mounts into them, in the order in which they are held still.

    The keeper, which would mend what stands still, comes first; then who only mounts, what mounts for them, and the
    servers. What only passes on, to desktops and ports, is left as it is.
    """

    meant = [
        node
        for node in observed.nodes.values()
        if node.role in ("node", *STORING)
        and (names is None or node.name in names or node.name.removeprefix(STORAGE) in names or node.role == "keeper")
    ]
    return sorted(meant, key=lambda node: _rank(node, observed))


def _rank(node: ObservedNode, observed: Observed) -> int:
    if node.role == "keeper":
        return 0
    if node.role == "storage":
        return 2
    return 3 if serves(node, observed) else 1


def serves(node: ObservedNode, observed: Observed) -> bool:
    """Whether others mount what this node has."""
    return node.role == "node" and any(
        observed.volumes[name].type != "local" for name in node.volumes if name in observed.volumes
    )


def suspend(lab: RunningLab, names: Sequence[str], *, emit: Emit) -> Outcome:
    """Hold nodes (all when none is named) still; those that do not run are left as they are."""
    wanted = {node.name for node in lab.nodes(names)} if names else None
    nodes = [node for node in in_order(lab.observed, wanted) if node.state == "running"]
    if wanted is not None and len(wanted) < len(lab.nodes()):
        # The others' mounts are still looked after.
        nodes = [node for node in nodes if node.role != "keeper"]
    with lab.directory.lock():
        return execute(_plan(lab, nodes, Verb.SUSPEND), _act(lab.provider), emit)


def resume(lab: RunningLab, names: Sequence[str], *, emit: Emit) -> Outcome:
    """Let nodes (all when none is named) go on, the servers first; those that run are left as they are."""
    wanted = {node.name for node in lab.nodes(names)} if names else None
    nodes = [node for node in reversed(in_order(lab.observed, wanted)) if node.state == "paused"]
    with lab.directory.lock():
        return execute(_plan(lab, nodes, Verb.RESUME), _act(lab.provider), emit)


def wake(provider: Provider, observed: Observed) -> bool:
    """Let everything of the lab that stands still go on; whether there was anything."""
    nodes = [node for node in reversed(in_order(observed)) if node.state == "paused"]
    for node in nodes:
        with suppress(LabctlError):
            provider.start(node)
    return bool(nodes)


@contextmanager
def standing_still(provider: Provider, observed: Observed, flush: Callable[[], None]) -> Iterator[None]:
    """All that runs of the lab stands still inside ``with``, and goes on afterwards, whatever happened.

    `flush` is called when only servers and what mounts still run.
    """
    nodes = [node for node in in_order(observed) if node.state == "running"]
    keepers = [node for node in nodes if node.role == "keeper"]
    users = [node for node in nodes if node.role == "node" and not serves(node, observed)]
    held: list[ObservedNode] = []

    def hold(some: Iterable[ObservedNode]) -> None:
        for node in some:
            held.append(node)
            provider.pause(node)

    try:
        for node in users:
            # What a machine has not sent yet stays in its memory, which stands still with it.
            if f"{STORAGE}{node.name}" in observed.nodes:
                _send_home(provider, node)
        hold(users)
        flush()
        hold(keepers)
        hold(node for node in nodes if node not in held)
        yield
    finally:
        _go_on(provider, held)


def _go_on(provider: Provider, held: Sequence[ObservedNode]) -> None:
    """Release them in the reverse order, the keeper last; one that cannot go on does not keep the others."""
    errors: list[LabctlError] = []
    for keepers in (False, True):
        for node in reversed(held):
            if (node.role == "keeper") is keepers:
                try:
                    provider.start(node)
                except LabctlError as error:
                    errors.append(error)
    if errors:
        raise errors[0]


def provision(lab: RunningLab, names: Sequence[str]) -> list[str]:
    """Have the next `up` configure the nodes (all when none is named) again, run steps too; returns these.

    Raises `UsageError` for one that runs somebody else's image, `LabctlError` for one that does not run.
    """
    from labctl.world import require_running

    nodes = lab.nodes(names)
    foreign = [node.name for node in nodes if node.kind == "image"]
    if names and foreign:
        raise UsageError(f"{', '.join(foreign)}: a node with an `image` runs as it is", hint="name nodes with a `box`")
    boxes = [node for node in nodes if node.kind == "box"]
    require_running(boxes)
    with lab.directory.lock():
        for node in boxes:
            lab.shell(node).run(("rm", "-f", "/var/lib/lab/run.done"), timeout=SYNC_TIMEOUT)
        journal = lab.directory.journal() or {}
        lab.directory.record(
            {**journal, **{node.id: Put("", tuple(sorted(node.packages | _packages(journal, node)))) for node in boxes}}
        )
    return [node.name for node in boxes]


def _packages(journal: dict[str, Put], node: ObservedNode) -> frozenset[str]:
    return frozenset(journal[node.id].packages) if node.id in journal else frozenset()


def _send_home(provider: Provider, node: ObservedNode) -> None:
    """What the node wrote to other nodes' volumes is on its way there, as far as the node can say so."""
    with suppress(LabctlError):
        provider.shell(node).run(("/usr/lib/lab/mounts", "sync"), timeout=SYNC_TIMEOUT)


def _plan(lab: RunningLab, nodes: Sequence[ObservedNode], verb: Verb) -> Plan:
    """A step for each node; those of one rank at the same time, after all of the ranks before."""
    steps: list[Step] = []
    for _, rank in groupby(nodes, key=lambda node: _rank(node, lab.observed)):
        before = frozenset(step.id for step in steps)
        steps += [Step(verb, node_ref(node.name), "asked for", node, before) for node in rank]
    return Plan(lab.name, tuple(steps))


def _act(provider: Provider) -> Callable[[Step, Callable[[str], None]], None]:
    def act(step: Step, _: Callable[[str], None]) -> None:
        assert isinstance(step.target, ObservedNode)
        if step.verb is Verb.SUSPEND:
            provider.pause(step.target)
        else:
            provider.start(step.target)

    return act
