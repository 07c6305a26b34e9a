"""Other programs: run with a deadline, and ended for certain."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from typing import Any


class Stuck(Exception):
    """A program did not end in time and was killed."""


def run(*argv: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """Its exit code and output; raises `Stuck` after `seconds`."""
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        # It may hang in the kernel until its device is gone: whoever waits for it would hang with it.
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=1)
        raise Stuck(f"{argv[0]} did not end within {seconds:.0f} s") from None
    return subprocess.CompletedProcess(argv, process.returncode, output, "")


def end(process: subprocess.Popen[Any] | None, *, politely: float = 0.0) -> None:
    """End a program: SIGTERM when it may take some seconds, then SIGKILL."""
    if process is None or process.poll() is not None:
        return
    if politely:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(politely)
            return
    process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)
