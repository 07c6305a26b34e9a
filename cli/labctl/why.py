"""Why a node is as it is: what it needs, asked again now, with what each probe says and what the node printed last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from labctl.documents.verdicts import ConditionDocument, ReasonDocument, WhyDocument
from labctl.errors import LabctlError

if TYPE_CHECKING:
    from labctl.api import RunningLab
    from labctl.model.lab import Lab
    from labctl.model.lab import Node as LabNode
    from labctl.plan.model import ObservedNode
    from labctl.recipe import Probe

LINES = 20
"""The last lines of a node's log that are shown."""

PATIENCE = 10.0
"""Seconds for one probe."""


def why(running: RunningLab, lab: Lab | None, names: Sequence[str]) -> WhyDocument:
    """The reasons for the nodes and groups in `names`, all when none is named; `lab` is its file when that is known.

    Raises `NotFoundError` for a name that neither the lab nor its file has.
    """
    wanted = lab.nodes if lab is not None else {}
    missing = [name for name in wanted if name not in running.observed.nodes]
    asked = dict.fromkeys(each for name in names for each in _meant(running, lab, name))
    chosen = list(asked) if names else [*(node.name for node in running.nodes()), *missing]
    with ThreadPoolExecutor(max_workers=8) as pool:
        reasons = pool.map(lambda name: _reason(running, wanted.get(name), name), chosen)
        return WhyDocument(lab=running.name, nodes=list(reasons))


def _meant(running: RunningLab, lab: Lab | None, name: str) -> list[str]:
    if lab is not None and name in lab.groups and name not in running.groups:
        return list(lab.groups[name])
    return [node.name for node in running.nodes([name])]


def _reason(running: RunningLab, wanted: LabNode | None, name: str) -> ReasonDocument:
    node = running.observed.nodes.get(name)
    conditions = list(_waits(running, wanted))
    if node is None:
        conditions.append(_condition("to be there", "not on this host", hint="labctl up makes it"))
        return ReasonDocument(node=name, state="missing", well=False, conditions=conditions, log=[])
    conditions += _conditions(running, node, wanted)
    return ReasonDocument(
        node=name,
        state=node.status or node.state,
        well=all(each.holds for each in conditions),
        conditions=conditions,
        log=_tail(running, node),
    )


def _waits(running: RunningLab, wanted: LabNode | None) -> Iterator[ConditionDocument]:
    """The nodes that this one waits for."""
    for each in wanted.depends_on if wanted is not None else ():
        other = running.observed.nodes.get(each.node)
        what = f"{each.node} to be {each.condition}"
        if other is None:
            yield _condition(what, f"{each.node} is missing", hint=f"labctl why {each.node}")
            continue
        over = other.state == "exited" and other.exit_code == 0
        holds = over if each.condition == "completed" else over or other.state == "running"
        if each.condition == "healthy" and holds:
            holds = other.health in (None, "healthy")
        yield _condition(what, other.status or other.state, holds=holds, hint=f"labctl why {each.node}")


def _conditions(running: RunningLab, node: ObservedNode, wanted: LabNode | None) -> Iterator[ConditionDocument]:
    from labctl import features

    done = node.kind == "image" and node.state == "exited" and node.exit_code == 0
    yield _condition(
        "to run", node.status or node.state, holds=node.state == "running" or done, hint=f"labctl start {node.name}"
    )
    if node.state != "running":
        return
    if node.kind == "box":
        if node.name in running.unfinished:
            yield _condition(
                "to be configured whole",
                "an `up` was ended or failed meanwhile",
                hint=f"labctl up goes on with it; what was run last: labctl logs {node.name} --run",
            )
        for probe in features.probes(has_desktop=node.desktop is not None):
            yield _probed(running, node, probe)
        if wanted is not None and wanted.services:
            yield _services(running, node)
    if node.health is not None:
        said = "\n".join(running.provider.verdict(node))
        hint = "mend what it asks for, or give it more retries"
        yield _condition("its healthcheck", said or node.health, holds=node.health == "healthy", hint=hint)


def _probed(running: RunningLab, node: ObservedNode, probe: Probe) -> ConditionDocument:
    from labctl.readiness import answers

    address = next(iter(node.addresses.values()), None)
    if probe.port is not None and address is not None and not answers(address, probe, 2.0, greeting=True):
        said = f"{address}:{probe.port} does not answer as it should"
        return _condition(probe.description, said, hint=probe.hint)
    if probe.script is None:
        return _condition(probe.description, "it answers", holds=True)
    try:
        result = running.shell(node).run(("/bin/sh", "-c", probe.script), timeout=PATIENCE)
    except LabctlError as error:
        return _condition(probe.description, error.message, hint=probe.hint)
    said = (result.stdout + result.stderr).decode(errors="replace").strip()
    holds = result.code == 0
    return _condition(probe.description, said or f"exit code {result.code}", holds=holds, hint=probe.hint)


_STATES = """
look() { while read -r name; do echo "$name: $(sv status "/run/lab/sv/$name")"; done </etc/lab/apply/services; }
before=$(look | sed 's/) [0-9]*s/)/g'); sleep 1; after=$(look | sed 's/) [0-9]*s/)/g')
printf '%s\\n' "$after" | sed 's#/run/lab/sv/[^:]*: ##; s/; run: log.*//'
case $after in *": down: "* | *": finish: "*) exit 1;; esac
[ "$before" = "$after" ] || { echo "a service has ended and was started again within a second"; exit 1; }
"""
"""What runit says of the services of the lab file, twice: one that goes round has another process then."""


def _services(running: RunningLab, node: ObservedNode) -> ConditionDocument:
    hint = f"mend its command; what it printed: labctl logs {node.name}"
    try:
        result = running.shell(node).run(("/bin/sh", "-c", _STATES), timeout=PATIENCE)
    except LabctlError as error:
        return _condition("its services to stay up", error.message, hint=hint)
    said = (result.stdout + result.stderr).decode(errors="replace").strip()
    return _condition("its services to stay up", said, holds=result.code == 0, hint=hint)


def _tail(running: RunningLab, node: ObservedNode) -> list[str]:
    try:
        return running.provider.tail(node, lines=LINES)
    except LabctlError as error:
        return [error.message]


def _condition(what: str, said: str, *, holds: bool = False, hint: str | None = None) -> ConditionDocument:
    return ConditionDocument(what=what, holds=holds, said=said, hint=None if holds else hint)
