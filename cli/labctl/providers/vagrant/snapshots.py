"""Snapshots of machines: disk and memory, kept in the machine's own disk file by libvirt, gone when the machine goes.

They are libvirt's and Vagrant's too (`vagrant snapshot list`); labctl's are known by what their description says.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from contextlib import suppress
from xml.sax.saxutils import escape

from labctl.errors import LabctlError
from labctl.plan.model import Desired, DesiredNode, DesiredVolume, ObservedNode, ObservedVolume
from labctl.plan.snapshots import Part, part
from labctl.providers.vagrant import libvirt

TIMEOUT = 300.0
"""Seconds that a machine's memory may take to be written or read."""


class MachineSnapshots:
    """`Snapshots` of libvirt's machines. `forget` is told the machine to which no open connection leads any more."""

    def __init__(self, forget: Callable[[str], None]) -> None:
        self._forget = forget

    def parts(self, lab: str | None = None) -> list[Part]:
        """See `Snapshots.parts`."""
        if not libvirt.is_there():
            return []
        found = []
        prefix = "labctl-" if lab is None else f"labctl-{lab}-"
        for domain in [name for name in libvirt.virsh("list", "--all", "--name").split() if name.startswith(prefix)]:
            for name in libvirt.virsh("snapshot-list", domain, "--name").split():
                with suppress(
                    LabctlError, ValueError, ElementTree.ParseError
                ):  # it has gone meanwhile, or is another's
                    said = ElementTree.fromstring(libvirt.virsh("snapshot-dumpxml", domain, name))
                    labels = json.loads(said.findtext("description", ""))
                    known = part(labels, "vagrant", f"{domain}/{name}", with_memory=True)
                    if known is not None and lab in (None, known.lab):
                        found.append(known)
        return found

    def inner(self, node: ObservedNode) -> Sequence[str]:
        """See `Snapshots.inner`: a machine's disk is one."""
        return ()

    def save(self, part: Part, source: ObservedNode | ObservedVolume) -> None:
        """See `Snapshots.save`."""
        text = escape(json.dumps(part.labels()))
        wanted = f"<domainsnapshot><name>{part.snapshot}</name><description>{text}</description></domainsnapshot>"
        domain = f"labctl-{part.lab}-{part.name}"
        libvirt.virsh("snapshot-create", domain, "/dev/stdin", stdin=wanted, timeout=TIMEOUT)

    def restore(self, part: Part, target: DesiredNode | DesiredVolume, desired: Desired) -> None:
        """See `Snapshots.restore`."""
        domain, _, name = part.id.partition("/")
        self._forget(domain)
        libvirt.virsh("snapshot-revert", domain, name, "--paused", timeout=TIMEOUT)

    def remove(self, part: Part) -> None:
        """See `Snapshots.remove`."""
        domain, _, name = part.id.partition("/")
        try:
            libvirt.virsh("snapshot-delete", domain, name, timeout=TIMEOUT)
        except LabctlError as error:
            said = " ".join(error.details)
            if not libvirt.gone(error) and "failed to get domain" not in said and "no domain snapshot" not in said:
                raise

    def tidy(self, lab: str) -> None:
        """See `Snapshots.tidy`: a snapshot goes with its machine."""
