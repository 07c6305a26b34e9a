"""One try of a check: what it is given, what it finds, and how it uses a command of the node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from labctl.model.lab import Check
from labctl.providers.base import Result, Shell

NOTHING = 97
"""The exit code by which a script of ours says that the node lacks the tools; its last line names them."""


class World(Protocol):
    """The lab as checks see it."""

    def members(self, name: str) -> Sequence[str]:
        """The nodes that a node's or group's name means. Raises `NotFoundError`."""

    def shell(self, node: str) -> Shell:
        """A way into a running node. Raises `LabctlError` when it does not run."""

    def require(self, name: str, *, every: bool) -> None:
        """Raise `LabctlError` when no node of that name runs, with `every` when one of a group does not.

        A name that means no node of the lab is fine.
        """

    def address(self, name: str) -> str | None:
        """The address at which this host reaches the node, by any of its names; None for names of other machines."""

    def addresses(self, name: str) -> frozenset[str]:
        """All addresses that a name of the lab may be answered with; none for names of other machines."""

    def screen(self, node: str, *, timeout: float) -> tuple[int, int, bytes]:
        """Width, height and pixels (three bytes each) of the node's desktop. Raises `LabctlError`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one attempt showed. `output` is the probe's own words."""

    holds: bool
    output: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a check: from `node` (None: from this host), in at most `timeout` seconds."""

    check: Check
    node: str | None
    world: World
    timeout: float

    def in_node(self, command: Sequence[str], *, slack: float = 1.0) -> Result:
        """Run a command as root in the node; one that keeps its own time gets `slack` seconds more."""
        assert self.node is not None
        return self.world.shell(self.node).run(command, timeout=self.timeout + slack)


Kind = Callable[[Attempt], Finding]


def of_tool(attempt: Attempt, result: Result) -> Finding:
    """What a tool of the node found; what it lacks is said with where to try it from instead."""
    text = text_of(result)
    if result.code == NOTHING:
        return Finding(
            holds=False,
            output=f"{attempt.node} cannot try {attempt.check.kind}: {text}; try it from a box node (`from:`)",
        )
    if result.code == 126 and "executable file not found" in text:
        return Finding(
            holds=False, output=f"{attempt.node} has no shell to try it from; run it from a box node (`from:`)"
        )
    if result.code == 124 and attempt.check.kind == "tcp":
        return Finding(holds=False, output=join(text, f"no connection within {attempt.timeout:g} s"))
    return Finding(holds=result.code == 0, output=text or f"exit code {result.code}")


def text_of(result: Result) -> str:
    """All that a command printed."""
    return (result.stdout + result.stderr).decode(errors="replace").strip()


def join(*texts: str) -> str:
    """The texts that are not empty, one below the other."""
    return "\n".join(text for text in texts if text)


def seconds(timeout: float) -> str:
    """A timeout as tools take it, at least a second."""
    return f"{max(timeout, 1.0):.3f}".rstrip("0").rstrip(".")
