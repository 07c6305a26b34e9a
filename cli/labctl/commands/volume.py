"""`labctl volume`: the data of a lab, apart from its nodes: list, inspect, remove, resize."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from labctl.commands.options import (
    File,
    Name,
    Output,
    OutputFormat,
    Progress,
    ProgressMode,
    Quiet,
    Timeout,
    Verbose,
    Yes,
)

if TYPE_CHECKING:
    from labctl.api import RunningLab
    from labctl.plan.model import ObservedVolume

Volume = Annotated[str, typer.Argument(metavar="VOLUME", help="A volume of the lab.")]
Volumes = Annotated[list[str], typer.Argument(metavar="VOLUME...", help="Volumes of the lab.")]


def register(app: typer.Typer) -> None:
    """Add the command group of this module to `app`."""
    group = typer.Typer(no_args_is_help=True, help="The volumes of a lab: list, inspect, remove, resize.")
    group.command("list")(list_volumes)
    group.command("inspect")(inspect)
    group.command("remove")(remove)
    group.command("resize")(resize)
    app.add_typer(group, name="volume")


def list_volumes(*, file: File = None, name: Name = None, output: Output = OutputFormat.TABLE) -> None:
    """List the lab's volumes: who serves them, who uses them, how large they are."""
    from labctl.commands.view import print_volumes

    print_volumes(_open(file, name), output)


def inspect(volumes: Volumes, *, file: File = None, name: Name = None, output: Output = OutputFormat.YAML) -> None:
    """Show all that is known of volumes."""
    from labctl.commands.view import print_volumes

    lab = _open(file, name)
    print_volumes(lab, output, [_volume(lab, each).name for each in volumes])


def remove(volumes: Volumes, *, file: File = None, name: Name = None, yes: Yes = False) -> None:
    """Remove volumes with their data; one that a node has is refused."""
    from labctl.errors import LabctlError
    from labctl.ui.confirm import confirm

    lab = _open(file, name)
    meant = [_volume(lab, each) for each in volumes]
    for volume in meant:
        if users := _users(lab, volume):
            raise LabctlError(
                f"volume {volume.name} is in use by {', '.join(users)}",
                hint="take the volume out of the lab file and run `labctl up`, or take the lab down first",
                code="LAB-VOL-001",
            )
    confirm(f"remove {', '.join(each.name for each in meant)} with all data?", yes=yes)
    with lab.directory.lock():
        for volume in meant:
            lab.provider.remove(volume)
            typer.echo(volume.name)


def resize(
    volume: Volume,
    size: Annotated[str, typer.Argument(metavar="SIZE", help="The new size, such as 2GiB.")],
    *,
    file: File = None,
    timeout: Timeout = 600.0,
    progress: ProgressMode = Progress.AUTO,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make an iSCSI volume larger: the disk on its server, then device and file system of who uses it."""
    from dataclasses import replace

    from labctl import api, lifecycle
    from labctl.commands.session import Session, confirmation
    from labctl.errors import LabctlError, NotFoundError, UsageError
    from labctl.model.scalars import format_size, parse_size

    loaded = api.load(file)
    lab = loaded.lab
    known = lab.volumes.get(volume)
    if known is None:
        raise NotFoundError(f"lab {lab.name} has no volume {volume}", details=[f"volumes: {', '.join(lab.volumes)}"])
    if known.size is None:
        raise LabctlError(
            f"volume {volume} is {known.type} and has no size of its own: it takes what the disk has",
            code="LAB-VOL-002",
        )
    try:
        wanted = parse_size(size)
    except ValueError as error:
        raise UsageError(str(error)) from None
    now = _size(api.open_lab(lab.name), volume) or known.size
    if wanted < now:
        raise LabctlError(
            f"volume {volume} has {format_size(now)} and cannot shrink to {format_size(wanted)}", code="LAB-VOL-002"
        )
    larger = replace(lab, volumes={**lab.volumes, volume: replace(known, size=wanted)})
    with Session(lab.name, progress, quiet=quiet, verbose=verbose) as session:
        result = lifecycle.up(
            larger,
            files=[each for each in loaded.files if each is not None],
            emit=session.emit,
            confirm=confirmation(yes=False, pause=session.pause),
            timeout=timeout,
        )
        session.finish(result.outcome, result.exit_code)
    if failed := result.error(evidence=session.quiet):
        raise failed
    if wanted != known.size:
        typer.echo(f"write `size: {format_size(wanted)}` into the lab file: it cannot become smaller again", err=True)


def _open(files: list[str] | None, name: str | None) -> RunningLab:
    from labctl import api

    return api.open_lab(api.find_lab(files, name, gone=True))


def _volume(lab: RunningLab, name: str) -> ObservedVolume:
    from labctl.errors import NotFoundError

    if name not in lab.observed.volumes:
        there = ", ".join(lab.observed.volumes) or "none"
        raise NotFoundError(f"lab {lab.name} has no volume {name} on this host", details=[f"volumes: {there}"])
    return lab.observed.volumes[name]


def _users(lab: RunningLab, volume: ObservedVolume) -> list[str]:
    holders = [node.name for node in lab.observed.nodes.values() if volume.name in node.volumes]
    mounting = [node for node, uses in lab.uses.items() if any(use.volume == volume.name for use in uses)]
    return sorted({*holders, *mounting})


def _size(lab: RunningLab, volume: str) -> int | None:
    from labctl import sharing

    return sharing.usage(lab.provider, lab.observed).get(volume, (None, 0))[0]
