"""The commands that change a lab: up, plan, down, start, stop, restart."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

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
    Ttl,
    Verbose,
    Wait,
    Yes,
    in_ci,
)

if TYPE_CHECKING:
    from labctl.commands.session import Session
    from labctl.lifecycle import Up
    from labctl.model.lab import Lab

CI_TTL = 3600.0
"""Seconds that a lab of a CI job lives when nothing else is said."""

Grace = Annotated[
    float, typer.Option("-t", "--time", metavar="SECONDS", help="Kill a node that has not stopped after this time.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("up")(up)
    app.command("plan")(plan)
    app.command("down")(down)
    app.command("start")(start)
    app.command("stop")(stop)
    app.command("halt", hidden=True)(stop)
    app.command("restart")(restart)


def up(
    *,
    nodes: Nodes = None,
    file: File = None,
    yes: Yes = False,
    wait: Wait = True,
    timeout: Timeout = 600.0,
    ttl: Ttl = None,
    output: Output = OutputFormat.TABLE,
    progress: ProgressMode = Progress.AUTO,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Bring the lab up, or to what its file says now.

    Only what is missing, broken or different is touched. With NODE only these and what they wait for.
    """
    from labctl import api, lifecycle
    from labctl.commands.session import Session, confirmation

    loaded = api.load(file)
    if ttl is None and loaded.lab.ttl is None and in_ci():
        loaded = replace(loaded, lab=replace(loaded.lab, ttl=CI_TTL))
    with Session(loaded.lab.name, progress, quiet=quiet, verbose=verbose, output=output) as session:
        session.notices(loaded.notices)
        result = lifecycle.up(
            loaded.lab,
            files=[file for file in loaded.files if file is not None],
            nodes=nodes or (),
            emit=session.emit,
            confirm=confirmation(yes=yes, pause=session.pause),
            timeout=timeout,
            wait=wait,
            ttl=ttl,
        )
        session.finish(result.outcome, result.exit_code)
    _print_up(loaded.lab, result, session, output)
    if error := result.error(evidence=session.quiet):
        raise error


def plan(
    *,
    nodes: Nodes = None,
    file: File = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 10 when there is something to do.")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show what `up` would do and why; nothing is changed."""
    from labctl import api, planning
    from labctl.documents.make import plan_document
    from labctl.errors import ExitCode
    from labctl.lab import LabDirectory, home
    from labctl.ui.plans import print_plan
    from labctl.ui.show import show

    loaded = api.load(file)
    for notice in loaded.notices:
        typer.echo(f"note: {notice}", err=True)
    directory = LabDirectory(home(), loaded.lab.name)
    provider = api.provider(node.provider for node in loaded.lab.nodes.values())
    planned = planning.plan(loaded.lab, provider, directory, nodes or ())
    show(plan_document(planned.plan), output, table=lambda: print_plan(planned.plan))
    if exit_code and planned.plan:
        raise typer.Exit(int(ExitCode.CHANGES))


def down(
    *,
    file: File = None,
    name: Name = None,
    volumes: Annotated[bool, typer.Option("--volumes", help="Remove Retain volumes too.")] = False,
    progress: ProgressMode = Progress.AUTO,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Take the lab down: all of it but its Retain volumes, which are named.

    Works by name from anywhere, also when the lab file has changed or is gone.
    """
    from labctl import api, lifecycle
    from labctl.commands.session import Session

    lab = api.find_lab(file, name, gone=True)
    with Session(lab, progress, quiet=quiet, verbose=verbose) as session:
        outcome, kept = lifecycle.down(
            lab,
            volumes=volumes,
            emit=session.emit,
            missing_ok=name is None,
            retained=lambda: api.retained(lab, file),
        )
        session.finish(outcome)
    if kept:
        typer.echo(f"kept: {', '.join(kept)} (labctl down --name {lab} --volumes removes them)", err=True)
    lifecycle.raise_for(outcome)


def stop(
    *,
    nodes: Nodes = None,
    file: File = None,
    name: Name = None,
    time: Grace = 10.0,
    progress: ProgressMode = Progress.AUTO,
    quiet: Quiet = False,
) -> None:
    """Stop nodes (all when none is named); they keep names, addresses and files."""
    from labctl import api, lifecycle
    from labctl.commands.session import Session

    lab = api.open_lab(api.find_lab(file, name))
    with Session(lab.name, progress, quiet=quiet) as session:
        outcome = lifecycle.stop(lab, nodes or (), emit=session.emit, timeout=time)
        session.finish(outcome)
    lifecycle.raise_for(outcome)


def start(
    *,
    nodes: Nodes = None,
    file: File = None,
    name: Name = None,
    timeout: Timeout = 120.0,
    progress: ProgressMode = Progress.AUTO,
    quiet: Quiet = False,
) -> None:
    """Start nodes that were stopped, as they were, and wait until they answer."""
    from labctl import api, lifecycle
    from labctl.commands.session import Session

    lab = api.open_lab(api.find_lab(file, name))
    with Session(lab.name, progress, quiet=quiet) as session:
        outcome = lifecycle.start(lab, nodes or (), emit=session.emit, timeout=timeout)
        session.finish(outcome)
    lifecycle.raise_for(outcome)


def restart(
    *,
    nodes: Nodes = None,
    file: File = None,
    name: Name = None,
    time: Grace = 10.0,
    timeout: Timeout = 120.0,
    progress: ProgressMode = Progress.AUTO,
    quiet: Quiet = False,
) -> None:
    """Stop nodes and start them again."""
    from labctl import api, lifecycle
    from labctl.commands.session import Session

    found = api.find_lab(file, name)
    with Session(found, progress, quiet=quiet) as session:
        outcome = lifecycle.stop(api.open_lab(found), nodes or (), emit=session.emit, timeout=time)
        lifecycle.raise_for(outcome)
        outcome = lifecycle.start(api.open_lab(found), nodes or (), emit=session.emit, timeout=timeout)
        session.finish(outcome)
    lifecycle.raise_for(outcome)


def _print_up(lab: Lab, result: Up, session: Session, output: OutputFormat) -> None:
    """The result on stdout when a document was asked for; else the lab's message and the way to its desktops."""
    if output is not OutputFormat.TABLE:
        from labctl.documents.make import up_document
        from labctl.ui.show import show

        document = up_document(
            result.observed(), exit_code=result.exit_code, seconds=session.seconds, counts=session.counts, lab=lab
        )
        show(document, output, table=lambda: None)
    elif result.exit_code == 0 and not session.quiet:
        if any(node.desktop for node in lab.nodes.values()):
            typer.echo("desktops: labctl vnc", err=True)
        if lab.message:
            from labctl.ui.words import clean_text

            typer.echo(clean_text(lab.message), err=True)
