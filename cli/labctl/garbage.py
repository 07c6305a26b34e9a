"""What killed runs left behind: found by labels and by labctl's own files alone, never what runs or is to be kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from labctl import api, lifecycle
from labctl.errors import BusyError, LabctlError
from labctl.lab import LabDirectory, home, known_labs
from labctl.plan.model import ObservedNetwork, ObservedNode
from labctl.plan.snapshots import Snapshot, grouped

if TYPE_CHECKING:
    from labctl.providers.base import Provider


@dataclass(frozen=True, slots=True)
class Garbage:
    """One thing that nobody needs: `what` it is, `because` of what, and the lab it belongs to."""

    what: str
    because: str
    lab: str
    target: ObservedNode | ObservedNetwork | LabDirectory | Expired | Snapshot


@dataclass(frozen=True, slots=True)
class Expired:
    """A whole lab whose time is over (seconds since the epoch)."""

    at: float


def find(provider: Provider | None = None, *, now: float | None = None, lab: str | None = None) -> list[Garbage]:
    """All that can be removed now (seconds since the epoch), of one `lab` or of all.

    Labs that another labctl works on are left out.
    """
    provider = provider or api.provider(everywhere=True)
    labs = {each.name for each in provider.labs()} | {*known_labs(home())}
    labs |= {part.lab for part in provider.snapshots.parts()}
    found: list[Garbage] = []
    for name in sorted(labs if lab is None else labs & {lab}):
        directory = LabDirectory(home(), name)
        try:
            with directory.lock():
                found += _of_lab(name, directory, provider, now or time.time())
        except BusyError:
            continue
    return found


def remove(found: Sequence[Garbage], provider: Provider | None = None) -> dict[str, LabctlError]:
    """Remove what `find` gave, nodes before their networks; what is needed by now is left.

    What cannot be removed does not keep the rest: it is returned, with the reason.

    Between the two a user was asked, and the lab may have come up meanwhile: every lab is looked at again.
    """
    provider = provider or api.provider(everywhere=True)
    left: dict[str, LabctlError] = {}
    for name in sorted({each.lab for each in found}):
        directory = LabDirectory(home(), name)
        given = {each.what for each in found if each.lab == name}
        if any(isinstance(each.target, Expired) for each in found if each.lab == name):
            left |= _end(name)
            continue
        with directory.lock():
            for each in _of_lab(name, directory, provider, time.time()):
                if each.what not in given or isinstance(each.target, Expired):
                    continue
                try:
                    if isinstance(each.target, LabDirectory):
                        each.target.remove()
                    elif isinstance(each.target, Snapshot):
                        for part in each.target.parts:
                            provider.snapshots.remove(part)
                        provider.snapshots.tidy(name)
                    else:
                        provider.remove(each.target)
                except LabctlError as error:
                    left[each.what] = error
    return left


def _end(name: str) -> dict[str, LabctlError]:
    """Take down a lab whose time is over; its Retain volumes stay. One that was extended meanwhile is left."""
    expires = api.look(name)[1].expires
    if expires is None or expires > time.time():
        return {}
    try:
        lifecycle.raise_for(lifecycle.down(name, volumes=False, emit=lambda event: None, missing_ok=True)[0])
    except LabctlError as error:
        return {f"lab {name}": error}
    return {}


def _of_lab(name: str, directory: LabDirectory, provider: Provider, now: float) -> list[Garbage]:
    observed = provider.observe(name)
    if observed.expires is not None and observed.expires <= now:
        when = datetime.fromtimestamp(observed.expires).astimezone().strftime("%Y-%m-%d %H:%M")
        return [Garbage(f"lab {name}", f"its time was over at {when}", name, Expired(observed.expires))]
    unborn = [node for node in observed.nodes.values() if not node.started]
    found = [Garbage(f"node {node.name} of {name}", "it was made and never started", name, node) for node in unborn]
    bare = not (observed.nodes or observed.networks or observed.volumes)
    for snapshot in grouped(provider.snapshots.parts(name)).values():
        if snapshot.missing or bare:
            lacks = f"it lacks {', '.join(snapshot.missing)}" if snapshot.missing else "nothing else of the lab is here"
            found.append(Garbage(f"snapshot {snapshot.name} of {name}", lacks, name, snapshot))
    if len(unborn) == len(observed.nodes):
        found += [
            Garbage(f"network {network.name} of {name}", "no node is on it", name, network)
            for network in observed.networks.values()
        ]
        if directory.exists and not observed.volumes and observed.expires is None:
            found.append(Garbage(f"files of lab {name}", "nothing of the lab is on this host", name, directory))
    return found


def clear_builds(provider: Provider | None = None) -> int:
    """Remove what killed image builds left in the engine; how many things that were."""
    return len((provider or api.provider()).clear_leftovers())
