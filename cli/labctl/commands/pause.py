"""The commands that Vagrant's users know: suspend, resume, reload, provision; for containers too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from labctl.commands.lab import Grace
from labctl.commands.options import File, Name, Nodes, Progress, ProgressMode, Quiet, Timeout, Verbose, Yes

if TYPE_CHECKING:
    from labctl.source.load import Loaded


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("suspend")(suspend)
    app.command("resume")(resume)
    app.command("reload")(reload)
    app.command("provision")(provision)


def suspend(
    *,
    nodes: Nodes = None,
    file: File = None,
    name: Name = None,
    progress: ProgressMode = Progress.AUTO,
    quiet: Quiet = False,
) -> None:
    """Hold nodes still (all when none is named): their memory is kept, their processors rest.

    `resume` or `up` lets them go on. The host must stay on meanwhile: nothing is written to its disk.
    """
    from labctl import api, lifecycle, pausing
    from labctl.commands.session import Session

    lab = api.open_lab(api.find_lab(file, name))
    with Session(lab.name, progress, quiet=quiet) as session:
        outcome = pausing.suspend(lab, nodes or (), emit=session.emit)
        session.finish(outcome)
    lifecycle.raise_for(outcome)


def resume(
    *,
    nodes: Nodes = None,
    file: File = None,
    name: Name = None,
    progress: ProgressMode = Progress.AUTO,
    quiet: Quiet = False,
) -> None:
    """Let nodes go on that were suspended; the clocks of virtual machines are set."""
    from labctl import api, lifecycle, pausing
    from labctl.commands.session import Session

    lab = api.open_lab(api.find_lab(file, name))
    with Session(lab.name, progress, quiet=quiet) as session:
        outcome = pausing.resume(lab, nodes or (), emit=session.emit)
        session.finish(outcome)
    lifecycle.raise_for(outcome)


def reload(
    *,
    nodes: Nodes = None,
    file: File = None,
    time: Grace = 10.0,
    yes: Yes = False,
    timeout: Timeout = 600.0,
    progress: ProgressMode = Progress.AUTO,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Stop nodes, start them again, and bring them to what the lab file says now."""
    from labctl import api, lifecycle
    from labctl.commands.session import Session

    loaded = api.load(file)
    name = api.lab_of(loaded)
    lab = api.open_lab(name)
    with Session(name, progress, quiet=quiet) as session:
        outcome = lifecycle.stop(lab, nodes or (), emit=session.emit, timeout=time)
        lifecycle.raise_for(outcome)
        session.finish(outcome)
    _up(loaded, nodes, yes=yes, timeout=timeout, progress=progress, quiet=quiet, verbose=verbose)


def provision(
    *,
    nodes: Nodes = None,
    file: File = None,
    yes: Yes = False,
    timeout: Timeout = 600.0,
    progress: ProgressMode = Progress.AUTO,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Put packages, users, files and services into running nodes again, and take their `run` steps once more."""
    from labctl import api, pausing

    loaded = api.load(file)
    done = pausing.provision(api.open_lab(api.lab_of(loaded)), nodes or ())
    _up(loaded, nodes and done, yes=yes, timeout=timeout, progress=progress, quiet=quiet, verbose=verbose)


def _up(
    loaded: Loaded,
    nodes: list[str] | None,
    *,
    yes: bool,
    timeout: float,
    progress: Progress,
    quiet: bool,
    verbose: bool,
) -> None:
    from labctl import lifecycle
    from labctl.commands.session import Session, confirmation

    with Session(loaded.lab.name, progress, quiet=quiet, verbose=verbose) as session:
        result = lifecycle.up(
            loaded.lab,
            files=[file for file in loaded.files if file is not None],
            nodes=nodes or (),
            emit=session.emit,
            confirm=confirmation(yes=yes, pause=session.pause),
            timeout=timeout,
        )
        session.finish(result.outcome, result.exit_code)
    if error := result.error(evidence=session.quiet):
        raise error
