"""Reading: the machines and networks of one lab, or of all, as libvirt has them. Nothing here changes anything."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from typing import cast

from labctl.plan.model import Observed, ObservedLab, ObservedNetwork, ObservedNode, State
from labctl.providers import hosttables, labels
from labctl.providers.vagrant import libvirt
from labctl.providers.vagrant.machines import HEALTH
from labctl.providers.vagrant.place import Kept

Labels = Mapping[str, str]


def lab(name: str, kept: Mapping[str, Kept], images: Collection[str]) -> Observed:
    """All of one lab. `kept` is what its directory knows of the machines, `images` those that are on this host."""
    networks = libvirt.networks("")
    own = {each.name: each for each in networks if _of(_read(each.labels), name)}
    found = {}
    directories = set()
    for each in own.values():
        given = _read(each.labels)
        directories.add(given.get(labels.DIRECTORY, ""))
        found[given[labels.NAME]] = ObservedNetwork(
            name=given[labels.NAME],
            id=each.uuid,
            engine_name=each.name,
            subnet=_subnet(each),
            internal=not each.forward,
            provider="vagrant",
        )
    nodes = {}
    for domain in libvirt.domains(f"labctl-{name}-"):
        given = _read(domain.description)
        if _of(given, name):
            directories.add(given.get(labels.DIRECTORY, ""))
            running = {network for network, made in found.items() if own[made.engine_name].active}
            nodes[given[labels.NAME]] = _node(domain, given, kept.get(given[labels.NAME]), running)
    others = {_subnet(each) for each in networks if each.name not in own and each.address}
    mine = {each.subnet for each in found.values()}
    return Observed(
        lab=name,
        nodes=dict(sorted(nodes.items())),
        networks=dict(sorted(found.items())),
        images=frozenset(images),
        taken_subnets=tuple(sorted(others | {route for route in hosttables.routes() if route not in mine})),
        taken_ports=hosttables.listening(),
        directories=frozenset(each for each in directories if each),
    )


def labs() -> tuple[ObservedLab, ...]:
    """All labs that have machines or networks here, by name."""
    nodes: dict[str, list[tuple[libvirt.Domain, Labels]]] = {}
    networks: dict[str, list[Labels]] = {}
    for domain in libvirt.domains("labctl-"):
        given = _read(domain.description)
        if labels.LAB in given:
            nodes.setdefault(given[labels.LAB], []).append((domain, given))
    for network in libvirt.networks("labctl-"):
        given = _read(network.labels)
        if labels.LAB in given:
            networks.setdefault(given[labels.LAB], []).append(given)
    return tuple(
        ObservedLab(
            name=name,
            directories=frozenset(
                given[labels.DIRECTORY]
                for given in (*networks.get(name, ()), *(given for _, given in nodes.get(name, ())))
                if labels.DIRECTORY in given
            ),
            nodes=len(nodes.get(name, ())),
            running=sum(domain.state == "running" for domain, _ in nodes.get(name, ())),
            networks=len(networks.get(name, ())),
            created=min((float(given.get("labctl.created", 0)) for _, given in nodes.get(name, ())), default=0.0),
            providers=frozenset({"vagrant"}),
            owner=next((o for _, given in nodes.get(name, ()) if (o := given.get(labels.OWNER))), ""),
        )
        for name in sorted({*nodes, *networks})
    )


def _node(domain: libvirt.Domain, given: Labels, kept: Kept | None, networks: Collection[str]) -> ObservedNode:
    addresses = labels.addresses(given)
    whole = set(addresses) <= set(networks)
    return ObservedNode(
        name=given[labels.NAME],
        id=domain.uuid,
        state=cast(State, domain.state),
        image=given.get("labctl.image-tag", ""),
        # A machine whose network is gone has lost its shape: it can only be made anew.
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
        created=float(given.get("labctl.created", 0)),
        status={"exited": "shut off", "dead": "crashed"}.get(domain.state, domain.state),
    )


def _read(text: str) -> Labels:
    with suppress(ValueError):
        read = json.loads(text)
        if isinstance(read, dict):
            return read
    return {}


def _of(given: Labels, lab: str) -> bool:
    return given.get(labels.LAB) == lab and labels.NAME in given


def _subnet(network: libvirt.Network) -> IPv4Network:
    if not network.address:
        return IPv4Network("0.0.0.0/32")
    return IPv4Network((IPv4Address(network.address), network.prefix), strict=False)
