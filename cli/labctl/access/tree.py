"""Files of a running node through its own `tar`.

It sees every mount of the node; an engine's archive sees only those that the engine itself made.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Sequence
from typing import IO, Any, Protocol

from labctl.errors import LabctlError, NotFoundError
from labctl.providers.session import STDERR, Access, Found, PathKind, Session

_LOOK = """
path=$(readlink -f -- "$1") && [ -e "$path" ] || exit 3
if [ -d "$path" ]; then echo directory; elif [ -f "$path" ]; then echo file; else echo other; fi
printf %s "$path"
"""

_KINDS: dict[str, PathKind] = {"directory": "directory", "file": "file", "other": "other"}


class Tree(Protocol):
    """The part of `Access` that is about files."""

    def look(self, path: str) -> Found | None: ...
    def pack(self, path: str) -> IO[bytes]: ...
    def unpack(self, directory: str, tar: IO[bytes]) -> None: ...


def tree_of(access: Access, node: str, *, running: bool, box: bool) -> Tree:
    """The best way to a node's files: its own tar when it runs and has one, else the engine's archive."""
    if not running:
        return access
    if box or _output(access, ["sh", "-c", "command -v tar && command -v readlink"])[0] == 0:
        return NodeTree(access, node)
    return access


class NodeTree:
    """A `Tree` by commands in the node, run as root. `node` is its name, for messages."""

    def __init__(self, access: Access, node: str) -> None:
        self._access = access
        self._node = node

    def look(self, path: str) -> Found | None:
        """See `Access.look`."""
        code, out, err = _output(self._access, ["sh", "-c", _LOOK, "sh", path])
        if code == 3 or (code == 1 and not out):
            return None
        kind, _, real = out.decode(errors="surrogateescape").partition("\n")
        if code != 0 or kind not in _KINDS:
            raise LabctlError(
                f"{self._node}:{path} cannot be looked at",
                details=err.decode(errors="replace").splitlines(),
                code="LAB-COPY-002",
            )
        return Found(_KINDS[kind], real)

    def pack(self, path: str) -> IO[bytes]:
        """See `Access.pack`."""
        directory, name = posixpath.split(path)
        session = self._access.open(["tar", "-C", directory or "/", "-cf", "-", "--", name])
        return io.BufferedReader(_Output(session, f"{self._node}:{path} could not be read whole"), 1024 * 1024)

    def unpack(self, directory: str, tar: IO[bytes]) -> None:
        """See `Access.unpack`."""
        session = self._access.open(["tar", "-C", directory, "-xpf", "-"], stdin=True)
        with _Output(session, f"the files could not be written to {self._node}:{directory}") as answer:
            try:
                while piece := tar.read(256 * 1024):
                    session.write(piece)
                session.close_input()
            except BrokenPipeError:
                pass  # what went wrong there, its own words say better
            while answer.read(65536):
                pass


class _Output(io.RawIOBase):
    """The standard output of a command as a file. A command that failed is an error at its end, with its words."""

    def __init__(self, session: Session, failure: str) -> None:
        self._session = session
        self._failure = failure
        self._left = b""
        self._words = bytearray()
        self._over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left and not self._over:
            piece = self._session.read()
            if piece is None:
                self._over = True
                self._finish()
            elif piece[0] == STDERR:
                self._words += piece[1]
                del self._words[:-8192]
            else:
                self._left = piece[1]
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def _finish(self) -> None:
        code = self._session.wait()
        words = self._words.decode(errors="replace").splitlines()
        if any("No such file or directory" in word and "Cannot stat" in word for word in words):
            raise NotFoundError(self._failure, details=words, code="LAB-COPY-001")
        changed = code == 1 and all("file changed as we read it" in word or "removed before" in word for word in words)
        if code != 0 and not changed:
            full = any("Wrote only" in word or "No space left" in word for word in words)
            raise LabctlError(
                self._failure, details=words, hint="there is no room left there" if full else None, code="LAB-COPY-002"
            )

    def close(self) -> None:
        self._session.close()
        super().close()


def _output(access: Access, command: Sequence[str]) -> tuple[int, bytes, bytes]:
    """Run a short command and return its exit code, output and errors."""
    session = access.open(command)
    try:
        pieces: dict[bool, bytes] = {False: b"", True: b""}
        while piece := session.read():
            pieces[piece[0] == STDERR] += piece[1]
        return session.wait(), pieces[False], pieces[True]
    finally:
        session.close()
