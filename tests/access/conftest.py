"""One real lab for the whole session, and labctl as a process beside it."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

LABCTL = (sys.executable, "-c", "from labctl.app import main; main()")

FILES = Path(__file__).parent / "lab"


@dataclass
class Labctl:
    """Runs labctl on one lab, in its directory, with a home of its own."""

    directory: Path
    name: str
    environ: dict[str, str] = field(repr=False)

    def __call__(self, *argv: str, stdin: bytes = b"", timeout: float = 60) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end."""
        return subprocess.run(
            [*LABCTL, *argv],
            cwd=self.directory,
            env=self.environ,
            input=stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def ok(self, *argv: str, stdin: bytes = b"") -> bytes:
        """Run it, expect success, and return its standard output."""
        done = self(*argv, stdin=stdin)
        assert done.returncode == 0, (argv, done)
        return done.stdout

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        """Start it, its streams in pipes."""
        return subprocess.Popen(
            [*LABCTL, *argv],
            cwd=self.directory,
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def terminal(self, *argv: str, columns: int = 91, rows: int = 37) -> Terminal:
        """Start it with a terminal of its own."""
        import fcntl
        import struct
        import termios

        pid, master = pty.fork()
        if pid == 0:
            os.chdir(self.directory)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execve(LABCTL[0], [*LABCTL, *argv], {**self.environ, "TERM": "xterm-256color"})
        return Terminal(pid, master)


@dataclass
class Terminal:
    """A process at the other end of a terminal."""

    pid: int
    master: int
    seen: bytes = b""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def resize(self, columns: int, rows: int) -> None:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def expect(self, text: str, *, timeout: float = 20) -> None:
        """Read until `text` was printed after what was expected before."""
        deadline = time.monotonic() + timeout
        while text.encode() not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} did not come: {self.seen!r}"
            if select.select([self.master], [], [], left)[0]:
                self.seen += self._read()
        self.seen = self.seen.partition(text.encode())[2]

    def end(self, *, timeout: float = 20) -> int:
        """Wait until it ends, and return its exit code."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.05)[0]:
                self.seen += self._read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError(f"it did not end: {self.seen!r}")

    def _read(self) -> bytes:
        try:
            return os.read(self.master, 65536)
        except OSError:  # the other end is closed
            time.sleep(0.05)
            return b""


class NotThereError(Exception):
    """The lab of these tests could not be brought up; the message is all that labctl said of it."""


def bring_up(lab: Labctl) -> None:
    """Bring the lab up. Raises `NotThereError`."""
    # The base image comes with `web`, and `thing` is made from it.
    for argv in (("up", "web", "-v"), ("up", "-v")):
        done = lab(*argv, timeout=600)
        if done.returncode != 0:
            said = (done.stdout + done.stderr).decode(errors="replace")
            raise NotThereError(f"labctl {' '.join(argv)}: exit code {done.returncode}\n{said}")


@dataclass
class Common:
    """The lab that all tests of a session share, or why it is not there. `told`: a test has failed of it."""

    lab: Labctl
    failure: str | None = None
    told: bool = False


@pytest.fixture
def labctl(common: Common) -> Labctl:
    """A lab of two `web`, a plain `dev`, an `alone` without network and a `thing` made from an image.

    When it could not be brought up the first test that wants it fails with all that labctl said, the others are left
    out: they would all say the same.
    """
    if common.failure is not None and common.told:
        pytest.skip("the lab of these tests is not there: see the first of them")
    if common.failure is not None:
        common.told = True
        pytest.fail(common.failure, pytrace=False)
    return common.lab


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Common]:
    """Made once, and taken down at the end whatever became of it."""
    from labctl.source.boxes import base_image, default_box

    directory = tmp_path_factory.mktemp("access")
    environ = {key: value for key, value in os.environ.items() if not key.startswith("LABCTL_")}
    environ |= {"LABCTL_HOME": str(directory / "home"), "NO_COLOR": "1"}
    made = Labctl(directory, f"f-access-{os.getpid()}", environ)
    for file in FILES.iterdir():
        text = file.read_text().replace("LAB", made.name).replace("IMAGE", base_image(default_box()).tag)
        (directory / file.name).write_text(text)
    shared = Common(made)
    try:
        bring_up(made)
    except NotThereError as error:
        shared.failure = str(error)
    try:
        yield shared
    finally:
        down = made("down", "--volumes", timeout=120)
    if down.returncode != 0:
        pytest.fail(f"labctl down: {down.stderr.decode(errors='replace')}", pytrace=False)
