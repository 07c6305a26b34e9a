"""The provider of labctl's own processes on this host: the part of `providers.base` that these have need of."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from labctl.errors import ConflictError, HostError, LabctlError
from labctl.features import gateway, ports
from labctl.plan.model import (
    GATEWAY,
    PORTS,
    Desired,
    DesiredNode,
    HostProgram,
    Observed,
    ObservedNode,
    Role,
    Target,
    Wanted,
)
from labctl.providers.base import Result
from labctl.providers.host import process
from labctl.providers.host.place import Place
from labctl.recipe import Entry

_ROLES: dict[str, Role] = {GATEWAY: "gateway", PORTS: "ports"}


class Host:
    """Processes of the labs of one user; `places` gives the directory of those of a lab."""

    def __init__(self, places: Callable[[str], Path]) -> None:
        self._places = places

    def place(self, lab: str, name: str) -> Place:
        """The files of one process."""
        return Place(self._places(lab) / _ROLES[name])

    # ------------------------------------------------------------ looking

    def added(self, observed: Observed, images: Collection[str] = ()) -> Observed:
        """`observed` with the processes of the lab, and with the ports of its machines that these publish."""
        programs = frozenset(each for each in images if each.startswith(HostProgram.PREFIX))
        if any(each.startswith(f"{HostProgram.PREFIX}gateway") for each in programs):
            _require_novnc()
        nodes = {name: node for name in _ROLES if (node := self._observed(observed.lab, name)) is not None}
        published = ports.published(
            self.place(observed.lab, PORTS).read(ports.CONFIGURATION) if PORTS in nodes else None
        )
        machines = {
            name: replace(node, ports=published.get(name, ())) if node.provider == "vagrant" else node
            for name, node in observed.nodes.items()
        }
        directories = {made.directory for name in nodes if (made := self.place(observed.lab, name).made()) is not None}
        return replace(
            observed,
            nodes={**machines, **nodes},
            images=observed.images | programs,
            directories=observed.directories | {each for each in directories if each},
        )

    def _observed(self, lab: str, name: str) -> ObservedNode | None:
        made = self.place(lab, name).made()
        runs = self._runs(lab, name)
        if made is None and not runs:
            return None
        return ObservedNode(
            name=name,
            id=made.id if made else _name(lab, name),
            state="running" if runs else "exited",
            image=made.image if made else "",
            shape=made.shape if made else "",
            content=made.content if made else "",
            addresses={},
            ports=made.ports if made else (),
            role=_ROLES[name],
            provider="host",
            created=made.created if made else 0.0,
            status="" if runs else "it ended",
            lab=lab,
        )

    def _runs(self, lab: str, name: str) -> bool:
        """Whether the process runs. By its name alone somebody else's could pass for what was made here."""
        owner = process.owner(_name(lab, name))
        return owner is not None if self.place(lab, name).made() is None else owner == os.getuid()

    def _end(self, lab: str, name: str) -> None:
        if self._runs(lab, name):
            process.end(_name(lab, name))

    # ------------------------------------------------------------ living

    def create(self, target: Wanted, desired: Desired, *, seed: Collection[Entry] = (), **_: object) -> None:
        """Lay down the process's files. A program of another labctl that still runs ends before."""
        if not isinstance(target, DesiredNode):
            return
        self._end(desired.lab, target.name)
        program = desired.images[target.image]
        self.place(desired.lab, target.name).make(
            (*program.context, *seed),
            image=target.image,
            shape=target.shape,
            content=target.content,
            ports=target.ports,
            directory=desired.directory,
        )

    def start(self, node: DesiredNode | ObservedNode) -> None:
        """Start the process; one that runs is left alone. Raises `ConflictError` when a port is somebody else's."""
        first = node.ports[:1] if node.role == "gateway" else ()
        words = [_ROLES[node.name], *(f"{port.address}:{port.host}" for port in first)]
        code = process.start(_name(node.lab, node.name), self.place(node.lab, node.name).program, words)
        if code == process.PORT_IN_USE:
            raise _in_use(node, node.ports[0].host or 0)
        self._look_again(node)

    def _look_again(self, node: DesiredNode | ObservedNode) -> None:
        told = process.ask(_name(node.lab, node.name), "again") or {}
        for each in told.get("failed", ()):
            raise _in_use(node, each["port"], each["reason"])

    def adjust(self, node: DesiredNode) -> None:
        """See `Provider.adjust`: it has no limits."""

    def stop(self, node: ObservedNode, **_: object) -> None:
        """End the process."""
        self._end(node.lab, node.name)

    def remove(self, target: Target) -> None:
        """End the process and remove its files."""
        if isinstance(target, DesiredNode | ObservedNode):
            self._end(target.lab, target.name)
            self.place(target.lab, target.name).remove()

    # ------------------------------------------------------------ being in it

    def shell(self, node: DesiredNode | ObservedNode) -> HostShell:
        """A way to tell the process something new."""
        return HostShell(node.name, self.place(node.lab, node.name), lambda: self._look_again(node))

    def verdict(self, _: DesiredNode | ObservedNode) -> list[str]:
        """See `Provider.verdict`."""
        return []

    def tail(self, node: DesiredNode | ObservedNode, *, lines: int) -> list[str]:
        """The last lines of its log."""
        return self.place(node.lab, node.name).said(lines)


class HostShell:
    """`Shell`, as far as a process of labctl's own has need of one: it takes files, and there is nothing to run."""

    def __init__(self, name: str, place: Place, changed: Callable[[], None]) -> None:
        self._name, self._place, self._changed = name, place, changed

    def run(self, command: Sequence[str], **_: object) -> Result:
        """Nothing is ever run in it."""
        raise LabctlError(f"{self._name} is a process of this host, not a node", code="LAB-FIND-002")

    def put(self, entries: Collection[Entry]) -> None:
        """Write the files and have the process read them."""
        self._place.put(entries)
        self._changed()

    def get(self, path: str) -> bytes:
        """See `Shell.get`."""
        return self._place.read(path) or b""


def _require_novnc() -> None:
    missing = [package for package, file in gateway.ON_HOST.items() if not Path(file).is_file()]
    if missing:
        raise HostError(
            f"desktops of a lab without containers need {' and '.join(missing)} on this host",
            hint="labctl doctor --fix -f lab.yaml",
            code="LAB-VNC-004",
        )


def _name(lab: str, name: str) -> str:
    return f"labctl/{lab}/{_ROLES[name]}"


def _in_use(node: DesiredNode | ObservedNode, port: int, reason: str = "") -> ConflictError:
    chosen = node.chosen_ports if isinstance(node, DesiredNode) else frozenset()
    return ConflictError(
        f"port 127.0.0.1:{port} of this host is in use already",
        taken=f"port 127.0.0.1:{port}",
        retry=port in chosen,
        details=[reason] if reason else [],
        hint="publish another port, or leave the host's part out to have one chosen",
        code="LAB-NET-004",
    )
