"""The commands about the end of labs: extend, gc."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from labctl.commands.complete import complete_labs
from labctl.commands.options import File, Name, Yes, parse_duration


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("extend")(extend)
    app.command("gc")(gc)


def extend(
    duration: Annotated[
        str, typer.Argument(metavar="[DURATION]", help="How long from now, e.g. 90m or 8h; never: it has no end.")
    ] = "1h",
    *,
    file: File = None,
    name: Name = None,
) -> None:
    """Move the end of a lab: it lives at least this long from now. An end that is later stays."""
    from labctl import api, lifecycle

    lab = api.find_lab(file, name)
    end = lifecycle.extend(lab, None if duration == "never" else parse_duration(duration))
    if end is None:
        typer.echo(f"lab {lab} has no end", err=True)
        return
    when = datetime.fromtimestamp(end).astimezone().strftime("%Y-%m-%d %H:%M")
    typer.echo(f"lab {lab} ends at {when}", err=True)


def gc(
    *,
    name: Annotated[
        str | None,
        typer.Option(
            "-n", "--name", metavar="LAB", help="Only what belongs to this lab.", autocompletion=complete_labs
        ),
    ] = None,
    images: Annotated[
        bool, typer.Option("--images", help="Remove images that no container uses too; `up` makes them again.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    yes: Yes = False,
) -> None:
    """Remove labs whose time is over, and what killed runs left behind.

    All is known by labels alone: what is not labctl's is never touched, nor are labs that run and have time left,
    Retain volumes and images in use.
    """
    from labctl import garbage
    from labctl.errors import LabctlError, UsageError
    from labctl.ui.confirm import confirm

    if images and name is not None:
        raise UsageError("images belong to no lab", hint="leave out --name or --images")
    found = garbage.find(lab=name)
    for item in found:
        typer.echo(f"{item.what}: {item.because}")
    left: dict[str, LabctlError] = {}
    if found and not dry_run:
        confirm(f"remove {len(found)} thing{'s' * (len(found) != 1)}?", yes=yes)
        left = garbage.remove(found)
    if images:
        _remove_images(dry_run=dry_run)
    builds = 0 if dry_run or name is not None else garbage.clear_builds()
    if builds:
        typer.echo(f"{builds} leftover{'s' * (builds != 1)} of image builds removed")
    if not found and not builds and not images:
        typer.echo("nothing to remove")
    if left:
        details = [f"{what}: {error}" for what, error in left.items()]
        raise LabctlError(
            "not all could be removed", details=details, hint=next(iter(left.values())).hint, code="LAB-LAB-006"
        )


def _remove_images(*, dry_run: bool) -> None:
    from labctl import boxes, machineboxes
    from labctl.errors import HostError
    from labctl.providers.docker.stock import unused

    docker = boxes.engine()
    if not dry_run:
        for tag in boxes.prune(docker).tags:
            typer.echo(f"image {tag}: removed")
        return
    machines = machineboxes.unused()
    try:
        for each in unused(docker.stock()):
            typer.echo(f"image {each.tag}: no container uses it")
    except HostError:
        if not machines:
            raise
    for box in machines:
        typer.echo(f"box {box.tag}: no virtual machine uses it")
