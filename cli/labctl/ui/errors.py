"""How an error reaches the user: message, evidence, one hint, all on stderr."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from labctl.errors import InvalidLabError, LabctlError
from labctl.ui.colour import Ink
from labctl.ui.words import clean, clean_text


def print_error(error: LabctlError, *, stream: TextIO | None = None, environ: Mapping[str, str] = os.environ) -> None:
    """Print `error` to `stream` (stderr when None). A lab file's problems stand for themselves, then their number.

    What a terminal would obey is left out: names in lab files and output of nodes have a say in errors.
    """
    out = stream or sys.stderr
    ink = Ink(out, environ)
    if isinstance(error, InvalidLabError):
        for block in error.details:
            out.write(f"{clean_text(block)}\n")
        out.write(f"{ink(clean_text(error.message), 'bold red')} [{error.code}]\n")
    else:
        out.write(f"{ink(f'error[{error.code}]:', 'bold red')} {clean_text(error.message)}\n")
        for detail in error.details:
            for line in detail.splitlines() or [""]:
                out.write(f"  {clean(line)}\n")
    if error.hint:
        out.write(f"{ink('hint:', 'bold')} {clean_text(error.hint)}\n")
    out.flush()


def print_unexpected(
    error: BaseException, *, argv: Sequence[str], stream: TextIO | None = None, environ: Mapping[str, str] = os.environ
) -> None:
    """Say in one sentence that labctl itself failed, and where the traceback lies."""
    out = stream or sys.stderr
    ink = Ink(out, environ)
    text = clean(" ".join(str(error).split()))
    out.write(f"{ink('internal error:', 'bold red')} {type(error).__name__}{': ' if text else ''}{text}\n")
    log = _log(error, argv=argv, environ=environ)
    hint = f"this is a bug in labctl; the traceback is in {log}" if log else "this is a bug in labctl"
    out.write(f"{ink('hint:', 'bold')} {hint}\n")
    out.flush()


def _log(error: BaseException, *, argv: Sequence[str], environ: Mapping[str, str]) -> Path | None:
    """Append the traceback to labctl's error log; None when there is no place to write."""
    from labctl.lab import home

    try:
        path = home(environ) / "errors.log"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            # The command alone: what follows it may hold what the user would not want to send around.
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} labctl {argv[0] if argv else ''}\n")
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return None
    return path
