"""Problems as text: file, line, column, the message, the line itself and a caret."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from labctl.source.masking import Area, Span, guessed, masked, spans
from labctl.source.tree import Place
from labctl.source.yamlio import split_lines

_WIDTH = 100


@dataclass(slots=True)
class SourceFile:
    """A file of the lab: `name` is how errors call it; its text, once read.

    `secrets` are where its secrets stand; all of them when the text could be parsed to its end (`whole`).
    """

    name: str
    text: str
    secrets: Collection[Area] = ()
    whole: bool = False
    lines: list[str] = field(default_factory=list)

    def line(self, number: int) -> str:
        """The line with this number, from 0."""
        if not self.lines:
            self.lines = split_lines(self.text)
        return self.lines[number] if 0 <= number < len(self.lines) else ""

    def hidden(self, number: int) -> list[Span]:
        """The columns of this line that nobody is to see."""
        line = self.line(number)
        return spans(self.secrets, number, line, [] if self.whole else guessed(self.lines, number))

    def count(self) -> int:
        """How many lines can be pointed at; a last line without text does not count, unless it is the only one."""
        self.line(0)
        return max(1, len(self.lines) - (self.lines[-1] == ""))


def render(files: Sequence[SourceFile], place: Place, message: str, hint: str | None = None) -> str:
    """One problem, ready to print: ``FILE:LINE:COLUMN: message``, the line, a caret below, and the hint."""
    file = files[place.file]
    number, column = place.line, place.column
    if number >= file.count():
        number = file.count() - 1
        column = len(file.line(number))
    line = file.line(number)
    column = min(column, len(line))
    at = column + 1
    line, column, width = masked(line, column, place.width if place.line == number else 1, file.hidden(number))
    gutter = f"{number + 1:4} | "
    shown, offset, width = _window(line, column, width)
    parts = [f"{file.name}:{number + 1}:{at}: {message}", f"{gutter}{shown}".rstrip()]
    parts.append(f"{' ' * (len(gutter) - 2)}| {' ' * offset}{'^' * width}")
    if hint:
        parts.append(f"{' ' * (len(gutter) - 2)}= {hint}")
    return "\n".join(parts)


def _window(line: str, column: int, width: int) -> tuple[str, int, int]:
    """The part of `line` around `column` that fits a screen, the caret's offset in it, and the caret's width."""
    start = 0
    if len(line) > _WIDTH and column > _WIDTH * 2 // 3:
        start = column - _WIDTH // 2
    end = start + _WIDTH
    before = ("…" if start else "") + _clean(line[start:column])
    marked = _clean(line[column : min(column + width, end)])
    after = _clean(line[column + width : end]) + ("…" if len(line) > end else "")
    return before + marked + after, _columns(before), max(1, _columns(marked))


def _clean(text: str) -> str:
    return "".join(" " if character == "\t" else character if character.isprintable() else "�" for character in text)


def _columns(text: str) -> int:
    """How many columns a terminal takes for `text`."""
    import unicodedata

    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
