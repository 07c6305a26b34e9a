"""The options that many commands share: one name, one meaning, one help text each."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
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


def parse_duration(text: str | float) -> float:
    """Seconds of a duration such as ``90s``, ``10m``, ``8h`` or ``1h30m``; a bare number counts seconds."""
    if isinstance(text, int | float):
        return float(text)
    import re

    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    word = text.strip()
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[smhd])", word)
    if parts and "".join(number + unit for number, unit in parts) == word:
        seconds = sum(float(number) * units[unit] for number, unit in parts)
    elif re.fullmatch(r"\d+(\.\d+)?", word):
        seconds = float(word)
    else:
        raise typer.BadParameter(f"{text!r} is no duration: write 90s, 10m or 8h")
    if seconds <= 0:
        raise typer.BadParameter("a duration must be longer than nothing")
    return seconds


File = Annotated[
    list[Path] | None,
    typer.Option(
        "-f", "--file", metavar="FILE", help="Lab file; several are merged, - is standard input.", show_default=False
    ),
]
Name = Annotated[
    str | None,
    typer.Option("-n", "--name", metavar="LAB", help="Name of the lab, from anywhere.", autocompletion=complete_labs),
]
Output = Annotated[OutputFormat, typer.Option("-o", "--output", help="How to print the result.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress; print names only.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Show the output of builds and run steps too.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")]
ProgressMode = Annotated[Progress, typer.Option("--progress", help="How to show progress.")]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="DURATION", parser=parse_duration, help="Give up after this time.")
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the nodes are ready.")]
Nodes = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NODE]...", help="Nodes or groups; all when left out.", autocompletion=complete_nodes),
]
Node = Annotated[str, typer.Argument(metavar="NODE", help="A node.", autocompletion=complete_nodes)]
