"""The options that many commands share: one name, one meaning, one help text each."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer

from labctl.commands.complete import complete_labs, complete_nodes


class OutputFormat(StrEnum):
    """How a command prints its data: for people, as a document, or names only."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class Progress(StrEnum):
    """How a command shows what it is doing; `auto` is live on a terminal and plain elsewhere (and under ``CI``)."""

    AUTO = "auto"
    LIVE = "live"
    PLAIN = "plain"
    JSON = "json"
    QUIET = "quiet"


def in_ci() -> bool:
    """Whether this is a job of a CI system, by the variable that all of them set."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def parse_duration(text: str | float) -> float:
    """Seconds of a duration such as ``90s``, ``10m`` or ``1h30m``; a bare number counts seconds."""
    if isinstance(text, int | float):
        return float(text)
    from labctl.model import scalars

    try:
        seconds = float(text) if text.replace(".", "", 1).isdigit() else scalars.parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if seconds <= 0:
        raise typer.BadParameter("expected a time longer than nothing")
    return seconds


File = Annotated[
    list[str] | None,
    typer.Option(
        "-f", "--file", metavar="FILE", help="Lab file; several are merged, - is standard input.", show_default=False
    ),
]
Name = Annotated[
    str | None,
    typer.Option("-n", "--name", metavar="LAB", help="Name of the lab, from anywhere.", autocompletion=complete_labs),
]
Output = Annotated[OutputFormat, typer.Option("-o", "--output", help="How to print the result.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress, only errors.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Show the output of builds and run steps too.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")]
ProgressMode = Annotated[Progress, typer.Option("--progress", help="How to show progress.")]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="DURATION", parser=parse_duration, help="Give up after this time.")
]
Ttl = Annotated[
    float | None,
    typer.Option(
        "--ttl",
        metavar="DURATION",
        parser=parse_duration,
        help="The lab ends after this time, and gc removes it; 1h in CI jobs when the file says nothing.",
    ),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the nodes are ready.")]
Nodes = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NODE]...", help="Nodes or groups; all when left out.", autocompletion=complete_nodes),
]
Node = Annotated[str, typer.Argument(metavar="NODE", help="A node.", autocompletion=complete_nodes)]
