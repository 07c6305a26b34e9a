"""Which files make up the lab: given with `-f`, or found in the working directory and above."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from labctl.errors import LabctlError, NotFoundError, UsageError

NAMES = ("lab.yaml", "lab.yml")
OVERRIDE = "lab.override.yaml"
STDIN = "-"


class NoLabFileError(NotFoundError):
    """There is no lab file here."""

    code = "LAB-FILE-002"


def discover(files: Sequence[str] | None, *, cwd: Path) -> list[Path | None]:
    """The files to merge, in this order; None stands for standard input.

    Raises `NoLabFileError` when there is none, `UsageError` when it cannot be told which one is meant.
    """
    if files:
        if list(files).count(STDIN) > 1:
            raise UsageError("standard input can be read once only", hint="give `-f -` once")
        return [None if name == STDIN else _given(name, cwd=cwd) for name in files]
    for directory in (cwd, *cwd.parents):
        found = _in(directory)
        if found is not None:
            override = directory / OVERRIDE
            return [found, override] if override.is_file() else [found]
    raise NoLabFileError(
        f"no lab.yaml in {cwd} or above", hint="labctl init makes one, -f FILE names one, -n NAME a lab that runs"
    )


def _given(name: str, *, cwd: Path) -> Path:
    path = cwd / name
    if path.is_dir():
        found = _in(path)
        if found is None:
            raise NoLabFileError(f"no lab.yaml in {name}", hint=f"labctl init {name} makes one")
        return found
    if not path.exists():
        raise NoLabFileError(f"{name} does not exist", hint="give -f the path of a lab file")
    return path


def _in(directory: Path) -> Path | None:
    for name in NAMES:
        if (directory / name).is_file():
            return directory / name
    try:
        # OVERRIDE itself does not end in .lab.yaml.
        several = sorted(entry for entry in os.listdir(directory) if entry.endswith(".lab.yaml"))
    except OSError:
        return None
    several = [entry for entry in several if (directory / entry).is_file()]
    if len(several) > 1:
        raise UsageError(
            f"several lab files in {directory}: {', '.join(several)}", hint=f"choose one: labctl -f {several[0]} …"
        )
    return directory / several[0] if several else None


def read(path: Path, name: str, limit: int) -> bytes:
    """The bytes of a lab file. Raises `LabctlError` when it cannot be read or is longer than `limit` bytes."""
    try:
        with path.open("rb") as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        raise LabctlError(
            f"{name} cannot be read: {error.strerror}", hint="check its permissions", code="LAB-FILE-003"
        ) from error
    if len(content) > limit:
        raise LabctlError(
            f"{name} is larger than {limit // 2**20} MiB", hint="a lab file is a few pages of text", code="LAB-FILE-003"
        )
    return content
