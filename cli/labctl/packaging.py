"""A node that runs as something that others can have: a machine as a box, a container as an image."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labctl import boxes, machineboxes, shelf
from labctl.errors import LabctlError, UsageError
from labctl.lab import cache

if TYPE_CHECKING:
    from labctl.api import RunningLab
    from labctl.plan.model import ObservedNode

_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")


@dataclass(frozen=True, slots=True)
class Packaged:
    """What became of a node: what a lab file says to have it (``box: web``), and for a machine where its file lies."""

    key: str
    name: str
    path: str = ""
    sha256: str = ""


def package(lab: RunningLab, node: ObservedNode, name: str, on_line: Callable[[str], None]) -> Packaged:
    """Make a box or image called `name` of a node, which goes on running. Raises `LabctlError`."""
    if not _NAME.match(name):
        raise UsageError(f"{name} is not a name for a box", hint="lower-case letters, digits and hyphens, at most 40")
    if node.role != "node" or node.state != "running":
        raise LabctlError(f"{node.name} does not run", hint=f"labctl start {node.name}", code="LAB-NODE-001")
    if node.provider == "vagrant":
        return _machine(lab, node, name, on_line)
    on_line("reading the container's files")
    boxes.engine().package(node, name)
    return Packaged("image", name)


def _machine(lab: RunningLab, node: ObservedNode, name: str, on_line: Callable[[str], None]) -> Packaged:
    from labctl.providers.vagrant import machines
    from labctl.providers.vagrant.boxes import checksum
    from labctl.providers.vagrant.package import packaged

    machineboxes.check_name(name)
    box = machines.directory_of(node.image, machineboxes.vagrant_home())
    if box is None:
        raise LabctlError(
            f"the box that {node.name} was made from is not with this user's Vagrant",
            hint="package it as the user who made it",
            code="LAB-FIND-004",
        )
    system = node.image.partition("/")[2].rpartition("-")[0]
    with packaged(lab.provider.access(node), box, name, system, cache(), on_line) as (file, services):
        own = shelf.OwnBox(name, system, checksum(file), services)
        path = machineboxes.keep(own, file)
    return Packaged("box", name, str(path), own.sha256)
