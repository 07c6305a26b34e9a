"""Reading: the machines and networks of one lab, or of all, as libvirt has them. Nothing here changes anything."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType
from typing import cast

from labctl.errors import LabctlError
from labctl.plan.model import JOINT, Observed, ObservedLab, ObservedNetwork, ObservedNode, State
from labctl.providers import hosttables, labels
from labctl.providers.vagrant import fences, leases, libvirt, taps, volumes
from labctl.providers.vagrant.machines import HEALTH
from labctl.providers.vagrant.networks import SUBNET, read
from labctl.providers.vagrant.place import Kept

Labels = Mapping[str, str]

_NOTHING: Labels = MappingProxyType({})


def lab(name: str, kept: Mapping[str, Kept], images: Collection[str], *, disks: bool) -> Observed:
    """All of one lab. `kept` is what its directory knows of the machines, `images` those that are on this host.

    `disks` is whether machines of the lab have volumes.
    """
    networks = libvirt.networks("")
    own = {each.name: given for each in networks if _of(given := read(each.labels), name)}
    ends = [end for each in [*own] if (end := leases.expiry(own[each])) is not None and own.pop(each)]
    domains = [
        (domain, given) for domain in libvirt.domains(f"labctl-{name}-") if _of(given := read(domain.description), name)
    ]
    apart = _fenced(f"labctl-{name}-") if own else frozenset()
    found = {
        given[labels.NAME]: _network(each, given, apart, domains)
        for each in networks
        if (given := own.get(each.name, _NOTHING))
    }
    there = {network.removeprefix(JOINT) for network in found}
    nodes = {given[labels.NAME]: _node(domain, given, kept.get(given[labels.NAME]), there) for domain, given in domains}
    known = volumes.observed(f"labctl-{name}-") if disks else []
    data = [(given, volume) for given, volume in known if given.get(labels.LAB) == name]
    labelled = [*own.values(), *(given for _, given in domains), *(given for given, _ in data)]
    others = {_subnet(each, _NOTHING) for each in networks if each.name not in own and each.address}
    mine = {each.subnet for each in found.values()}
    return Observed(
        lab=name,
        nodes=dict(sorted(nodes.items())),
        networks=dict(sorted(found.items())),
        volumes={volume.name: volume for _, volume in data},
        images=frozenset(images),
        taken_subnets=tuple(sorted(others | {route for route in hosttables.routes() if route not in mine})),
        taken_ports=hosttables.listening(),
        directories=frozenset(given[labels.DIRECTORY] for given in labelled if given.get(labels.DIRECTORY)),
        expires=max(ends, default=None),
    )


def labs() -> tuple[ObservedLab, ...]:
    """All labs that have machines or networks here, by name."""
    nodes: dict[str, list[tuple[libvirt.Domain, Labels]]] = {}
    networks: dict[str, list[Labels]] = {}
    ends: dict[str, Labels] = {}
    for domain in libvirt.domains("labctl-"):
        given = read(domain.description)
        if labels.LAB in given:
            nodes.setdefault(given[labels.LAB], []).append((domain, given))
    data: dict[str, list[Labels]] = {}
    for given, _ in volumes.observed():
        data.setdefault(given.get(labels.LAB, ""), []).append(given)
    for network in libvirt.networks("labctl-"):
        given = read(network.labels)
        if labels.LAB in given and leases.expiry(given) is not None:
            ends[given[labels.LAB]] = given
        elif labels.LAB in given and labels.NAME in given:
            networks.setdefault(given[labels.LAB], []).append(given)
    return tuple(
        ObservedLab(
            name=name,
            directories=frozenset(
                given[labels.DIRECTORY]
                for given in (
                    *networks.get(name, ()),
                    *(given for _, given in nodes.get(name, ())),
                    *data.get(name, ()),
                    ends.get(name, {}),
                )
                if labels.DIRECTORY in given
            ),
            nodes=len(nodes.get(name, ())),
            running=sum(domain.state == "running" for domain, _ in nodes.get(name, ())),
            networks=sum(not given[labels.NAME].startswith(JOINT) for given in networks.get(name, ())),
            volumes=len(data.get(name, ())),
            created=min((float(given.get("labctl.created", 0)) for _, given in nodes.get(name, ())), default=0.0),
            providers=frozenset({"vagrant"}),
            owner=next((o for _, given in nodes.get(name, ()) if (o := given.get(labels.OWNER))), ""),
            expires=leases.expiry(ends.get(name, {})),
        )
        for name in sorted({*nodes, *networks, *data, *ends})
    )


def _node(domain: libvirt.Domain, given: Labels, kept: Kept | None, networks: Collection[str]) -> ObservedNode:
    addresses = labels.addresses(given)
    whole = set(addresses) <= set(networks)
    return ObservedNode(
        name=given[labels.NAME],
        id=domain.uuid,
        state=cast(State, domain.state),
        image=given.get("labctl.image-tag", ""),
        # A machine whose network libvirt no longer knows has lost its shape: it can only be made anew.
        shape=given.get("labctl.shape", "") if whole else "",
        content=given.get("labctl.content", ""),
        addresses=addresses,
        health="starting" if given.get(HEALTH) else None,
        started=kept is None or kept.told == domain.uuid,
        group=given.get("labctl.group", ""),
        provider="vagrant",
        lab=given[labels.LAB],
        desktop=given.get("labctl.desktop"),
        packages=frozenset(given.get("labctl.packages", "").split()),
        volumes=tuple(given.get("labctl.volumes", "").split()),
        attached=labels.attached(given),
        created=float(given.get("labctl.created", 0)),
        status={"exited": "shut off", "dead": "crashed"}.get(domain.state, domain.state),
    )


def _of(given: Labels, lab: str) -> bool:
    return given.get(labels.LAB) == lab and labels.NAME in given


def _network(
    network: libvirt.Network,
    given: Labels,
    apart: Collection[str] | None,
    domains: Iterable[tuple[libvirt.Domain, Labels]],
) -> ObservedNetwork:
    name = given[labels.NAME]
    lab, joined = given[labels.LAB], name.removeprefix(JOINT)
    on_it = (of[labels.NAME] for _, of in domains if joined in labels.addresses(of))
    return ObservedNetwork(
        name=name,
        id=network.uuid,
        engine_name=network.name,
        subnet=_subnet(network, given),
        internal=not network.forward,
        provider="vagrant",
        whole=network.active
        and (apart is None or network.name in apart)
        and not any(taps.astray(taps.name(lab, node, joined), network.bridge) for node in on_it),
    )


def _fenced(prefix: str) -> frozenset[str] | None:
    """The networks that are kept apart; None where that cannot be seen."""
    try:
        return fences.standing(prefix) if os.geteuid() == 0 else None
    except LabctlError:
        return None


def _subnet(network: libvirt.Network, given: Labels) -> IPv4Network:
    if not network.address:
        return IPv4Network(given.get(SUBNET, "0.0.0.0/32"))
    return IPv4Network((IPv4Address(network.address), network.prefix), strict=False)
