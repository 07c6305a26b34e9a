"""What a lab file refers to outside itself: files beside it, the user's home, the caller's variables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from labctl.errors import KeyPath
from labctl.model.draft import UnreadableError

CONTENT_LIMIT = 64 * 2**20
"""How many bytes a file may have that is put into a node."""


class World:
    """Reads for `resolve`. `beside` says in which directory the file lies that has a value at a path."""

    def __init__(self, beside: Callable[[KeyPath], Path], *, environ: Mapping[str, str], home: Path) -> None:
        self._beside = beside
        self._environ = environ
        self._home = home

    def content(self, text: str, at: KeyPath) -> bytes:
        """The bytes of a file. Raises `UnreadableError`."""
        path = self.path(text, at)
        if path.is_dir():
            raise UnreadableError(f"{text} is a directory, a file is meant here")
        if not path.is_file():
            raise UnreadableError(f"{text} is not an ordinary file")
        try:
            with path.open("rb") as stream:
                content = stream.read(CONTENT_LIMIT + 1)
        except OSError as error:
            raise UnreadableError(f"{text} cannot be read: {error.strerror}") from error
        if len(content) > CONTENT_LIMIT:
            raise UnreadableError(f"{text} is larger than {CONTENT_LIMIT // 2**20} MiB, mount it instead (`volumes`)")
        return content

    def path(self, text: str, at: KeyPath) -> Path:
        """The absolute path of what is there. Raises `UnreadableError`."""
        if "\0" in text:
            raise UnreadableError("a path cannot have a NUL character")
        if text == "~" or text.startswith("~/"):
            path = self._home / text[2:]
        elif text.startswith("~"):
            raise UnreadableError(f"{text}: only `~/` is known, the home of the user who runs labctl")
        else:
            path = self._beside(at) / text
        path = Path(os.path.normpath(path))
        try:
            path.stat()
        except FileNotFoundError:
            raise UnreadableError(f"{text} does not exist ({path})") from None
        except OSError as error:
            raise UnreadableError(f"{text} cannot be read: {error.strerror}") from error
        return path

    def variable(self, name: str) -> str | None:
        """The caller's own environment variable."""
        return self._environ.get(name)
