"""What `up`, `down`, `start` and `stop` do: observe, plan, execute, wait. The engine is asked once and told once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from labctl import api
from labctl.engine import Outcome, execute
from labctl.errors import (
    ConflictError,
    DeadlineError,
    LabctlError,
    NotFoundError,
    PartlyUpError,
)
from labctl.events import Emit, Notice, PlanReady
from labctl.lab import LabDirectory, home
from labctl.plan.model import GATEWAY, KEEPER, STORAGE, Observed, ObservedNode, Plan, Step, Verb
from labctl.plan.steps import node_ref, plan_down
from labctl.planning import Planned, plan, refuse_unbuilt

if TYPE_CHECKING:
    from labctl.api import RunningLab
    from labctl.model.lab import Lab
    from labctl.providers.base import Provider
    from labctl.work import Work

ATTEMPTS = 5
"""How often `up` plans anew when somebody else took a subnet or port that it had chosen."""

Confirm = Callable[[Plan], None]
"""Asks before something is destroyed; raises `UsageError` when the answer is no."""


@dataclass
class Up:
    """What `up` left: the plan, what became of it, and the nodes that were running and are not ready."""

    planned: Planned
    outcome: Outcome
    unready: dict[str, Exception]
    observed: Callable[[], Observed]

    @property
    def exit_code(self) -> int:
        """The exit code of the whole: of `error`, 0 without one."""
        error = self.error()
        if error is None:
            return 0
        return int(error.exit_code) if isinstance(error, LabctlError) else 1

    def error(self, *, evidence: bool = True) -> Exception | None:
        """Nothing, a timeout, a partly made lab, or the one error that all nodes failed of.

        Without `evidence` it does not repeat what a display has shown of each failed step.
        """
        errors = {**self.outcome.failed, **self.unready}
        if not errors:
            return None
        first = next(iter(errors.values()))
        hint = first.hint if isinstance(first, LabctlError) else None
        details = [
            line
            for each, error in errors.items()
            for line in _told(each, error, evidence=evidence or each in self.unready)
        ]
        nodes = {node_ref(name) for name in self.planned.desired.nodes}
        lost = {each.partition(" ")[2] for each in (*errors, *self.outcome.skipped)} & nodes
        what = ", ".join(sorted(each.removeprefix("node/") for each in lost)) or ", ".join(errors)
        if all(isinstance(error, DeadlineError) for error in errors.values()):
            return DeadlineError(f"not ready in time: {what}", details=details, hint=hint, code="LAB-WAIT-002")
        if not lost or nodes - lost - {node_ref(GATEWAY)}:
            return PartlyUpError(f"the lab is only partly up, without {what}", details=details, hint=hint)
        if isinstance(first, LabctlError) and not evidence and not self.unready and len(errors) == 1:
            first.details = ()
        return first


def up(
    lab: Lab,
    *,
    files: Sequence[Path] = (),
    nodes: Collection[str] = (),
    emit: Emit,
    confirm: Confirm,
    timeout: float,
    wait: bool = True,
    ttl: float | None = None,
) -> Up:
    """Bring the lab (or `nodes` of it and what they wait for) to what its file says, within `timeout` seconds.

    With `ttl` (seconds) the lab ends that long from now, whatever was said before; without, after the file's `ttl`,
    counted from when it first came up.

    Errors of single steps are in the result; its `error()` is what they come to.
    """
    from labctl.probe.trust import host_trust
    from labctl.readiness import all_ready
    from labctl.work import Work

    end = time.monotonic() + timeout
    directory = LabDirectory(home(), lab.name)
    provider = api.provider(node.provider for node in lab.nodes.values())
    refuse_unbuilt(lab, nodes)
    with directory.lock():
        if directory.restoring is not None:
            from labctl.snapshots import refuse_half

            refuse_half(directory)
        avoid: list[ConflictError] = []
        again = False
        while True:
            planned = plan(lab, provider, directory, nodes, avoid)
            work = Work(lab, planned, provider, directory, host_trust(), end)
            emit(PlanReady(lab.name, tuple((s.id, s.verb, s.ref, s.because) for s in planned.plan.steps)))
            if any(volume.size for volume in planned.desired.volumes.values()):
                from labctl import sharing

                for warning in sharing.oversized(provider, planned.plan):
                    emit(Notice(warning, "warning"))
            if any(step.destroys for step in planned.plan.steps):
                confirm(planned.plan)
            directory.remember_source([str(file) for file in files], str(lab.directory))
            steps = planned.plan if wait else _without_waiting(planned.plan)
            _lease(lab, provider, planned.observed.expires, ttl, time.time())
            work.promise()
            work.prepare()
            outcome = execute(steps, work.carry_out, emit, stop=work.stop)
            work.keep()
            clash = _retriable(outcome)
            if clash is not None and len(avoid) < ATTEMPTS and time.monotonic() < end:
                avoid.append(clash)
                emit(Notice(f"{clash.message}: choosing another", "warning"))
                continue
            unready = all_ready(work.unchanged(), work.waiting()) if wait else {}
            late = {f"verify {node_ref(name)}": error for name, error in unready.items()}
            fallen = _fallen(planned, {**outcome.failed, **late}, work)
            if not fallen or again:
                return Up(planned, outcome, late, work.observed)
            again = True
            emit(Notice(f"{', '.join(fallen)} ended meanwhile: looking again", "warning"))


def down(
    name: str,
    *,
    volumes: bool,
    emit: Emit,
    missing_ok: bool = False,
    retained: Callable[[], Collection[str]] = tuple,
) -> tuple[Outcome, tuple[str, ...]]:
    """Remove all of the lab but its Retain volumes (with `volumes` those too); returns what is left of these.

    Its snapshots go too.

    Needs neither the lab file nor the lab's directory; `retained` gives volumes that were made with ``reclaim: Delete``
    and are to be kept by now. Raises `NotFoundError` unless `missing_ok`.
    """
    directory = LabDirectory(home(), name)
    from labctl.work import take_down

    with directory.lock():
        provider, observed = api.look(name)
        observed = _awake(provider, observed)
        provider.snapshots.tidy(name)
        there = bool(observed.nodes or observed.networks or observed.volumes or observed.expires is not None)
        there = there or bool(provider.snapshots.parts(name))
        if not there and not directory.exists and not missing_ok:
            raise NotFoundError(f"no lab {name} on this host", hint="`labctl ls` shows the labs", code="LAB-LAB-001")
        if any(volume.reclaim == "Delete" for volume in observed.volumes.values()):
            observed = _retaining(observed, retained())
        steps = plan_down(observed, volumes=volumes)
        emit(PlanReady(name, tuple((s.id, s.verb, s.ref, s.because) for s in steps.steps)))
        outcome = execute(steps, lambda step, _: take_down(step, provider, observed), emit)
        kept = tuple(name for name in sorted(observed.volumes) if f"remove volume/{name}" not in outcome.done)
        if not outcome.failed and not outcome.skipped:
            if observed.expires is not None:
                provider.end_lease(name)
            for part in provider.snapshots.parts(name):
                provider.snapshots.remove(part)
            provider.snapshots.tidy(name)
            directory.remove()
        return outcome, kept


def stop(lab: RunningLab, names: Sequence[str], *, emit: Emit, timeout: float) -> Outcome:
    """Stop nodes (all when none is named), each killed after `timeout` seconds."""
    lab.observed = _awake(lab.provider, lab.observed)
    running = [node for node in lab.nodes(names) if node.state in ("running", "paused", "restarting")]
    steps = tuple(
        Step(Verb.STOP, node_ref(node.name), "asked for", node, _consumers_first(node, running, lab.observed))
        for node in running
    )
    shares = KEEPER in lab.observed.nodes

    def act(step: Step, _: Callable[[str], None]) -> None:
        assert isinstance(step.target, ObservedNode)
        if shares:
            from labctl import sharing

            sharing.release(lab.provider, lab.observed, [step.target.name])
        lab.provider.stop(step.target, timeout=timeout)

    with lab.directory.lock():
        return execute(Plan(lab.name, steps), act, emit)


def _awake(provider: Provider, observed: Observed) -> Observed:
    """The lab going on, where it stands still and has shared storage: what stands still lets go of nothing."""
    if KEEPER in observed.nodes and any(node.state == "paused" for node in observed.nodes.values()):
        from labctl.pausing import wake

        wake(provider, observed)
        return provider.observe(observed.lab)
    return observed


def start(lab: RunningLab, names: Sequence[str], *, emit: Emit, timeout: float) -> Outcome:
    """Start nodes (all when none is named) as they are, without the lab file, and wait until they answer."""
    from labctl import features
    from labctl.readiness import Subject, Waiting, Watch, ready
    from labctl.work import last_words

    end = time.monotonic() + timeout
    nodes = {node.name: node for node in lab.nodes(names)}
    started = [Step(Verb.START, node_ref(n.name), "asked for", n) for n in nodes.values() if n.state != "running"]
    # What an engine brings back by itself, the host does not.
    ended = [node for node in lab.observed.nodes.values() if node.provider == "host" and node.state != "running"]
    started += [Step(Verb.START, node_ref(node.name), "it ended", node) for node in ended]
    verified = [
        Step(Verb.VERIFY, node_ref(name), "just started", node, frozenset({f"{Verb.START} {node_ref(name)}"}))
        for name, node in nodes.items()
        if node.state != "running"
    ]
    waiting = Waiting(
        Watch(lambda: lab.provider.observe(lab.name)),
        lambda subject: lab.shell(nodes[subject.name]),
        lambda subject: last_words(lab.provider, nodes[subject.name]),
        end,
        threading.Event(),
    )

    def act(step: Step, _: Callable[[str], None]) -> None:
        node = step.target
        assert isinstance(node, ObservedNode)
        if step.verb is Verb.START:
            lab.provider.start(node)
            return
        box = node.kind == "box"
        probes = features.probes(has_desktop=node.desktop is not None) if box else ()
        address = next(iter(node.addresses.values()), None)
        began = time.time()
        ready(Subject(node.name, address, probes, health=True, may_end=not box), waiting, fresh=True)
        keeper = lab.observed.nodes.get(KEEPER)
        if node.attached:
            from labctl.providers import mounted

            wanted = mounted.Wanted.attached(node)
            mounted.wait_mounted(wanted, lambda: mounted.said(lab.provider, node), end=end, stop=waiting.stop)
        elif keeper is not None:
            from labctl import sharing
            from labctl.providers import mounted

            wanted = mounted.Wanted.kept(node.name, sharing.keeping(lab.provider, keeper))
            mounted.wait_mounted(
                wanted, lambda: sharing.state(lab.provider, keeper), end=end, stop=waiting.stop, since=began
            )

    with lab.directory.lock():
        return execute(Plan(lab.name, (*started, *verified)), act, emit, stop=waiting.stop)


def extend(name: str, seconds: float | None) -> float | None:
    """Let the lab live at least `seconds` from now, or for ever (None); returns when it ends now.

    An end that is later stays. Raises `NotFoundError` when nothing of the lab is there.
    """
    from labctl.planning import owner

    running = api.open_lab(name)
    with running.directory.lock():
        if seconds is None:
            running.provider.end_lease(name)
            return None
        end = max(time.time() + seconds, running.observed.expires or 0.0)
        directory = next(iter(sorted(running.observed.directories)), "")
        running.provider.give_lease(name, expires=end, directory=directory, owner=owner())
        return end


def _lease(lab: Lab, provider: Provider, expires: float | None, ttl: float | None, now: float) -> None:
    """Give the lab its end before anything of it is made: a run that is killed ends too."""
    from labctl.planning import owner

    wanted = lab.ttl if ttl is None else ttl
    if wanted is not None and (ttl is not None or expires is None or expires <= now):
        provider.give_lease(lab.name, expires=now + wanted, directory=str(lab.directory), owner=owner())


def _consumers_first(node: ObservedNode, others: Sequence[ObservedNode], observed: Observed) -> frozenset[str]:
    """The stops that come before that of `node`: of those who mount what it serves."""
    users = [each for each in others if any(use.volume in node.volumes for use in each.attached)]
    if KEEPER in observed.nodes and any(observed.volumes[v].type != "local" for v in node.volumes):
        users += [each for each in others if f"{STORAGE}{each.name}" in observed.nodes and each.name != node.name]
    return frozenset(f"{Verb.STOP} {node_ref(each.name)}" for each in users)


def _retaining(observed: Observed, names: Collection[str]) -> Observed:
    volumes = {
        name: replace(volume, reclaim="Retain") if name in names else volume
        for name, volume in observed.volumes.items()
    }
    return replace(observed, volumes=volumes)


def raise_for(outcome: Outcome) -> None:
    """Raise the error that the failed steps come to, if any."""
    if not outcome.failed:
        return
    first = next(iter(outcome.failed.values()))
    if len(outcome.failed) == 1 or not isinstance(first, LabctlError):
        raise first
    failed = type(first) if len({type(error) for error in outcome.failed.values()}) == 1 else LabctlError
    details = [f"{each}: {error}" for each, error in outcome.failed.items()]
    if issubclass(failed, ConflictError):
        failed = LabctlError
    raise failed(f"{len(details)} steps failed", details=details, hint=first.hint)


def _told(step: str, error: Exception, *, evidence: bool) -> list[str]:
    details = error.details if isinstance(error, LabctlError) and evidence else ()
    name = f" [{error.code}]" if isinstance(error, LabctlError) else ""
    return [f"{step}: {error}{name}", *(f"  {line}" for line in details)]


def _fallen(planned: Planned, errors: Collection[str], work: Work) -> list[str]:
    """Nodes among those that `errors` (step ids) are about that ran when they were looked at and run no more.

    A run that was killed may have told the engine to end them, which goes on without it.
    """
    refs = {each.partition(" ")[2] for each in errors}
    touched = {step.ref for step in planned.plan.steps if step.verb is Verb.REMOVE}
    ran = [node for node in planned.observed.nodes.values() if node.state == "running"]
    asked = [node for node in ran if node_ref(node.name) in refs - touched]
    if not asked:
        return []
    now = work.observed().nodes
    return [node.name for node in asked if node.name not in now or now[node.name].state != "running"]


def _retriable(outcome: Outcome) -> ConflictError | None:
    return next((error for error in outcome.failed.values() if isinstance(error, ConflictError) and error.retry), None)


def _without_waiting(full: Plan) -> Plan:
    """The plan without the waits that nothing else depends on."""
    needed = {each for step in full.steps for each in step.after}
    return Plan(full.lab, tuple(s for s in full.steps if s.verb is not Verb.VERIFY or s.id in needed))
