"""`labctl graph`: the lab file as a picture."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.commands.options import File

if TYPE_CHECKING:
    from labctl.model.lab import Lab


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
    """Draw the lab: networks, nodes, failure domains, volumes, and who waits for whom.

    Addresses are those that the lab file gives, and while the lab is up those that labctl chose.
    """
    from labctl import api
    from labctl.errors import LabctlError

    chosen = form or (_SUFFIXES.get(output.suffix.lower()) if output else None) or GraphFormat.MERMAID
    lab = _with_chosen(api.load_lab(file))
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
            f"cannot write {output}: {error.strerror}", hint="choose another file with --output", code="LAB-USE-003"
        ) from None


def _with_chosen(lab: Lab) -> Lab:
    """The lab with the addresses and subnets that it has on this host, as far as it is there and none is given."""
    from dataclasses import replace

    from labctl import api
    from labctl.errors import LabctlError

    try:
        observed = api.provider().observe(lab.name)
    except LabctlError:
        return lab  # a picture needs no engine
    if str(lab.directory) not in observed.directories:
        return lab
    nodes = {
        name: replace(node, interfaces={net: at or seen.addresses.get(net) for net, at in node.interfaces.items()})
        for name, node in lab.nodes.items()
        if (seen := observed.nodes.get(name)) is not None
    }
    networks = {
        name: replace(network, subnet=network.subnet or made.subnet)
        for name, network in lab.networks.items()
        if (made := observed.networks.get(name)) is not None
    }
    return replace(lab, nodes={**lab.nodes, **nodes}, networks={**lab.networks, **networks})
