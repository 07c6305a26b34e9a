"""What a provider can keep of a lab and bring back: the protocol, and two providers as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from labctl.errors import HostError
from labctl.model.lab import ProviderName
from labctl.plan.model import Desired, DesiredNode, DesiredVolume, ObservedNode, ObservedVolume
from labctl.plan.snapshots import Part


class Snapshots(Protocol):
    """The snapshots of one provider. What fails raises `LabctlError`; a part that is gone is no error to remove."""

    def parts(self, lab: str | None = None) -> Sequence[Part]:
        """All parts of the lab's snapshots, or of all labs', reading only."""

    def inner(self, node: ObservedNode) -> Sequence[str]:
        """The places of volumes that the node has of its image's own, which are no part of its files."""

    def save(self, part: Part, source: ObservedNode | ObservedVolume) -> None:
        """Keep what `source`, which stands still or does not run, holds now."""

    def restore(self, part: Part, target: DesiredNode | DesiredVolume, desired: Desired) -> None:
        """Bring `target` to what the part holds.

        A node without memory is made anew, not started, and must not be there; one with memory stands still afterwards.
        """

    def remove(self, part: Part) -> None:
        """Give up what a part holds."""

    def tidy(self, lab: str) -> None:
        """Remove what killed runs left and nothing has a name for; never what is in use."""


class BothSnapshots:
    """Each part goes to the provider that it names."""

    def __init__(self, containers: Snapshots, machines: Snapshots) -> None:
        self._of: dict[ProviderName, Snapshots] = {"docker": containers, "vagrant": machines}

    def parts(self, lab: str | None = None) -> Sequence[Part]:
        """See `Snapshots.parts`: machines need no engine, and containers no libvirt."""
        found: list[Part] = []
        for each in self._of.values():
            try:
                found += each.parts(lab)
            except HostError:
                continue
        return found

    def inner(self, node: ObservedNode) -> Sequence[str]:
        """See `Snapshots.inner`."""
        return self._of["vagrant" if node.provider == "vagrant" else "docker"].inner(node)

    def save(self, part: Part, source: ObservedNode | ObservedVolume) -> None:
        """See `Snapshots.save`."""
        self._of[part.provider].save(part, source)

    def restore(self, part: Part, target: DesiredNode | DesiredVolume, desired: Desired) -> None:
        """See `Snapshots.restore`."""
        self._of[part.provider].restore(part, target, desired)

    def remove(self, part: Part) -> None:
        """See `Snapshots.remove`."""
        self._of[part.provider].remove(part)

    def tidy(self, lab: str) -> None:
        """See `Snapshots.tidy`."""
        for each in self._of.values():
            try:
                each.tidy(lab)
            except HostError:
                continue
