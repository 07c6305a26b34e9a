"""`labctl why`: what a node waits for, what its probes say now, what it printed last, what to try."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from labctl.commands.options import File, Name, Nodes, Output, OutputFormat

if TYPE_CHECKING:
    from labctl.model.lab import Lab


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("why")(why)


def why(
    *,
    nodes: Nodes = None,
    file: File = None,
    name: Name = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Say why nodes are as they are: what they wait for, what each probe says now, their last lines, what to try.

    Without NODE all that are not well; nothing is changed.
    """
    from dataclasses import replace

    from labctl import api
    from labctl.ui.reasons import print_reasons
    from labctl.ui.show import show
    from labctl.why import why as reasons

    running = api.open_lab(api.find_lab(file, name))
    document = reasons(running, _file_of(file, running.name), nodes or ())
    if not nodes and output is OutputFormat.TABLE:
        unwell = [node for node in document.nodes if not node.well]
        if not unwell:
            typer.echo(f"all {len(document.nodes)} nodes of lab {running.name} are well", err=True)
        document = replace(document, nodes=unwell)
    show(document, output, table=lambda: print_reasons(document))


def _file_of(files: list[str] | None, name: str) -> Lab | None:
    """What the lab's file says, when it can be found and read."""
    from labctl import api
    from labctl.errors import LabctlError
    from labctl.lab import LabDirectory, home

    source = LabDirectory(home(), name).source()
    try:
        lab = api.load_lab(files or (source[0] if source and source[0] else None))
    except LabctlError:
        return None
    return lab if lab.name == name else None
