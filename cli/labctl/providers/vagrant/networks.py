"""The networks of a lab in libvirt: made by labctl, so that they are known again, found by Vagrant by their names."""

from __future__ import annotations

import json
from xml.sax.saxutils import escape

from labctl.errors import ConflictError, LabctlError
from labctl.plan.model import MANAGEMENT, Desired, DesiredNetwork, ObservedNetwork
from labctl.providers import labels
from labctl.providers.vagrant import libvirt

NAMESPACE = "urn:labctl:labels"


def create(network: DesiredNetwork, desired: Desired) -> None:
    """Have the network, running. Raises `ConflictError` when its subnet is somebody else's."""
    known = {each.name: each for each in libvirt.networks(network.engine_name)}
    if network.engine_name not in known:
        libvirt.virsh("net-define", "/dev/stdin", stdin=xml(network, desired))
    elif known[network.engine_name].active:
        return
    try:
        libvirt.virsh("net-start", network.engine_name)
    except LabctlError as error:
        said = " ".join(error.details)
        if "already active" in said:
            return
        if "already in use" in said or "overlap" in said:
            _undefine(network.engine_name)
            raise ConflictError(
                f"subnet {network.subnet} of network {network.name} is taken",
                taken=f"subnet {network.subnet}",
                retry=network.chosen,
                details=error.details,
                hint=f"give network {network.name} another `subnet`",
                code="LAB-NET-002",
            ) from error
        raise


def remove(network: DesiredNetwork | ObservedNetwork) -> None:
    """Remove the network; gone is fine."""
    for command in ("net-destroy", "net-undefine"):
        try:
            libvirt.virsh(command, network.engine_name)
        except LabctlError as error:
            if not libvirt.gone(error) and "not active" not in " ".join(error.details):
                raise


def xml(network: DesiredNetwork, desired: Desired) -> str:
    """The network for libvirt. On the way that Vagrant has to the machines, these do not see one another."""
    given = escape(json.dumps(labels.of(desired, "network", network.name)))
    ours = network.name == MANAGEMENT
    lines = [
        "<network>",
        f"  <name>{network.engine_name}</name>",
        f"  <metadata><labctl:labels xmlns:labctl='{NAMESPACE}'>{given}</labctl:labels></metadata>",
        *(["  <forward mode='nat'/>"] if not network.internal else []),
        f"  <bridge name='{network.bridge}' stp='off' delay='0'/>",
        *(["  <port isolated='yes'/>"] if ours else []),
        f"  <dns enable='{'no' if ours else 'yes'}'/>",
        f"  <ip address='{network.gateway}' prefix='{network.subnet.prefixlen}'>",
    ]
    if ours:
        first, last = network.subnet.network_address + 2, network.subnet.broadcast_address - 1
        lines.append(f"    <dhcp><range start='{first}' end='{last}'/></dhcp>")
    return "\n".join([*lines, "  </ip>", "</network>", ""])


def _undefine(name: str) -> None:
    try:
        libvirt.virsh("net-undefine", name)
    except LabctlError as error:
        if not libvirt.gone(error):
            raise
