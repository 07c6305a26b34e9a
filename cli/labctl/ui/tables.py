"""Tables of plain columns: aligned, one line per row, as good for `grep` as for eyes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from labctl.ui.colour import Ink
from labctl.ui.words import clean

Cell = str | tuple[str, str]
"""Text, or text and its style."""

GAP = 2


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    stream: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Print `rows` below `header` to `stream` (stdout when None). Columns in which no row has text are left out."""
    out = stream or sys.stdout
    ink = Ink(out, environ)
    rows = [[_cleaned(cell) for cell in row] for row in rows]
    columns = [place for place in range(len(header)) if any(_text(row[place]) for row in rows)]
    widths = {place: max(len(header[place]), *(len(_text(row[place])) for row in rows)) for place in columns}
    lines: list[list[Cell]] = [[(header[place], "bold") for place in columns]]
    lines += [[row[place] for place in columns] for row in rows]
    for cells in lines:
        out.write(_line(cells, [widths[place] for place in columns], ink) + "\n")


def age(seconds: float) -> str:
    """A length of time in its largest unit: ``45s``, ``12m``, ``3h``, ``2d``."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(max(seconds, 0))}s"


def _cleaned(cell: Cell) -> Cell:
    """The cell without what a terminal would obey: nodes and directories have a say in it."""
    return clean(cell) if isinstance(cell, str) else (clean(cell[0]), cell[1])


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell[0]


def _line(cells: Sequence[Cell], widths: Sequence[int], ink: Ink) -> str:
    parts = []
    for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        text, style = (cell, "") if isinstance(cell, str) else cell
        space = "" if place == len(cells) - 1 else " " * (width - len(text) + GAP)
        parts.append((ink(text, style) if style else text) + space)
    return "".join(parts).rstrip()
