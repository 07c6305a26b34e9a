"""The commands that look at labs: status (ps), inspect, ls. One observation each, nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.commands.complete import complete_nodes
from labctl.commands.options import File, Name, Output, OutputFormat

if TYPE_CHECKING:
    from labctl.api import RunningLab
    from labctl.model.lab import Lab
    from labctl.plan.model import Observed


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("status")(status)
    app.command("ps", hidden=True)(status)
    app.command("inspect")(inspect)
    app.command("ls")(ls)


def status(
    *,
    file: File = None,
    name: Name = None,
    storage: Annotated[bool, typer.Option("--storage", help="Show volumes: who serves them, who uses them.")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show the lab's nodes: state, health, addresses, ports, desktops; or its volumes.

    Works by name from anywhere, also when the lab file has changed or is gone; nodes that the file has and the host
    has not are shown as missing.
    """
    from labctl import api
    from labctl.documents.make import status_document
    from labctl.ui.labs import print_status
    from labctl.ui.show import show

    meant, lab = _meant(file, name)
    running = api.open_lab(meant)
    if storage:
        print_volumes(running, output)
        return
    same = _same(lab, running.observed)
    document = status_document(running.observed, same, unfinished=running.unfinished, uses=running.uses)
    found_here = file is None and name is None
    show(document, output, table=lambda: print_status(document, found_here=found_here))


def inspect(
    *,
    nodes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NODE]...", help="Nodes or groups; all if none.", autocompletion=complete_nodes),
    ] = None,
    file: File = None,
    name: Name = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show everything about nodes: how they are and what the lab file says; secrets are masked."""
    from labctl import api
    from labctl.documents.make import inspect_document
    from labctl.ui.labs import print_nodes
    from labctl.ui.show import show

    meant, lab = _meant(file, name)
    running = api.open_lab(meant)
    lab = _same(lab, running.observed)
    named: dict[str, None] = {}
    for each in nodes or [*running.groups, *(lab.nodes if lab else ())]:
        known = lab.groups.get(each) if lab and each not in running.groups else None
        named |= dict.fromkeys(known or [node.name for node in running.nodes([each])])
    document = inspect_document(running.observed, list(named), lab, running.uses)
    show(document, output, table=lambda: print_nodes(document))


def ls(*, output: Output = OutputFormat.TABLE) -> None:
    """List all labs on this host, from any directory."""
    from labctl import api
    from labctl.documents.make import labs_document
    from labctl.probe.usage import memory
    from labctl.ui.labs import print_labs
    from labctl.ui.show import show

    document = labs_document(api.labs(sizes=True), lambda lab: memory(lab.containers))
    show(document, output, table=lambda: print_labs(document, now=time.time()))


def print_volumes(running: RunningLab, output: OutputFormat, names: Collection[str] = ()) -> None:
    """Show the volumes of the lab, or those that are named."""
    from dataclasses import replace

    from labctl import sharing
    from labctl.documents.storage import storage_document
    from labctl.ui.show import show
    from labctl.ui.storage import print_storage

    document = storage_document(running.observed, running.uses, sharing.usage(running.provider, running.observed))
    if names:
        document = replace(document, volumes=[volume for volume in document.volumes if volume.name in names])
    show(document, output, table=lambda: print_storage(document))


def _meant(files: list[str] | None, name: str | None) -> tuple[str, Lab | None]:
    """The name of the lab that is meant, and what its file says when that can be read."""
    from labctl import api
    from labctl.errors import LabctlError
    from labctl.lab import LabDirectory, home

    given = files
    if name is not None and files is None:
        source = LabDirectory(home(), name).source()
        files = source[0] if source else []
        if not files:
            return name, None
    try:
        loaded = api.load(files)
    except LabctlError as error:
        meant = api.find_lab(given, name)
        typer.echo(f"note: the lab file is left out: {error.message}", err=True)
        return meant, None
    return name or api.lab_of(loaded), loaded.lab


def _same(lab: Lab | None, observed: Observed) -> Lab | None:
    """`lab` when it is what `observed` was made from: a file of that name elsewhere says nothing about it."""
    if lab is None or lab.name != observed.lab:
        return None
    return lab if str(lab.directory) in observed.directories or not observed.directories else None
