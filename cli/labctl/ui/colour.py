"""Colour for single words, without importing rich: errors and plain lines are on every command's path."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TextIO

_CODES: Mapping[str, str] = MappingProxyType(
    {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
)


def is_terminal(stream: TextIO) -> bool:
    """Whether `stream` is a terminal; a closed stream is none."""
    try:
        return stream.isatty()
    except ValueError:
        return False


class Ink:
    """Colours text for one stream: ``ink("error:", "bold red")`` gives it as it is where no colour is wanted.

    ``NO_COLOR`` forbids colour, ``FORCE_COLOR`` asks for it where there is no terminal.
    """

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        asked = bool(environ.get("FORCE_COLOR")) or (is_terminal(stream) and environ.get("TERM") != "dumb")
        self.on = asked and not environ.get("NO_COLOR")

    def __call__(self, text: str, style: str) -> str:
        if not (self.on and text):
            return text
        codes = ";".join(_CODES[name] for name in style.split())
        return f"\x1b[{codes}m{text}\x1b[0m"
