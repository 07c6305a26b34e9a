"""Recipes as boxes of Vagrant's: what a machine's disk is made of, with a content address."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256

from labctl.assets import tree
from labctl.errors import HostError
from labctl.features.base import shipped
from labctl.model.box import Box
from labctl.plan.model import MachineBox
from labctl.recipe import Entry, Recipe, Trust
from labctl.render import services

_CONTAINERS_ONLY = ("/etc/apt/preferences.d/lab",)
"""What of the container's system keeps systemd away."""


def bake(box: Box, recipe: Recipe, trust: Trust) -> MachineBox:
    """The box of all nodes with this recipe. Raises `HostError` for an operating system that has no machines."""
    if box.machine is None:
        raise HostError(
            f"box {box.name} has no virtual machines: its file says nothing of a kernel",
            hint="give the node another `box`, or `provider: docker`",
            code="LAB-IMG-006",
        )
    certificates = tuple(
        Entry(f"/usr/local/share/ca-certificates/lab-{number}.crt", certificate)
        for number, certificate in enumerate(trust.certificates, start=1)
    )
    system = (*(each for each in shipped("container") if each.path not in _CONTAINERS_ONLY), *certificates)
    # The machine's own programs take the place of those that speak to a container's init.
    files = {
        each.path: each for each in (*recipe.files, *services.systemd(recipe.services), *shipped("machine", "node"))
    }
    made = MachineBox(
        tag="",
        box=box.name,
        suite=box.suite,
        variant=box.machine.variant,
        kernel=box.machine.kernel,
        packages=tuple(dict.fromkeys((*box.machine.include, *recipe.packages, *recipe.requested))),
        prepare=recipe.prepare,
        build=(*(("update-ca-certificates",) if certificates else ()), *recipe.build),
        system=system,
        files=tuple(files.values()),
    )
    return replace(made, tag=f"labctl/{box.name}-{_digest(made)}")


def _digest(box: MachineBox) -> str:
    """Of all that the disk is made of, the programs that make it included."""
    digest = sha256()
    words: Iterable[str] = (box.suite, box.variant, box.kernel, *box.packages, "", *box.prepare, "", *box.build)
    for word in words:
        digest.update(f"{word}\0".encode())
    programs = tuple(Entry(path, content) for path, content in tree("machine", "build"))
    for entry in (*box.system, *box.files, *programs):
        digest.update(f"\0{entry.path}\0{entry.mode:o}\0{entry.uid}\0{entry.gid}\0{len(entry.content)}\0".encode())
        digest.update(entry.content)
    return digest.hexdigest()[:12]
