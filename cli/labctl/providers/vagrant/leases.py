"""When a lab of machines ends, kept where every user of the host can read it: in the labels of a network that is none.

It is never started, has no address and no machine on it. The lab's own networks and machines come and go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from xml.sax.saxutils import escape

from labctl.errors import LabctlError
from labctl.providers import labels
from labctl.providers.vagrant import libvirt
from labctl.providers.vagrant.networks import NAMESPACE

NAME = "_lease"


def give(lab: str, *, expires: float, directory: str, owner: str) -> None:
    """Let the lab end at `expires` (seconds since the epoch), whatever was said before."""
    given = {
        labels.SCHEMA: labels.VERSION,
        labels.LAB: lab,
        labels.KIND: labels.LEASE,
        labels.NAME: NAME,
        labels.DIRECTORY: directory,
        labels.OWNER: owner,
        labels.EXPIRES: str(int(expires)),
    }
    name = _name(lab)
    known = next((each.uuid for each in libvirt.networks(name) if each.name == name), "")
    libvirt.virsh("net-define", "/dev/stdin", stdin=_xml(name, known, given))


def take_back(lab: str) -> None:
    """Let the lab have no end; none is no error."""
    try:
        libvirt.virsh("net-undefine", _name(lab))
    except LabctlError as error:
        if "transient network" in " ".join(error.details):
            # It runs and has no definition any more: it goes when it ends.
            libvirt.virsh("net-destroy", _name(lab))
        elif not libvirt.gone(error):
            raise


def expiry(given: Mapping[str, str]) -> float | None:
    """When the lab ends whose lease has these labels; None for labels of anything else."""
    if given.get(labels.KIND) != labels.LEASE:
        return None
    with suppress(ValueError):
        return float(given.get(labels.EXPIRES, ""))
    return None


def _name(lab: str) -> str:
    return f"labctl-{lab}-{NAME}"


def _xml(name: str, uuid: str, given: Mapping[str, str]) -> str:
    text = escape(json.dumps(given))
    return "\n".join(
        [
            "<network>",
            f"  <name>{name}</name>",
            *([f"  <uuid>{uuid}</uuid>"] if uuid else []),
            f"  <metadata><labctl:labels xmlns:labctl='{NAMESPACE}'>{text}</labctl:labels></metadata>",
            "  <forward mode='bridge'/>",
            "  <bridge name='labctl-lease'/>",
            "</network>",
            "",
        ]
    )
