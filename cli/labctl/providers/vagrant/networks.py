"""The networks of a lab in libvirt: made by labctl, so that they are known again, found by Vagrant by their names.

A network of an engine's has a joint here: libvirt then puts machines on the bridge that the engine made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from xml.sax.saxutils import escape

from labctl.errors import ConflictError, LabctlError
from labctl.plan.model import JOINT, MANAGEMENT, Desired, DesiredNetwork, ObservedNetwork
from labctl.providers import labels
from labctl.providers.vagrant import fences, libvirt, taps

NAMESPACE = "urn:labctl:labels"
SUBNET = "labctl.subnet"
"""The label of a joint with the subnet of the engine's network."""


def create(network: DesiredNetwork, desired: Desired) -> None:
    """Have the network, running and apart from others. Raises `ConflictError` when its subnet is somebody else's."""
    known = {each.name: each for each in libvirt.networks(network.engine_name)}.get(network.engine_name)
    if known is None:
        libvirt.virsh("net-define", "/dev/stdin", stdin=xml(network, desired))
    fences.put(
        network.engine_name,
        network.bridge,
        lab=desired.lab,
        shut=network.internal,
        outward=fences.outward(),
    )
    if known is None or not known.active:
        _start(network)
    if known is not None:
        for tap in ends(desired.lab, network.name):
            taps.put_back(tap, network.bridge)


def _start(network: DesiredNetwork) -> None:
    try:
        start(network.engine_name)
    except LabctlError as error:
        said = " ".join(error.details)
        if "already in use" in said or "overlap" in said:
            with suppress(LabctlError):
                remove(network)
            raise ConflictError(
                f"subnet {network.subnet} of network {network.name} is taken",
                taken=f"subnet {network.subnet}",
                retry=network.chosen,
                details=error.details,
                hint=f"give network {network.name} another `subnet`",
                code="LAB-NET-002",
            ) from error
        raise


def start(name: str) -> None:
    """Have it run; one that does is fine."""
    try:
        libvirt.virsh("net-start", name)
    except LabctlError as error:
        if "already active" not in " ".join(error.details):
            raise


def wake(lab: str) -> None:
    """Have all networks of the lab run and apart from others: after a start of the host none does."""
    prefix = f"labctl-{lab}-"
    apart = fences.standing(prefix)
    for each in libvirt.networks(prefix):
        if read(each.labels).get(labels.LAB) != lab:
            continue
        if each.name not in apart:
            fences.put(each.name, each.bridge, lab=lab, shut=not each.forward, outward=fences.outward())
        if not each.active:
            start(each.name)


def remove(network: DesiredNetwork | ObservedNetwork) -> None:
    """Remove the network with what keeps it apart; gone is fine."""
    for command in ("net-destroy", "net-undefine"):
        if command == "net-undefine":
            fences.remove(network.engine_name)  # while the network can still be found: a run may be killed here
        try:
            libvirt.virsh(command, network.engine_name)
        except LabctlError as error:
            if not libvirt.gone(error) and "not active" not in " ".join(error.details):
                raise


def ends(lab: str, network: str) -> Iterator[str]:
    """The host's ends of the machines that are made to be on the network."""
    network = network.removeprefix(JOINT)
    for domain in libvirt.domains(f"labctl-{lab}-"):
        given = read(domain.description)
        if given.get(labels.LAB) == lab and network in labels.addresses(given):
            yield taps.name(lab, given.get(labels.NAME, ""), network)


def xml(network: DesiredNetwork, desired: Desired) -> str:
    """The network for libvirt. On the way that Vagrant has to the machines, these do not see one another."""
    given = labels.of(desired, "network", network.name)
    if network.name.startswith(JOINT):
        given[SUBNET] = str(network.subnet)
        return _joint(network, given)
    ours = network.name == MANAGEMENT
    lines = [
        *_head(network, given),
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


def _joint(network: DesiredNetwork, given: Mapping[str, str]) -> str:
    bridge = f"  <bridge name='{network.bridge}'/>"
    return "\n".join([*_head(network, given), "  <forward mode='bridge'/>", bridge, "</network>", ""])


def _head(network: DesiredNetwork, given: Mapping[str, str]) -> list[str]:
    text = escape(json.dumps(given))
    return [
        "<network>",
        f"  <name>{network.engine_name}</name>",
        f"  <metadata><labctl:labels xmlns:labctl='{NAMESPACE}'>{text}</labctl:labels></metadata>",
    ]


def read(text: str) -> Mapping[str, str]:
    """The labels of a thing of libvirt's; none where it has other text."""
    with suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict):
            return found
    return {}
