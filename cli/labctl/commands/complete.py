"""What the shell offers for a lab's or a node's name: quick, silent, and never an error.

The names come from labctl's own directory; only when nothing is known there is the lab file read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from labctl.lab import LabDirectory

DEADLINE = 1.0
"""Seconds after which the shell gets no names rather than a wait."""


def complete_labs(incomplete: str) -> list[str]:
    """Names of the labs on this host that begin with `incomplete`."""

    def labs() -> list[str]:
        from labctl.lab import home, known_labs

        return known_labs(home())

    return _matching(incomplete, _within_deadline(labs))


def complete_nodes(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the nodes of the lab that the command line, else the working directory, means."""
    name = ctx.params.get("name")
    files = [file for file in ctx.params.get("file") or () if file != "-"]
    given = set(ctx.params.get("nodes") or ())
    names = _within_deadline(lambda: node_names(name, files, directory=Path.cwd()))
    return [node for node in _matching(incomplete, names) if node not in given]


def node_names(name: str | None, files: Sequence[str], *, directory: Path) -> list[str]:
    """The nodes of lab `name`; without a name, of the lab made from `files` or from `directory` or above it."""
    from labctl.lab import LabDirectory, home, known_labs

    root = home()
    if name is not None:
        return _hosts(LabDirectory(root, name))
    for lab in (LabDirectory(root, known) for known in known_labs(root)):
        if _made_from(lab, files, directory) and (hosts := _hosts(lab)):
            return hosts
    return _from_file(files)


def _made_from(lab: LabDirectory, files: Sequence[str], directory: Path) -> bool:
    source = lab.source()
    if source is None:
        return False
    if files:
        return str(Path(files[0]).absolute()) in source[0]
    made_in = Path(source[1])
    return made_in == directory or made_in in directory.parents


def _hosts(lab: LabDirectory) -> list[str]:
    """Node names out of the lab's ssh configuration, which `up` writes."""
    try:
        lines = lab.ssh_config.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [line.split()[1] for line in lines if line.startswith("Host ")]


def _from_file(files: Sequence[str]) -> list[str]:
    from labctl import api

    return list(api.load_lab(files or None).nodes)


def _matching(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _within_deadline(find: Callable[[], list[str]]) -> list[str]:
    """What `find` returns, or nothing when it fails or takes too long: a shell prompt is no place for errors."""
    found: list[str] = []

    def run() -> None:
        try:
            found.extend(find())
        except Exception:  # noqa: BLE001 - see above
            return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    return found
