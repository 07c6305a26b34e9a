"""Shared storage while a lab goes up and down: what its parts are told, and what the keeper says of them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from labctl.errors import LabctlError
from labctl.features import iscsi_target, nfs_server
from labctl.plan import attached, storage
from labctl.plan.model import (
    DISK,
    KEEPER,
    STORAGE,
    DesiredNode,
    DesiredVolume,
    Observed,
    ObservedNode,
    Plan,
    Verb,
)
from labctl.providers import mounted
from labctl.providers.mounted import NotMountedError, Wanted, lacking, wait_mounted
from labctl.recipe import Entry

if TYPE_CHECKING:
    from labctl.lab import LabDirectory
    from labctl.model.lab import Lab
    from labctl.plan.model import Desired
    from labctl.plan.storage import Passwords
    from labctl.providers.base import Provider

STATE = "/run/lab/state.json"
"""Where the keeper, and every storage container, writes what it sees; replaced whole."""

KEEPING = "/etc/lab/keeper.json"
"""What the keeper is told: which volume of which container belongs where. No secrets."""

STORAGE_FILE = "/etc/lab/storage.json"
"""What a storage container is told; with secrets."""

HOLD_TIMEOUT, GROW_TIMEOUT = 5.0, 30.0
"""Seconds for a client to hold still while its disk is made larger, and to take up the new size."""

RELEASE_TIMEOUT = 60.0
"""Seconds for a node to let go of what is mounted in it: its services stop, and what was written is put on the disk."""


class Sharing:
    """The shared storage of one lab while it is brought up. `guard` is held while secrets are made."""

    def __init__(
        self, lab: Lab, whole: Desired, provider: Provider, directory: LabDirectory, guard: threading.Lock
    ) -> None:
        self.lab, self.whole, self.provider, self.directory, self._guard = lab, whole, provider, directory, guard

    def seed(self, node: DesiredNode) -> tuple[Entry, ...]:
        """The files that tell `node` its part."""
        return seed(self.lab, self.whole, node, self.chap.__getitem__)

    @cached_property
    def chap(self) -> dict[str, str]:
        """The secrets of all logins of the lab, made once for those that are new."""
        with self._guard:
            return self.directory.chap(storage.logins(storage.uses(self.lab, self.whole.nodes)))

    def _word_on(self, node: DesiredNode) -> Callable[[], dict[str, Any]]:
        """Who says how its volumes stand: a machine itself, of a container the keeper of the lab."""
        if node.attached:
            return lambda: mounted.said(self.provider, node)
        return lambda: state(self.provider, self.whole.nodes[KEEPER])

    def mounted(self, node: DesiredNode, *, end: float, stop: threading.Event) -> Callable[[float], None]:
        """A wait for the volumes of `node`; it takes the time (epoch) before which the keeper's word is too old."""
        return lambda since: wait_mounted(Wanted.of(node), self._word_on(node), end=end, stop=stop, since=since)

    @contextmanager
    def growing(self, node: DesiredNode, line: Callable[[str], None]) -> Iterator[None]:
        """What comes before and after `node` learns of disks that may have become larger."""
        if node.serves:
            self._hold(node)
        yield
        if node.role == "storage":
            self._take_up(node, line)

    def _hold(self, server: DesiredNode) -> None:
        """Have nothing under way on disks of `server` that are about to become larger: for a moment they are not there.

        What is written meanwhile waits. Those who hold still go on when they are told of the new size.
        """
        observed = self.provider.observe(self.lab.name)
        known = usage(self.provider, observed)
        growing = {
            volume.name
            for volume in storage.served(self.lab, server.name)
            if volume.size and volume.name in known and volume.size > (known[volume.name][0] or 0)
        }
        holding = []
        for each in self.whole.nodes.values() if growing else ():
            if (
                each.role != "storage"
                or each.name not in observed.nodes
                or observed.nodes[each.name].state != "running"
            ):
                continue
            told = _told(self.lab, self.whole, each.name, self.chap.__getitem__)
            disks = [disk for disk in (*told["mounts"], *told["devices"]) if disk["volume"] in growing]
            for disk in disks:
                disk |= {"hold": True, "size": known[disk["volume"]][0]}
            if disks:
                self.provider.shell(each).put((_secret(STORAGE_FILE, told),))
                holding += [(each, disk["volume"]) for disk in disks]
        end = time.monotonic() + HOLD_TIMEOUT
        while time.monotonic() < end:
            if all(self._said(each, volume).get("held") for each, volume in holding):
                return
            time.sleep(0.05)

    def _take_up(self, container: DesiredNode, line: Callable[[str], None]) -> None:
        """Wait until a storage container has taken up the new sizes; where that cannot be done while a file system is
        mounted, its node is stopped and started.
        """
        told = _told(self.lab, self.whole, container.name, self.chap.__getitem__)
        end = time.monotonic() + GROW_TIMEOUT
        for disk in (*told["mounts"], *told["devices"]):
            while disk.get("size") and time.monotonic() < end:
                said = self._said(container, disk["volume"])
                stuck = said.get("pending") or (said.get("phase"), said.get("layer")) == ("failed", "file system")
                if stuck:
                    self._restart(container, disk["volume"], line)
                    return
                if said.get("phase") == "ready" and int(said.get("size") or 0) >= disk["size"] and not said.get("held"):
                    break
                time.sleep(0.1)

    def _restart(self, container: DesiredNode, volume: str, line: Callable[[str], None]) -> None:
        observed = self.provider.observe(self.lab.name)
        node = observed.nodes.get(storage.storage_of(container.name) or "")
        if node is None or node.state != "running":
            return
        line(f"{node.name} is stopped and started: the file system of {volume} cannot grow while it is mounted")
        release(self.provider, observed, [node.name])
        self.provider.stop(node, timeout=10.0)
        self.provider.start(node)

    def _said(self, container: DesiredNode, volume: str) -> Mapping[str, Any]:
        known = (state(self.provider, container).get("volumes") or {}).get(volume)
        return known if isinstance(known, dict) else {}

    def lacking(self, node: DesiredNode) -> NotMountedError:
        """Why the volumes of `node` are not there, by the last word on them."""
        return lacking(Wanted.of(node), self._word_on(node)())


def seed(lab: Lab, whole: Desired, node: DesiredNode, passwords: Passwords) -> tuple[Entry, ...]:
    """What `node` is told of shared storage: a server what to serve, a container of labctl's own what to mount."""
    if node.role == "storage":
        return (_secret(STORAGE_FILE, _told(lab, whole, node.name, passwords)),)
    used = storage.uses(lab, whole.nodes)
    if node.role == "keeper":
        return (_secret(KEEPING, storage.keeping(lab.name, used)),)
    addresses = {each.name: each.addresses for each in whole.nodes.values()}
    entries: list[Entry] = []
    serves = storage.kinds(lab, node.name)
    if "nfs" in serves:
        exports = storage.exports(lab, node.name, used, addresses)
        entries += nfs_server.machine_seed(exports) if node.provider == "vagrant" else nfs_server.seed(exports)
    if "iscsi" in serves:
        entries += iscsi_target.seed(storage.targets(lab, node.name, used, passwords))
    if node.attached:
        entries.append(_secret(STORAGE_FILE, attached.document(lab, node.name, used, addresses, passwords)))
    places = [each.target for each in node.attached] or node.mounts
    if places:
        entries.append(Entry("/etc/lab/mounts", "".join(f"{each}\n" for each in places).encode()))
    if node.raw:
        lines = (f"{path} {major} {minor}\n" for path, major, minor in node.raw)
        entries.append(Entry("/etc/lab/devices", "".join(lines).encode()))
    return tuple(entries)


def _told(lab: Lab, whole: Desired, name: str, passwords: Passwords) -> dict[str, Any]:
    """What the storage or disk container called `name` is told."""
    addresses = {each.name: each.addresses for each in whole.nodes.values()}
    return storage.document(lab, name, storage.uses(lab, whole.nodes), addresses, passwords)


def _secret(path: str, told: Mapping[str, Any]) -> Entry:
    return Entry(path, json.dumps(told, indent=1).encode(), 0o600)


# ---------------------------------------------------------------- what the keeper says


def state(provider: Provider, keeper: DesiredNode | ObservedNode) -> dict[str, Any]:
    """The keeper's last word on the lab: ``time``, ``nodes``, ``disks``; empty when there is none. Reads only."""
    return _read(provider, keeper, STATE)


def keeping(provider: Provider, keeper: ObservedNode) -> dict[str, Any]:
    """What the keeper was told to mount where; empty when that cannot be read. Reads only."""
    return _read(provider, keeper, KEEPING)


def _read(provider: Provider, node: DesiredNode | ObservedNode, path: str) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(provider.read(node, path) or b"{}")
        if isinstance(found, dict):
            return found
    return {}


def usage(provider: Provider, observed: Observed) -> dict[str, tuple[int | None, int]]:
    """The size of each served volume (None without a limit) and the bytes that it takes, of servers that run."""
    found: dict[str, tuple[int | None, int]] = {}
    for server in observed.nodes.values():
        names = [name for name in server.volumes if name in observed.volumes and observed.volumes[name].type != "local"]
        if server.role != "node" or server.state != "running" or not names:
            continue
        with suppress(LabctlError, ValueError):
            said = provider.shell(server).run(("sh", "-c", _USAGE), timeout=20.0).stdout.decode(errors="replace")
            for line in said.splitlines():
                kind, name, size, used = line.split()
                if name in names:
                    found[name] = (int(size) if kind == "iscsi" else None, int(used))
    return found


_USAGE = r"""
while read -r name path; do
    echo "nfs $name 0 $(du -s -B1 -- "$path" 2> /dev/null | cut -f1)"
done < /etc/lab/nfs/exports
for disk in /srv/lab/*/disk; do
    name=${disk%/disk}
    [ ! -e "$disk" ] || echo "iscsi ${name##*/} $(stat -c %s "$disk") $(($(stat -c '%b * %B' "$disk")))"
done
"""


def oversized(provider: Provider, plan: Plan) -> list[str]:
    """A warning for each new disk that is larger than what the host has left: it is sparse, and may fill it."""
    new = [
        step.target
        for step in plan.steps
        if step.verb is Verb.CREATE and isinstance(step.target, DesiredVolume) and step.target.size
    ]
    free = provider.free() if new else None
    if free is None:
        return []
    from labctl.model.scalars import format_size

    left = f"{free / 2**30:.1f} GiB"
    return [
        f"volume {each.name} ({format_size(each.size or 0)}) is larger than what this host has left ({left}):"
        " it takes only what is written, and writes fail when the host's disk is full"
        for each in new
        if (each.size or 0) > free
    ]


# ---------------------------------------------------------------- letting go


def consumers(observed: Observed) -> frozenset[str]:
    """The nodes into which something is mounted, by the containers that do it."""
    return frozenset(name.removeprefix(STORAGE) for name in observed.nodes if name.startswith(STORAGE))


def release(provider: Provider, observed: Observed, names: Iterable[str]) -> None:
    """Have the keeper take the volumes out of the nodes, in order: services, mounts, clients.

    A keeper that is not there or does not run has nothing to release: what it left ends with its containers.
    """
    keeper = observed.nodes.get(KEEPER)
    wanted = [name for name in names if name in consumers(observed)]
    if keeper is None or keeper.state != "running" or not wanted:
        return
    with suppress(LabctlError):
        provider.shell(keeper).run(("keeper", "release", *wanted), timeout=RELEASE_TIMEOUT)


def let_go(provider: Provider, observed: Observed, node: ObservedNode) -> None:
    """What comes before `node` is removed: the keeper goes when all nodes have let go, a storage container after its
    node has.
    """
    if node.name == KEEPER:
        release(provider, observed, sorted(consumers(observed)))
    elif node.name.startswith(STORAGE):
        release(provider, observed, [node.name.removeprefix(STORAGE)])
    elif node.name.startswith(DISK) and node.state != "running":
        _tidy(provider, node)


def _tidy(provider: Provider, disk: ObservedNode) -> None:
    """Have a disk container that was killed end in order: it has left its numbered device on the host."""
    with suppress(LabctlError):
        began = time.time()
        provider.start(disk)
        while float(state(provider, disk).get("time", 0)) < began and time.time() < began + 5:
            time.sleep(0.1)
        provider.stop(disk, timeout=10.0)
