"""`labctl graph`: the lab file as a picture."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from labctl.commands.options import File


class GraphFormat(StrEnum):
    """Mermaid and DOT are text for other programs, SVG is the picture itself."""

    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


_SUFFIXES = {".svg": GraphFormat.SVG, ".dot": GraphFormat.DOT, ".gv": GraphFormat.DOT}


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("graph")(graph)


def graph(
    *,
    file: File = None,
    form: Annotated[
        GraphFormat | None,
        typer.Option("--format", help="mermaid, dot or svg; by the name of the output when left out, else mermaid."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write here instead of to standard output.")
    ] = None,
) -> None:
    """Draw the lab: networks, nodes, addresses, failure domains, volumes, and who waits for whom."""
    from labctl import api
    from labctl.errors import LabctlError

    chosen = form or (_SUFFIXES.get(output.suffix.lower()) if output else None) or GraphFormat.MERMAID
    lab = api.load_lab(file)
    if chosen is GraphFormat.SVG:
        from labctl.render.graph_svg import svg

        text = svg(lab)
    else:
        from labctl.render.graph import dot, mermaid

        text = dot(lab) if chosen is GraphFormat.DOT else mermaid(lab)
    if output is None or str(output) == "-":
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LabctlError(
            f"cannot write {output}: {error.strerror}", hint="choose another file with --output"
        ) from None
