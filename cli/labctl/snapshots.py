"""A whole lab, or some nodes of it, kept under a name and brought back: taken while all of it stands still.

Nothing says that a snapshot is there but its parts, each of which names all others: what was interrupted is known by
what is missing, and the next save of that name replaces it. What was half brought back is noted in the lab's directory.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from labctl import api, lifecycle, pausing
from labctl.engine import Action, Outcome, execute
from labctl.errors import LabctlError, UsageError
from labctl.events import Emit, PlanReady
from labctl.lab import LabDirectory, Put, home
from labctl.plan import snapshots as pure
from labctl.plan.model import (
    KEEPER,
    STORING,
    DesiredNetwork,
    DesiredNode,
    DesiredVolume,
    Observed,
    ObservedNode,
    Plan,
    Step,
    Verb,
)
from labctl.plan.snapshots import Part, Snapshot
from labctl.plan.steps import before_removing, node_ref
from labctl.planning import Planned, plan, refuse_unbuilt
from labctl.work import take_down

if TYPE_CHECKING:
    from labctl.api import RunningLab
    from labctl.model.lab import Lab
    from labctl.providers.base import Provider

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")

_FLUSH = """
import sys
sys.path.insert(0, "/usr/lib/lab")
from keeper import engine, inside, paths
with paths.alone():
    nodes = paths.read(paths.CONFIGURATION).get("nodes", {})
    for name in sys.argv[1:]:
        node = engine.inspect(nodes[name]["container"]) if name in nodes else None
        standing = inside.mounts(node.pid) if node and node.pid else {}
        for mount in nodes.get(name, {}).get("mounts", []):
            if mount["target"] in standing:
                inside.write_out(node.pid, mount["target"], lambda: True)
"""
"""For the keeper: what nodes that stand still have not yet sent to their servers goes there."""

FLUSH_TIMEOUT = 90.0


def taken(lab: str | None = None) -> list[Snapshot]:
    """The snapshots of a lab, or of all, the oldest first. Reads only."""
    return list(pure.grouped(api.provider().snapshots.parts(lab)).values())


def save(lab: RunningLab, name: str, names: Sequence[str], *, emit: Emit) -> Outcome:
    """Keep the lab, or some nodes of it, as it is now. The whole lab stands still meanwhile and goes on.

    Raises `UsageError`, `LabctlError` when there is a snapshot of that name; what fails is taken back.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"{name} cannot name a snapshot", hint="letters a to z, digits and dashes, 40 at most")
    provider = lab.provider
    store = provider.snapshots
    with lab.directory.lock():
        refuse_half(lab.directory)
        store.tidy(lab.name)
        former = pure.grouped(store.parts(lab.name)).get((lab.name, name))
        if former is not None and not former.missing:
            raise LabctlError(
                f"lab {lab.name} has a snapshot {name} already",
                hint=f"take another name, or labctl snapshot delete {name}",
                code="LAB-SNAP-003",
            )
        for part in former.parts if former is not None else ():
            store.remove(part)
        nodes = _as_they_are(lab, lab.nodes(names))
        inner = {node.name: store.inner(node) for node in nodes}
        parts = pure.drawn_up(name, lab.observed, nodes, inner, whole=not names, now=time.time())
        steps = Plan(lab.name, tuple(Step(Verb.SAVE, part.ref, "asked for", of) for part, of in parts.items()))
        emit(PlanReady(lab.name, tuple((s.id, s.verb, s.ref, s.because) for s in steps.steps)))
        by_ref = {part.ref: (part, of) for part, of in parts.items()}
        done = False
        try:
            with pausing.standing_still(provider, lab.observed, lambda: _flush(provider, lab.observed)):
                outcome = execute(steps, lambda step, _: store.save(*by_ref[step.ref]), emit)
            done = not outcome.failed
        finally:
            if not done:
                for part in store.parts(lab.name):
                    if part.snapshot == name:
                        with suppress(LabctlError):
                            store.remove(part)
        return outcome


def not_saved(lab: RunningLab, names: Sequence[str]) -> list[str]:
    """What no snapshot of these nodes holds, a line each."""
    nodes = lab.nodes(names)
    containers = [node.name for node in nodes if node.provider == "docker" and node.state in ("running", "paused")]
    if not containers:
        return []
    return [f"the memory of containers is not saved: {', '.join(containers)} start anew when brought back"]


def restore(
    lab: Lab,
    name: str,
    names: Collection[str],
    *,
    files: Sequence[Path],
    emit: Emit,
    confirm: lifecycle.Confirm,
    timeout: float,
) -> lifecycle.Up:
    """Bring the lab, or some nodes of it, back to what it was, and then to what its file says.

    Raises `NotFoundError`, and `LabctlError` when the lab file has changed too much for it; nothing is changed then.
    """
    directory = LabDirectory(home(), lab.name)
    provider = api.provider(node.provider for node in lab.nodes.values())
    refuse_unbuilt(lab, ())
    with directory.lock():
        store = provider.snapshots
        snapshot = pure.named(pure.grouped(store.parts(lab.name)), lab.name, name)
        store.tidy(lab.name)
        planned = plan(lab, provider, directory, ())
        parts = pure.chosen(snapshot, names, planned.observed)
        pure.refuse_others(name, parts, planned.whole)
        steps = _steps(parts, planned)
        confirm(steps)
        emit(PlanReady(lab.name, tuple((s.id, s.verb, s.ref, s.because) for s in steps.steps)))
        directory.remember_source([str(file) for file in files], str(lab.directory))
        directory.begin_restoring(name)
        if pausing.wake(provider, planned.observed):
            planned = replace(planned, observed=provider.observe(lab.name))
        outcome = execute(steps, _acting(provider, planned, parts), emit)
        lifecycle.raise_for(outcome)
        _record(directory, parts, provider.observe(lab.name))
        directory.end_restoring()
    return lifecycle.up(lab, files=files, emit=emit, confirm=confirm, timeout=timeout)


def delete(lab: str, names: Sequence[str]) -> list[str]:
    """Give up snapshots of the lab; works also when nothing else of it is there. Raises `NotFoundError`."""
    store = api.provider().snapshots
    with LabDirectory(home(), lab).lock():
        known = pure.grouped(store.parts(lab))
        meant = [pure.named(known, lab, name) for name in names]
        for snapshot in meant:
            for part in snapshot.parts:
                store.remove(part)
        store.tidy(lab)
    return [snapshot.name for snapshot in meant]


# ---------------------------------------------------------------- saving


def _as_they_are(lab: RunningLab, nodes: Sequence[ObservedNode]) -> list[ObservedNode]:
    """The nodes with what was last put into each, which its labels cannot say."""
    journal = lab.directory.journal() or {}
    return [
        replace(
            node,
            content=journal[node.id].content if node.id in journal else node.content,
            packages=node.packages | (frozenset(journal[node.id].packages) if node.id in journal else frozenset()),
        )
        for node in nodes
    ]


def _flush(provider: Provider, observed: Observed) -> None:
    """What nodes have not yet sent to those who serve them goes there; raises `LabctlError` when it cannot."""
    from labctl import sharing

    keeper = observed.nodes.get(KEEPER)
    names = sorted(sharing.consumers(observed))
    if keeper is None or keeper.state != "running" or not names:
        return
    done = provider.shell(keeper).run(("python3", "-I", "-c", _FLUSH, *names), timeout=FLUSH_TIMEOUT)
    if done.code != 0:
        raise LabctlError(
            "what nodes wrote to their volumes could not be sent to the servers",
            details=done.stderr.decode(errors="replace").splitlines()[-3:],
            hint="labctl status --storage",
            code="LAB-SNAP-001",
        )


# ---------------------------------------------------------------- bringing back


def _steps(parts: Sequence[Part], planned: Planned) -> Plan:
    """What has to go, then the volumes, then the nodes: who serves before the others."""
    observed, whole = planned.observed, planned.whole
    anew = {part.name for part in parts if part.kind == "node" and not part.with_memory}
    going = [
        node
        for node in observed.nodes.values()
        if node.name in anew or (node.role in STORING and _touches_storage(parts, observed))
    ]
    refs = {node_ref(node.name) for node in going}
    steps = [
        Step(
            Verb.REMOVE,
            node_ref(node.name),
            "it is brought back",
            node,
            frozenset(f"{Verb.REMOVE} {ref}" for ref in before_removing(node, observed) if ref in refs),
            destroys=node.role == "node",
        )
        for node in going
    ]
    gone = frozenset(step.id for step in steps)
    still: list[str] = []
    for part in parts:
        known = observed.nodes.get(part.name) if part.kind == "node" and part.with_memory else None
        if known is not None:
            # Disk and memory of a machine are set back as they are, and it stands still.
            steps.append(
                Step(Verb.RESTORE, node_ref(part.name), "asked for", whole.nodes[part.name], gone, destroys=True)
            )
            still.append(steps[-1].id)
    missing: list[tuple[str, DesiredNetwork | DesiredVolume]] = [
        *((f"network/{name}", each) for name, each in whole.networks.items() if name not in observed.networks),
        *((f"volume/{name}", each) for name, each in whole.volumes.items() if name not in observed.volumes),
    ]
    there = [Step(Verb.CREATE, ref, "not there", each) for ref, each in missing]
    steps += there
    ready = gone | frozenset(still) | frozenset(step.id for step in there)
    volumes = [part for part in parts if part.kind == "volume"]
    steps += [
        Step(Verb.RESTORE, part.ref, "asked for", whole.volumes[part.name], ready, destroys=True) for part in volumes
    ]
    filled = ready | frozenset(f"{Verb.RESTORE} {part.ref}" for part in volumes)
    servers = frozenset(f"{Verb.RESTORE} {node_ref(name)}" for name in anew if whole.nodes[name].serves)
    for name in sorted(anew):
        node = whole.nodes[name]
        after = filled if node.serves else filled | servers
        steps.append(Step(Verb.RESTORE, node_ref(name), "asked for", node, after))
    return Plan(whole.lab, tuple(steps))


def _touches_storage(parts: Sequence[Part], observed: Observed) -> bool:
    """Whether anything that is brought back serves to others, or has something of theirs mounted."""
    from labctl import sharing

    if KEEPER not in observed.nodes:
        return False
    served = {name for name, volume in observed.volumes.items() if volume.type != "local"}
    users = sharing.consumers(observed)
    return any(
        (part.kind == "volume" and part.name in served)
        or (part.kind == "node" and (part.name in users or served & set(observed.nodes[part.name].volumes)))
        for part in parts
        if part.kind == "volume" or part.name in observed.nodes
    )


def _acting(provider: Provider, planned: Planned, parts: Sequence[Part]) -> Action:
    store = provider.snapshots
    of: Mapping[str, list[Part]] = {
        ref: [part for part in parts if (part.ref if part.kind == "volume" else node_ref(part.node)) == ref]
        for ref in {part.ref if part.kind == "volume" else node_ref(part.node) for part in parts}
    }

    def act(step: Step, line: Callable[[str], None]) -> None:
        target = step.target
        if step.verb is Verb.REMOVE:
            assert isinstance(target, ObservedNode)
            take_down(replace(step, target=planned.observed.nodes.get(target.name, target)), provider, planned.observed)
        elif step.verb is Verb.CREATE:
            provider.create(target, planned.whole, on_line=line)  # type: ignore[arg-type]
        else:
            assert isinstance(target, DesiredNode | DesiredVolume)
            for part in sorted(of[step.ref], key=lambda each: each.kind == "inner"):
                store.restore(part, target, planned.whole)
            if isinstance(target, DesiredNode) and not any(part.with_memory for part in of[step.ref]):
                provider.start(target)

    return act


def _record(directory: LabDirectory, parts: Sequence[Part], now: Observed) -> None:
    """Write down what is in the nodes now, and that their host keys are those of then."""
    nodes = {part.name: part for part in parts if part.kind == "node"}
    journal = directory.journal() or {}
    there = {node.id for node in now.nodes.values()}
    put = {id: each for id, each in journal.items() if id in there}
    put |= {now.nodes[name].id: Put(each.content, each.packages) for name, each in nodes.items() if name in now.nodes}
    directory.record(put)
    directory.forget_host_keys(nodes)


def refuse_half(directory: LabDirectory) -> None:
    """Raise `LabctlError` when a restore was interrupted: what is there is neither the one lab nor the other."""
    name = directory.restoring
    if name is not None:
        raise LabctlError(
            f"bringing back snapshot {name} was interrupted: part of lab {directory.name} is from then, part is not",
            hint=f"labctl snapshot restore {name}, or labctl down",
            code="LAB-SNAP-004",
        )
