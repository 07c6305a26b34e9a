"""Machines that Vagrant starts: whether they answer, long before Vagrant has noticed, and whether they still run."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping

from labctl.plan.model import DesiredNode, ObservedNode
from labctl.providers.vagrant import libvirt, machines
from labctl.providers.vagrant.place import Place


class Starting:
    """The machines of one lab that are being started: `nodes` by their names, which begin with `prefix` in libvirt."""

    def __init__(self, prefix: str, nodes: Mapping[str, DesiredNode | ObservedNode], place: Place) -> None:
        self._prefix, self._silent, self._place = prefix, dict(nodes), place
        self._names = frozenset(nodes)
        self._next = time.monotonic() + machines.LOOK_EVERY

    def all_answer(self) -> bool:
        """Whether all have answered by now. Raises `LabctlError` when one has ended, asked for every few seconds."""
        self._still_there()
        for name, node in list(self._silent.items()):
            if answers(node):
                del self._silent[name]
        return not self._silent

    def _still_there(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + machines.LOOK_EVERY
        for each in libvirt.domains(self._prefix):
            name = each.name.removeprefix(self._prefix)
            console = self._place.console(name)
            began = console.exists() and console.stat().st_size > 0
            if name in self._names and each.state in ("exited", "dead") and began:
                raise machines.ended(name, console)


def answers(node: DesiredNode | ObservedNode) -> bool:
    """Whether the machine's ssh server greets."""
    address = str(next(iter(node.addresses.values()), ""))
    try:
        with socket.create_connection((address, 22), timeout=2.0) as connection:
            connection.settimeout(5.0)
            greeting = connection.recv(256)
            connection.sendall(b"SSH-2.0-labctl\r\n")  # an end without it is noted as an error
            return greeting.startswith(b"SSH-2.0-")
    except OSError:
        return False
