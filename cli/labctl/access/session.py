"""A command in a node as if it ran here: this process's streams, terminal and signals are its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import IO, Any

from labctl.errors import DeadlineError, LabctlError
from labctl.providers.session import STDERR, Session

GRACE = 3.0
"""Seconds between asking a command to end and killing it."""

_TERMINALS = re.compile(r"ansi|cygwin|dumb|linux|rxvt|sun|vt(52|100|102|220)|(screen|tmux|xterm)(-256color)?")
"""What a node's own terminal database knows; another name would leave programs there without a screen."""

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def terminal_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a command with a terminal needs, by what this process has."""
    term = environ.get("TERM", "")
    found = {"TERM": term if _TERMINALS.fullmatch(term) else "xterm-256color"}
    if lang := environ.get("COLORTERM"):
        found["COLORTERM"] = lang
    return found


def run_here(
    open_session: Callable[[], Session],
    *,
    stdin: IO[bytes] | None,
    stdout: IO[bytes],
    stderr: IO[bytes],
    terminal: bool,
    timeout: float | None = None,
) -> int:
    """Start a session, give it this process's streams, and return its exit code.

    The bytes are passed on as they are. Signals that would end this process go to the command instead; a second one
    kills it. Raises `DeadlineError` after `timeout` seconds, when the command was ended. Main thread only.
    """
    with _raw(stdin if terminal else None):
        session = open_session()
        ending = _Ending(session, timeout)
        try:
            with _watching(session, ending, stdout=stdout if terminal else None):
                if stdin is not None:
                    threading.Thread(target=_pump, args=(stdin, session), daemon=True).start()
                with ending:
                    _drain(session, stdout, stderr, ending)
            code = session.wait()
        finally:
            session.close()
    if ending.expired:
        raise DeadlineError(f"the command did not end within {timeout:g} s, and was ended", code="LAB-WAIT-003")
    return code


def _drain(session: Session, stdout: IO[bytes], stderr: IO[bytes], ending: _Ending) -> None:
    while piece := session.read():
        stream, data = piece
        out = stderr if stream == STDERR else stdout
        try:
            out.write(data)
            out.flush()
        except BrokenPipeError:
            ending.now(signal.SIGPIPE)
            _discard(out)


def _discard(stream: IO[bytes]) -> None:
    """Send what is still written to `stream` nowhere, so that a reader that went away is noticed once."""
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
        os.close(devnull)


def _pump(stdin: IO[bytes], session: Session) -> None:
    """Carry standard input into the session until either ends."""
    try:
        descriptor = stdin.fileno()
    except (OSError, ValueError):
        read: Callable[[], bytes] = lambda: stdin.read(65536)  # noqa: E731
    else:
        read = lambda: os.read(descriptor, 65536)  # noqa: E731
    with contextlib.suppress(BrokenPipeError, OSError, ValueError):
        while data := read():
            session.write(data)
        session.close_input()


class _Ending:
    """Ends a session: at once, when its time is over, or for good when it does not listen. A context: its time."""

    def __init__(self, session: Session, timeout: float | None) -> None:
        self.expired = False
        self._session = session
        self._asked = False
        self._timers: list[threading.Timer] = []
        self._timeout = timeout

    def __enter__(self) -> None:
        if self._timeout is not None:
            self._later(self._timeout, self._expire)

    def __exit__(self, *_: object) -> None:
        for timer in self._timers:
            timer.cancel()

    def now(self, number: int) -> None:
        """Ask with signal `number`; the second time, kill."""
        again, self._asked = self._asked, True
        self._send(signal.SIGKILL if again else number)

    def _expire(self) -> None:
        self.expired = True
        self._send(signal.SIGTERM)
        self._later(GRACE, lambda: self._send(signal.SIGKILL))

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, action)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _send(self, number: int) -> None:
        with contextlib.suppress(LabctlError):
            self._session.signal(number)


@contextlib.contextmanager
def _watching(session: Session, ending: _Ending, *, stdout: IO[bytes] | None) -> Iterator[None]:
    """Turn this process's signals into the command's, and changes of the terminal `stdout` into its size."""

    def end(number: int, frame: FrameType | None) -> None:
        # A signal can arrive in the middle of a request to the engine: the next one is made by another thread.
        threading.Thread(target=ending.now, args=(number,), daemon=True).start()

    def resized(number: int = 0, frame: FrameType | None = None) -> None:
        threading.Thread(target=_fit, args=(session, stdout), daemon=True).start()

    handlers: dict[int, Any] = {number: end for number in _FORWARDED if signal.getsignal(number) != signal.SIG_IGN}
    if stdout is not None:
        handlers[signal.SIGWINCH] = resized
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    if stdout is not None:
        resized()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fit(session: Session, stdout: IO[bytes] | None) -> None:
    with contextlib.suppress(OSError, ValueError, LabctlError):
        size = os.get_terminal_size((stdout or sys.stdout).fileno())
        session.resize(columns=size.columns, rows=size.lines)


@contextlib.contextmanager
def _raw(terminal: IO[bytes] | None) -> Iterator[None]:
    """Put the terminal into raw mode: every key goes to the node, Ctrl-C included. It is as it was afterwards."""
    if terminal is None or not terminal.isatty():
        yield
        return
    import termios
    import tty

    descriptor = terminal.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def run_quietly(
    session: Session, on_output: Callable[[int, bytes], None], *, timeout: float | None, stop: threading.Event
) -> int | None:
    """Pass a session's output on and return its exit code; None when it was ended for its time.

    When `stop` is set the command is asked to end, and killed when it does not.
    """
    ending = _Ending(session, timeout)
    over = threading.Event()

    def watch() -> None:
        stop.wait()
        if not over.is_set():
            ending.now(signal.SIGINT)
            if not over.wait(GRACE):
                ending.now(signal.SIGKILL)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        with ending:
            while piece := session.read():
                on_output(*piece)
        code = session.wait()
    finally:
        over.set()
        session.close()
    return None if ending.expired else code
