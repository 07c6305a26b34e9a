"""Vagrant itself: python-vagrant with the deadlines, the captured output and the many machines that it lacks.

The only module that knows the package.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import vagrant

from labctl.errors import DeadlineError, HostError, LabctlError
from labctl.providers.base import Line
from labctl.providers.bootstrap import dying_with_parent
from labctl.providers.vagrant import causes

_KEEP_LINES = 15
_TRACE = re.compile(r"\.rb:\d+:in ")
"""A line of Ruby's own stack: what went wrong stands above it."""

CHECK_EVERY = 0.5
"""Seconds of silence after which it is looked whether there is still anything to wait for."""

QUIET = {
    "VAGRANT_CHECKPOINT_DISABLE": "1",
    "VAGRANT_BOX_UPDATE_CHECK_DISABLE": "1",
    "VAGRANT_NO_COLOR": "1",
    "VAGRANT_DEFAULT_PROVIDER": "libvirt",
    "LIBVIRT_DEFAULT_URI": "qemu:///system",
}
"""What keeps Vagrant from asking its makers, and from colours."""


class Vagrant(vagrant.Vagrant):
    """One directory with a Vagrantfile. Every call ends by a deadline, with all that it started."""

    def __init__(self, root: Path, *, environ: Mapping[str, str] = os.environ) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            root=str(root), env={**environ, **QUIET}
        )
        self.timeout = 600.0

    def up_all(self, names: Sequence[str], *, timeout: float, enough: Callable[[], bool]) -> None:
        """Make the named machines by one process, at the same time. What was made stays when another one fails.

        `enough` is asked all the time: once it is true Vagrant is ended, which would go on asking machines that run.
        What it raises ends Vagrant too, which waits for a machine that has ended.
        """
        self._call(["up", *names, "--no-destroy-on-error", "--no-provision", "--parallel"], timeout, None, enough)

    def destroy_all(self, names: Sequence[str], *, timeout: float) -> None:
        """Remove the named machines by one process."""
        self._call(["destroy", "--force", *names], timeout, None)

    def add(self, name: str, file: Path, *, timeout: float, on_line: Line | None = None) -> None:
        """Make a box known under `name`."""
        self._call(["box", "add", "--force", "--provider", "libvirt", "--name", name, str(file)], timeout, on_line)

    def forget(self, name: str, *, timeout: float) -> None:
        """Remove a box of that name."""
        self._call(["box", "remove", "--force", "--all", name], timeout, None)

    # ------------------------------------------------------------ what python-vagrant calls

    def _call_vagrant_command(self, args: Sequence[str | None]) -> None:
        self._call(args, self.timeout, None)

    def _run_vagrant_command(self, args: Sequence[str | None]) -> str:
        return self._call(args, self.timeout, None)

    def _call(
        self,
        args: Sequence[str | None],
        timeout: float,
        on_line: Line | None,
        check: Callable[[], bool] | None = None,
    ) -> str:
        """Run Vagrant and return what it said. Raises `DeadlineError` or `LabctlError` with its last lines."""
        argv: list[Any] = self._make_vagrant_command(args)  # type: ignore[no-untyped-call]
        shown = " ".join(["vagrant", *(word for word in args if word)])
        try:
            process = subprocess.Popen(
                dying_with_parent(argv),
                cwd=self.root,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise HostError(
                f"Vagrant cannot be started: {error}", hint="labctl doctor --fix", code="LAB-VM-001"
            ) from error
        said: list[str] = []
        try:
            code = _read(process, time.monotonic() + timeout, said, on_line, check)
        finally:
            _end(process)
        last = list(deque((line for line in said if line.strip() and not _TRACE.search(line)), maxlen=_KEEP_LINES))
        if code is None:
            raise DeadlineError(f"`{shown}` did not end within {timeout:g} s", details=last, code="LAB-VM-002")
        if code != 0:
            raise causes.of(last) or LabctlError(f"`{shown}` failed", details=last, code="LAB-VM-003")
        return "\n".join(said)


def _read(
    process: subprocess.Popen[bytes],
    end: float,
    said: list[str],
    on_line: Line | None,
    check: Callable[[], bool] | None,
) -> int | None:
    """All that the process says, a line at a time, and its exit code; None when it went on beyond `end`."""
    import selectors

    assert process.stdout is not None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while (left := end - time.monotonic()) > 0:
            if not selector.select(min(left, CHECK_EVERY)):
                if check is not None and check():
                    process.kill()  # it has written down what it has to know of the machines
                    return 0
                continue
            data = os.read(process.stdout.fileno(), 65536)
            *lines, rest = (rest + data).split(b"\n") if data else (rest, b"")
            for line in lines:
                text = line.decode(errors="replace").rstrip("\r")
                said.append(text)
                if on_line is not None and text.strip():
                    on_line(text.strip())
            if not data:
                try:
                    return process.wait(timeout=max(end - time.monotonic(), 0.1))
                except subprocess.TimeoutExpired:
                    return None
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask what still runs to end (Vagrant then lets go of its locks), and end it when it does not."""
    if process.poll() is None:
        for number, patience in ((signal.SIGINT, 5.0), (signal.SIGKILL, 5.0)):
            try:
                os.killpg(process.pid, number)
                process.wait(timeout=patience)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
            break
    if process.stdout is not None:
        process.stdout.close()
