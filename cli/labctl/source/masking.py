"""Secrets in the lines that errors show: which columns nobody is to see, and the line without them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from labctl.model.secret import MASK, is_secret_key

Span = tuple[int, int]
"""Columns of a line: from (inclusive), to (exclusive)."""
Area = tuple[int, int, int, int]
"""Where something stands in a text: its first line and column, its last line and the column after its end."""

_KEY = re.compile(r"""([\w.-]+)["']?\s*:(?:\s+|$)""")

_ALIAS = re.compile(r"[:\s-]\s*\*[\w.-]+\s*$")
"""A line that ends with an alias has its value elsewhere."""


def spans(areas: Iterable[Area], number: int, line: str, others: Iterable[Span] = ()) -> list[Span]:
    """The columns of `areas` in line `number`, together with `others`, in their order and those that touch as one."""
    here = (
        (column if number == first else 0, end if number == last else len(line))
        for first, column, last, end in areas
        if first <= number <= last
    )
    kept: list[Span] = []
    for start, end in sorted([*here, *others]):
        if kept and start < kept[-1][1]:
            kept[-1] = (kept[-1][0], max(min(end, len(line)), kept[-1][1]))
        elif start < min(end, len(line)):
            kept.append((start, min(end, len(line))))
    return kept


def guessed(lines: Sequence[str], number: int) -> list[Span]:
    """The columns that look like secrets in a text that cannot be read whole: by the keys before and above them."""
    line = lines[number]
    if _ALIAS.search(line):
        return []
    indent = _indent(line)
    for above in range(number - 1, -1, -1):
        if not lines[above].strip() or _indent(lines[above]) >= indent:
            continue
        indent = _indent(lines[above])
        if any(_names_secret(key[1]) for key in _KEY.finditer(lines[above])):
            own = _KEY.match(line, _begin(line))
            return [(own.end() if own else _begin(line), len(line))]
        if not indent:
            break
    first = next((key.end() for key in _KEY.finditer(line) if _names_secret(key[1])), len(line))
    return [(first, len(line))] if first < len(line) else []


def masked(line: str, column: int, width: int, hidden: Sequence[Span]) -> tuple[str, int, int]:
    """`line` with a mask over the hidden columns, and where the `width` columns at `column` are then."""
    for start, end in reversed(hidden):
        line = f"{line[:start]}{MASK}{line[end:]}"
        change = len(MASK) - (end - start)
        if start <= column < end:
            column, width = start, len(MASK)
        elif end <= column:
            column += change
        elif start < column + width:
            width = max(1, width + change)
    return line, column, width


def _names_secret(key: str) -> bool:
    return key == "environment" or is_secret_key(key)


def _begin(line: str) -> int:
    """The column of the first character that is no indentation."""
    return len(line) - len(line.lstrip(" \t-"))


def _indent(line: str) -> int:
    return len(line[: _begin(line)].expandtabs())
