"""Ask before something is lost."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

from labctl.errors import UsageError
from labctl.ui.colour import is_terminal

Ask = Callable[[str], str]
"""Shows a question and gives the answer, one line without its newline. Raises `EOFError` when there is none."""


def confirm(question: str, *, yes: bool = False, ask: Ask | None = None, stdin: TextIO | None = None) -> None:
    """Return when `yes` is set or the user agrees; raise `UsageError` when not, or when there is nobody to ask.

    Without `ask`, the question goes to stderr and the answer comes from the terminal behind `stdin`.
    """
    if yes:
        return
    if ask is None:
        if not is_terminal(stdin or sys.stdin):
            raise UsageError(
                f"this needs a yes, and there is no terminal to ask at: {question}",
                hint="add --yes",
                code="LAB-USE-002",
            )
        ask = _ask_on_stderr
    try:
        answer = ask(f"{question} [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise UsageError("not confirmed, nothing was changed", code="LAB-USE-002")


def _ask_on_stderr(question: str) -> str:
    sys.stderr.write(question)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        sys.stderr.write("\n")
        raise EOFError
    return line
