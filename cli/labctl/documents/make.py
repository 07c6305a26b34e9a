"""The documents, made from what labctl observed, planned and read. Nothing secret passes from here on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

from labctl.documents.model import (
    InspectDocument,
    InspectedNode,
    LabsDocument,
    LabSummary,
    NetworkDocument,
    NodeDocument,
    PlanDocument,
    PortDocument,
    SpecificationDocument,
    StatusDocument,
    StepDocument,
    UpDocument,
    VersionDocument,
    VolumeDocument,
    stamp,
)
from labctl.documents.stored import UseDocument
from labctl.model.lab import Command, Lab, Node, Port
from labctl.plan.model import Observed, ObservedLab, ObservedNode, Plan

MASK = "********"
"""Stands where a value is secret."""

T = TypeVar("T")


Uses = Mapping[str, Sequence[UseDocument]]
"""The served volumes that each node has, by node."""


def node_document(node: ObservedNode, uses: Uses = MappingProxyType({})) -> NodeDocument:
    """The document of an observed node."""
    over = node.state in ("exited", "dead")
    document = NodeDocument(
        name=node.name,
        group=node.group or node.name,
        provider=node.provider,
        kind=node.kind,
        image=node.image,
        state=node.state,
        health=node.health if node.state == "running" else None,
        exit_code=node.exit_code if over else None,
        addresses={network: str(address) for network, address in node.addresses.items()},
        ports=[_port(port) for port in node.ports],
        desktop=node.desktop,
        volumes=list(node.volumes),
        storage=list(uses.get(node.name, ())),
        created=_stamp(node.created),
    )
    if not document.storage:
        return document
    from labctl.documents.storage import healthy

    return replace(document, health=healthy(document))


def missing_document(node: Node) -> NodeDocument:
    """The document of a node that the lab file has and the host has not."""
    return NodeDocument(
        name=node.name,
        group=node.group,
        provider=node.provider,
        kind="image" if node.image else "box",
        image=node.image or node.box or "",
        state="missing",
        health=None,
        exit_code=None,
        addresses={network: str(address) for network, address in node.interfaces.items() if address is not None},
        ports=[_port(port) for port in node.ports],
        desktop=f"{node.desktop.width}x{node.desktop.height}" if node.desktop else None,
        volumes=[mount.volume for mount in node.mounts if mount.volume],
        storage=[],
        created=None,
    )


def node_documents(observed: Observed, lab: Lab | None = None, uses: Uses = MappingProxyType({})) -> list[NodeDocument]:
    """The lab's nodes, those that `lab` has and the host has not included: in the file's order, then the rest."""
    nodes = {name: node for name, node in observed.nodes.items() if node.role == "node"}
    wanted = lab.nodes if lab is not None else {}
    first = [
        node_document(nodes[name], uses) if name in nodes else missing_document(node) for name, node in wanted.items()
    ]
    return first + [node_document(nodes[name], uses) for name in sorted(nodes, key=_natural) if name not in wanted]


def status_document(
    observed: Observed,
    lab: Lab | None = None,
    *,
    unfinished: Sequence[str] = (),
    uses: Uses = MappingProxyType({}),
) -> StatusDocument:
    """What is there of the lab; with `lab`, what its file has beyond that; `unfinished` nodes are half configured."""
    return StatusDocument(
        lab=observed.lab,
        directories=sorted(observed.directories),
        nodes=node_documents(observed, lab, uses),
        networks=[
            NetworkDocument(name=network.name, subnet=str(network.subnet), internal=network.internal)
            for network in _sorted(observed.networks)
        ],
        volumes=[
            VolumeDocument(name=volume.name, type=volume.type, reclaim=volume.reclaim)
            for volume in _sorted(observed.volumes)
        ],
        unfinished=list(unfinished),
    )


def labs_document(
    labs: Iterable[ObservedLab], memory: Callable[[ObservedLab], int | None] = lambda lab: None
) -> LabsDocument:
    """All labs of the host; `memory` tells the bytes that one takes."""
    found = (_summary(lab, memory(lab)) for lab in labs)
    return LabsDocument(labs=sorted(found, key=lambda summary: _natural(summary.name)))


def inspect_document(
    observed: Observed, names: Sequence[str], lab: Lab | None = None, uses: Uses = MappingProxyType({})
) -> InspectDocument:
    """The named nodes in full; each is on the host or in `lab`."""
    return InspectDocument(
        lab=observed.lab,
        nodes=[
            _inspected(name, observed.nodes.get(name), lab.nodes.get(name) if lab else None, uses) for name in names
        ],
    )


def plan_document(plan: Plan) -> PlanDocument:
    """The steps of a plan, in its order."""
    return PlanDocument(
        lab=plan.lab,
        changes=bool(plan),
        steps=[
            StepDocument(
                id=step.id,
                verb=step.verb.value,
                ref=step.ref,
                because=step.because,
                after=sorted(step.after),
                destroys=step.destroys,
            )
            for step in plan.steps
        ],
    )


def up_document(
    observed: Observed, *, exit_code: int, seconds: float, counts: Mapping[str, int], lab: Lab | None = None
) -> UpDocument:
    """What `up` did and what is there now. `counts` are of outcomes, as in `events.Finished`."""
    return UpDocument(
        lab=observed.lab,
        exit_code=exit_code,
        seconds=round(seconds, 3),
        steps={"done": counts.get("done", 0), "failed": counts.get("failed", 0), "skipped": counts.get("skipped", 0)},
        nodes=node_documents(observed, lab),
    )


def version_document(labctl: str) -> VersionDocument:
    """The versions that a bug report needs."""
    import platform

    return VersionDocument(labctl=labctl, python=platform.python_version(), platform=platform.platform())


def _stamp(seconds: float) -> str | None:
    return stamp(seconds) if seconds else None


def _port(port: Port) -> PortDocument:
    return PortDocument(address=port.address, host=port.host, container=port.container, protocol=port.protocol)


def _summary(lab: ObservedLab, memory: int | None) -> LabSummary:
    return LabSummary(
        name=lab.name,
        running=lab.running,
        total=lab.nodes,
        directory=min(lab.directories, default=None),
        created=_stamp(lab.created),
        owner=lab.owner or None,
        expires=None if lab.expires is None else stamp(lab.expires),
        memory=memory,
        disk=lab.disk,
    )


def _inspected(name: str, observed: ObservedNode | None, node: Node | None, uses: Uses) -> InspectedNode:
    if observed is not None:
        document = node_document(observed, uses)
    elif node is not None:
        document = missing_document(node)
    else:
        raise KeyError(name)
    return InspectedNode(
        name=name,
        id=observed.id if observed else None,
        status=observed.status if observed else "missing",
        shape=observed.shape if observed else "",
        content=observed.content if observed else "",
        node=document,
        specification=_specification(node) if node else None,
    )


def _specification(node: Node) -> SpecificationDocument:
    return SpecificationDocument(
        box=node.box,
        image=node.image,
        domain=node.domain,
        cpus=node.cpus,
        memory=node.memory,
        capabilities=list(node.capabilities),
        environment=dict.fromkeys(node.environment, MASK),
        command=_words(node.command),
        packages=list(node.packages),
        users=[user.name for user in node.users],
        files=[file.path for file in node.files],
        run=[_words_of(command) for command in node.run],
        services=[service.name for service in node.services],
        mounts=[
            f"{mount.volume or mount.source}:{mount.target}{':ro' if mount.read_only else ''}" for mount in node.mounts
        ],
        devices=[f"{device.volume}:{device.target}" for device in node.devices],
        depends_on={dependency.node: dependency.condition for dependency in node.depends_on},
        healthcheck=_words(node.healthcheck.test) if node.healthcheck else None,
        ide=node.ide,
    )


def _words(command: Command | None) -> str | list[str] | None:
    return None if command is None else _words_of(command)


def _words_of(command: Command) -> str | list[str]:
    return command if isinstance(command, str) else list(command)


def _sorted(things: Mapping[str, T]) -> list[T]:
    return [things[name] for name in sorted(things, key=_natural)]


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sorts ``web-10`` behind ``web-9``."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"\d+|\D+", name)]
