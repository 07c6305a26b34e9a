"""`labctl snapshot`: a whole lab kept under a name and brought back: save, restore, list, delete."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from labctl.commands.options import (
    File,
    Name,
    Nodes,
    Output,
    OutputFormat,
    Progress,
    ProgressMode,
    Quiet,
    Timeout,
    Yes,
)

Snapshot = Annotated[str, typer.Argument(metavar="NAME", help="The name of the snapshot.")]
Snapshots = Annotated[list[str], typer.Argument(metavar="NAME...", help="The names of snapshots.")]


def register(app: typer.Typer) -> None:
    """Add the command group of this module to `app`."""
    group = typer.Typer(
        no_args_is_help=True, help="Keep the lab as it is and bring it back: save, restore, list, delete."
    )
    group.command("save")(save)
    group.command("restore")(restore)
    group.command("list")(list_snapshots)
    group.command("delete")(delete)
    app.add_typer(group, name="snapshot")


def save(
    snapshot: Snapshot,
    nodes: Nodes = None,
    *,
    file: File = None,
    name: Name = None,
    progress: ProgressMode = Progress.AUTO,
    quiet: Quiet = False,
) -> None:
    """Keep nodes and volumes as they are now (all when no node is named); the whole lab stands still meanwhile.

    Of virtual machines the memory too; of containers what they wrote. `down` removes snapshots with the lab.
    """
    from labctl import api, lifecycle, snapshots
    from labctl.commands.session import Session

    lab = api.open_lab(api.find_lab(file, name))
    with Session(lab.name, progress, quiet=quiet) as session:
        outcome = snapshots.save(lab, snapshot, nodes or (), emit=session.emit)
        session.finish(outcome)
    lifecycle.raise_for(outcome)
    for line in snapshots.not_saved(lab, nodes or ()):
        typer.echo(f"note: {line}", err=True)


def restore(
    snapshot: Snapshot,
    nodes: Nodes = None,
    *,
    file: File = None,
    yes: Yes = False,
    timeout: Timeout = 600.0,
    progress: ProgressMode = Progress.AUTO,
    quiet: Quiet = False,
) -> None:
    """Bring nodes and volumes back to what they were (all of the snapshot when no node is named).

    What was written since is lost. The lab file has to say of them what it said then.
    """
    from labctl import api, snapshots
    from labctl.commands.session import Session, confirmation

    loaded = api.load(file)
    with Session(loaded.lab.name, progress, quiet=quiet) as session:
        result = snapshots.restore(
            loaded.lab,
            snapshot,
            nodes or (),
            files=[each for each in loaded.files if each is not None],
            emit=session.emit,
            confirm=confirmation(yes=yes, pause=session.pause),
            timeout=timeout,
        )
        session.finish(result.outcome, result.exit_code)
    if error := result.error(evidence=session.quiet):
        raise error


def list_snapshots(*, file: File = None, name: Name = None, output: Output = OutputFormat.TABLE) -> None:
    """List the lab's snapshots, the oldest first."""
    from labctl import api, snapshots
    from labctl.documents.kept import snapshots_document
    from labctl.ui.show import show
    from labctl.ui.snapshots import print_snapshots

    lab = api.find_lab(file, name, gone=True)
    document = snapshots_document(lab, snapshots.taken(lab))
    show(document, output, table=lambda: print_snapshots(document, now=time.time()))


def delete(names: Snapshots, *, file: File = None, name: Name = None) -> None:
    """Give up snapshots."""
    from labctl import api, snapshots

    for each in snapshots.delete(api.find_lab(file, name, gone=True), names):
        typer.echo(each)
