"""The directory of one process: its program, what it was told, its log, and what it was made with."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labctl.model.lab import Port
from labctl.recipe import Entry


@dataclass(frozen=True, slots=True)
class Made:
    """What a process was made with; `id` is its own, other than that of one before it in the same place."""

    id: str
    image: str
    shape: str
    content: str
    ports: tuple[Port, ...]
    directory: str
    created: float


class Place:
    """A directory with the shape of a file system's root, so that what is put into a container can be put here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "log"
        self._made = path / "made.json"

    @property
    def program(self) -> Path:
        return self.path / "usr/lib/lab/resident.py"

    def made(self) -> Made | None:
        """What lies here; None when nothing does, or only half of it."""
        try:
            known: dict[str, Any] = json.loads(self._made.read_text())
            return Made(**{**known, "ports": tuple(Port(**each) for each in known["ports"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def make(
        self, files: Collection[Entry], *, image: str, shape: str, content: str, ports: tuple[Port, ...], directory: str
    ) -> None:
        """Begin anew with these files; it counts as made when all of them are there."""
        self.remove()
        self.put(files)
        made = Made(secrets.token_hex(16), image, shape, content, ports, directory, time.time())
        _write(self._made, json.dumps(asdict(made)).encode())

    def put(self, files: Collection[Entry]) -> None:
        """Write files for their owner alone, each whole: who reads meanwhile sees the old one or the new."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in files:
            _write(self.path / each.path.lstrip("/"), each.content)

    def read(self, path: str) -> bytes | None:
        """A file that was put here; None when it was not."""
        with suppress(OSError):
            return (self.path / path.lstrip("/")).read_bytes()
        return None

    def said(self, lines: int) -> list[str]:
        """The last lines of its log."""
        with suppress(OSError):
            return self.log.read_text(errors="replace").splitlines()[-lines:]
        return []

    def remove(self) -> None:
        """Remove all of it; gone is fine."""
        shutil.rmtree(self.path, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)
