"""Boxes on this host: what is there of each, making it beforehand, and giving its room back."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labctl import machineboxes, shelf
from labctl.documents.model import BoxDocument, BoxesDocument
from labctl.engine import Outcome, execute
from labctl.errors import ConflictError, HostError, NotFoundError
from labctl.events import Emit, PlanReady
from labctl.lab import cache, home
from labctl.plan.model import BakedImage, BaseImage, MachineBox, Plan, Step, Verb
from labctl.source.boxes import base_image, box, boxes

if TYPE_CHECKING:
    from labctl.model.box import Box
    from labctl.providers.docker.provider import Docker
    from labctl.providers.docker.stock import StockImage
    from labctl.providers.vagrant.stock import StockBox


@dataclass(frozen=True, slots=True)
class Removed:
    """What was taken away: tags, how many things killed builds had left, and bytes (shared layers count in each)."""

    tags: tuple[str, ...]
    leftovers: int
    size: int


def engine(environ: Mapping[str, str] = os.environ) -> Docker:
    """The engine whose images are meant."""
    from labctl.probe.trust import host_trust
    from labctl.probe.user import invoking_user
    from labctl.providers.docker.provider import Docker

    return Docker(cache=cache(environ), trust=host_trust(environ), home=invoking_user(environ).home)


def document(docker: Docker) -> BoxesDocument:
    """All boxes, the default one first, with what is there of each. Where there are machines no engine is needed."""
    machines = machineboxes.found()
    stock = _images_of(docker, without_engine=bool(machines))
    own = [_own_document(each, machines) for each in shelf.boxes(home())]
    return BoxesDocument(boxes=[*(_document(each, stock, machines) for each in boxes()), *own])


def _images_of(docker: Docker, *, without_engine: bool) -> Sequence[StockImage]:
    """labctl's images; none where there is no engine, if that will do."""
    try:
        return docker.stock()
    except HostError:
        if not without_engine:
            raise
        return ()


def plan(name: str, docker: Docker, kinds: Collection[str]) -> Plan:
    """The steps that make what a plain node of the box needs, as far as it is not there: for ``docker`` its base image
    and its own, for ``vagrant`` the box of its machine.
    """
    images = _images(name, docker.stock()) if "docker" in kinds else ()
    return Plan(name, (*images, *(_machines(name) if "vagrant" in kinds else ())))


def _machines(name: str) -> tuple[Step, ...]:
    from labctl import features
    from labctl.model.lab import Node
    from labctl.probe.trust import host_trust
    from labctl.providers.vagrant.boxes import path_of
    from labctl.render.machine import bake

    baked = bake(box(name), features.recipe(Node("plain", "plain", box=name)), host_trust())
    if path_of(cache(), baked.tag).exists():
        return ()
    return (Step(Verb.BUILD, f"box/{baked.tag}", "not on this host", baked),)


def _images(name: str, stock: Sequence[StockImage]) -> tuple[Step, ...]:
    from labctl import features
    from labctl.model.lab import Node
    from labctl.probe.trust import host_trust
    from labctl.render.container import bake

    base = base_image(box(name))
    baked = bake(base, features.recipe(Node("plain", "plain", box=name)), host_trust())
    there = {each.tag for each in stock}
    steps = []
    if base.tag not in there:
        steps.append(Step(Verb.BUILD, f"base/{name}", "not on this host", base))
    if baked.tag not in there:
        after = frozenset(step.id for step in steps)
        steps.append(Step(Verb.BUILD, f"image/{baked.tag}", "not on this host", baked, after))
    return tuple(steps)


def build(docker: Docker, plan: Plan, emit: Emit) -> Outcome:
    """Carry out `plan`; errors of its steps are in the outcome."""
    steps = tuple((step.id, str(step.verb), step.ref, step.because) for step in plan.steps)
    emit(PlanReady(plan.lab, steps))

    def carry_out(step: Step, on_line: Callable[[str], None]) -> None:
        if isinstance(step.target, MachineBox):
            from labctl.probe.trust import host_trust
            from labctl.providers.vagrant import boxes as made

            made.build(step.target, cache(), host_trust().proxies, on_line)
            return
        assert isinstance(step.target, BaseImage | BakedImage)
        docker.build(step.target, on_line=on_line)

    return execute(plan, carry_out, emit)


def remove(docker: Docker, names: Sequence[str]) -> Removed:
    """Remove all images and machines' boxes of these names. Raises `ConflictError` when a lab uses one of them.

    A machine's box may be named itself: ``debian-13-0123456789ab``.
    """
    machines = machineboxes.named(names)
    stock = _images_of(docker, without_engine=bool(machines))
    known = {each.name for each in boxes()} | {each.box for each in stock}
    known |= {name for each in machines for name in machineboxes.called(each)} | {*shelf.names(home())}
    for name in names:
        if name not in known:
            raise NotFoundError(f"there is no box {name}", hint="labctl box list", code="LAB-FIND-004")
    meant = [each for each in stock if each.box in names]
    users = sorted({user for each in meant for user in each.users})
    if users:
        raise ConflictError(
            f"box {', '.join(names)} is in use",
            taken=f"box {', '.join(names)}",
            retry=False,
            details=[f"by {', '.join(users)}"],
            hint="take down the labs that use it, or remove only what is unused: labctl box prune",
            code="LAB-IMG-004",
        )
    gone = machineboxes.remove(machines)
    images = _take_away(docker, sorted(meant, key=lambda each: each.kind == "base")) if meant else Removed((), 0, 0)
    return _with_machines(images, gone, ())


def prune(docker: Docker) -> Removed:
    """Remove all of labctl's images that have no container and machines' boxes that have no machine, and leftovers.

    Boxes that somebody added or packaged stay: `up` could not make them again.
    """
    from labctl.providers.docker.stock import unused

    gone, left = machineboxes.prune()
    try:
        images = _take_away(docker, unused(docker.stock()))
    except HostError:
        if not (gone or left or machineboxes.found()):
            raise
        images = Removed((), 0, 0)
    return _with_machines(images, gone, left)


def _with_machines(images: Removed, gone: Sequence[StockBox], left: Sequence[str]) -> Removed:
    tags = (*images.tags, *(each.tag for each in gone))
    return Removed(tags, images.leftovers + len(left), images.size + sum(each.size for each in gone))


def _take_away(docker: Docker, meant: Sequence[StockImage]) -> Removed:
    gone = []
    for each in meant:
        try:
            docker.remove_image(each.tag)
        except ConflictError:
            continue  # a lab has begun to use it since it was looked at
        gone.append(each)
    left = docker.clear_leftovers()
    return Removed(tuple(each.tag for each in gone), len(left), sum(each.size for each in gone))


def _own_document(own: shelf.OwnBox, machines: Sequence[StockBox]) -> BoxDocument:
    sizes = [each.size for each in machines if each.tag == own.tag]
    return BoxDocument(
        name=own.name,
        title=f"from {own.system}" if own.system else "added",
        default=False,
        base=False,
        images=0,
        used=0,
        size=0,
        machines=len(sizes),
        machines_size=sum(sizes),
    )


def _document(box: Box, stock: Sequence[StockImage], machines: Sequence[StockBox]) -> BoxDocument:
    own = [each for each in stock if each.box == box.name]
    baked = [each for each in own if each.kind == "image"]
    return BoxDocument(
        name=box.name,
        title=box.title,
        default=box.default,
        base=any(each.tag == box.base_tag for each in own),
        images=len(baked),
        used=sum(bool(each.users) for each in baked),
        size=sum(each.size for each in own),
        machines=sum(each.box == box.name for each in machines),
        machines_size=sum(each.size for each in machines if each.box == box.name),
    )
