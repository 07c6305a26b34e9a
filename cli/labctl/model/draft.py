"""What the parts of `resolve` share while a topology becomes a lab: the names, the problems, a way to the files."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from labctl.errors import KeyPath, Problem
from labctl.model.lab import Command
from labctl.model.suggest import did_you_mean
from labctl.model.topology import Topology


class UnreadableError(Exception):
    """A file that the lab names cannot be read; the message is a sentence about it."""


class Reader(Protocol):
    """The outside world, as far as a lab file refers to it. `at` is where the file says so."""

    def content(self, text: str, at: KeyPath) -> bytes:
        """The bytes of the file that the path `text` means. Raises `UnreadableError`."""

    def path(self, text: str, at: KeyPath) -> Path:
        """The absolute path of a file or directory that is there. Raises `UnreadableError`."""

    def variable(self, name: str) -> str | None:
        """The caller's own environment variable, None when it is not set."""


@dataclass(slots=True)
class Draft:
    """A lab in the making. `nodes` maps each name in the file to its copies; `boxes` may be empty: not known."""

    topology: Topology
    directory: Path
    reader: Reader
    boxes: Collection[str] = ()
    broken: Collection[KeyPath] = ()
    problems: list[Problem] = field(default_factory=list)
    noted: set[Problem] = field(default_factory=set)
    notices: list[str] = field(default_factory=list)
    copies: dict[str, tuple[str, ...]] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def add(self, path: KeyPath, message: str, *, hint: str | None = None, at_key: bool = False) -> None:
        """Note a problem, once."""
        problem = Problem(path, message, hint, at_key)
        if problem not in self.noted:
            self.noted.add(problem)
            self.problems.append(problem)

    @contextmanager
    def at(self, path: KeyPath) -> Iterator[None]:
        """A `ValueError` or `UnreadableError` raised inside is a problem at `path`."""
        try:
            yield
        except (ValueError, UnreadableError) as error:
            self.add(path, str(error))

    def unsure(self, *path: str | int) -> bool:
        """Whether something at or below `path` was left out as wrong, so that nothing follows from it."""
        return any(there[: len(path)] == path for there in self.broken)

    def unknown(self, path: KeyPath, what: str, name: str, known: Collection[str], *, at_key: bool = False) -> None:
        """Note that `name` is not one of `known`."""
        self.add(path, f"there is no {what} `{name}`{did_you_mean(name, known)}", at_key=at_key)

    def one_node(self, path: KeyPath, name: str) -> str | None:
        """The node called `name`; a problem when there is none, or when it is a group."""
        if name in self.copies and self.copies[name] != (name,):
            first = self.copies[name][0]
            self.add(path, f"`{name}` is a group of {len(self.copies[name])}, one node is meant here: {first}")
            return None
        if name not in self.groups:
            self.unknown(path, "node", name, self.groups)
            return None
        return name

    def some_nodes(self, path: KeyPath, name: str) -> tuple[str, ...]:
        """The nodes that a node's or group's name stands for; a problem when there is none."""
        if name not in self.groups:
            self.unknown(path, "node", name, self.groups)
        return self.groups.get(name, ())


def command(value: str | list[str]) -> Command:
    """A command as it is run. Raises `ValueError` when it is empty."""
    if isinstance(value, str):
        if not value.strip():
            raise ValueError("the command is empty")
        return value
    if not value or not value[0]:
        raise ValueError("the command is empty")
    return tuple(value)


def absolute(path: str, *, what: str = "a path") -> str:
    """A path in a node, normalised. Raises `ValueError` when it is not absolute or climbs."""
    if not path.startswith("/"):
        raise ValueError(f"{what} in the node is absolute, this one is not: {path or 'it is empty'}")
    if "\0" in path or "\n" in path:
        raise ValueError(f"{what} in the node cannot have line breaks")
    if ".." in path.split("/"):
        raise ValueError(f"{what} in the node is written without `..`")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return "/" + "/".join(parts)
