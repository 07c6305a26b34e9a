"""The two protocols that a kind of machine has to fulfil; everything a node can do is written once above them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from labctl.plan.model import Desired, DesiredNode, Observed, ObservedLab, ObservedNode, Target, Wanted
from labctl.providers.session import Access
from labctl.providers.snapshots import Snapshots
from labctl.recipe import Entry

Line = Callable[[str], None]
"""Takes one line of output, without its newline."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished command left: its exit code and bytes."""

    code: int
    stdout: bytes
    stderr: bytes


class Shell(Protocol):
    """A way into one running node."""

    def run(
        self,
        command: Sequence[str],
        *,
        user: str = "root",
        stdin: bytes = b"",
        timeout: float,
        environment: dict[str, str] | None = None,
        on_line: Line | None = None,
        check: Callable[[], None] | None = None,
    ) -> Result:
        """Run `command` (an argument vector) and wait. Raises `DeadlineError` after `timeout` seconds.

        With `on_line` every line of both streams is passed on as it comes; the result holds the bytes all the same.
        `check` is called several times a second while the command is silent; what it raises ends the command.
        """

    def put(self, entries: Collection[Entry]) -> None:
        """Write files with their owners and modes, directories above them included (root, 0755)."""

    def get(self, path: str) -> bytes:
        """The content of a file of the node. Raises `NotFoundError`."""


class Provider(Protocol):
    """One kind of machine on one host or cluster.

    Every method raises `HostError`, `ConflictError`, `DeadlineError` or another `LabctlError`; nothing of the SDK's own
    exceptions passes. Creating and removing are idempotent: a thing that is there, or gone, is no error.
    """

    name: str

    def check(self) -> None:
        """Raise `HostError` when this host cannot run such machines."""

    def prepare(self) -> None:
        """Load and connect what a change will need; called in the background while other work goes on."""

    def observe(self, lab: str, *, images: Collection[str] = ()) -> Observed:
        """All that is there of the lab, reading only. `images` are the tags to look for: listing all is slow."""

    def create(
        self,
        target: Wanted,
        desired: Desired,
        *,
        seed: Collection[Entry] = (),
        identity: Mapping[str, str] | None = None,
        on_line: Line | None = None,
    ) -> None:
        """Make a network, volume, image or node (not started).

        `seed` is put into a node before it first starts; `identity` are variables of its first process, not secret.
        """

    def start(self, node: DesiredNode | ObservedNode) -> None:
        """Start a node, or continue a paused one."""

    def pause(self, node: ObservedNode) -> None:
        """Hold a running node still, with all that it has in memory; `start` continues it. A paused one is fine."""

    def adjust(self, node: DesiredNode) -> None:
        """Give the running node the processors and memory that it shall have, where it has a limit already."""

    def stop(self, node: ObservedNode, *, timeout: float) -> None:
        """Stop a node in order; kill it when it has not stopped within `timeout` seconds."""

    def remove(self, target: Target) -> None:
        """Remove a node (running or not), network or volume of the lab."""

    def shell(self, node: DesiredNode | ObservedNode) -> Shell:
        """A way into the running node."""

    def access(self, node: DesiredNode | ObservedNode) -> Access:
        """All ways into the node for people: commands with open streams, archives, logs; see `providers.session`."""

    @property
    def snapshots(self) -> Snapshots:
        """What it keeps of labs under names."""

    def read(self, node: DesiredNode | ObservedNode, path: str) -> bytes | None:
        """A small file of the node, running or not, without telling it anything; None when it is not there."""

    def free(self) -> int | None:
        """Bytes that are free where the data of volumes lies; None when that cannot be seen from here."""

    def clear_leftovers(self) -> Sequence[str]:
        """Remove what killed image builds left, known by its marks alone; what was removed."""

    def labs(self, *, sizes: bool = False) -> Sequence[ObservedLab]:
        """All labs that it has on this host, by name, reading only; with `sizes`, which takes time, their disk too."""

    def give_lease(self, lab: str, *, expires: float, directory: str, owner: str) -> None:
        """Note, where every user of the host can read it, that the lab ends then (seconds since the epoch)."""

    def end_lease(self, lab: str) -> None:
        """Forget when the lab ends; none is no error."""

    def head(self, node: DesiredNode | ObservedNode) -> Iterator[str]:
        """The first lines that the node printed on its console or log, as far as they are kept."""

    def tail(self, node: DesiredNode | ObservedNode, *, lines: int) -> list[str]:
        """The last lines that the node printed on its console or log, also of a stopped one."""

    def verdict(self, node: DesiredNode | ObservedNode) -> list[str]:
        """What the node's healthcheck said last, as lines; none without a healthcheck."""
