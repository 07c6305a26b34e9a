"""Reading: one lab, or all labs, from the engine's lists and the host's own tables. Nothing here changes anything."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any, Literal, cast

from labctl.plan.model import Observed, ObservedLab, ObservedNetwork, ObservedNode, ObservedVolume, Role, State
from labctl.providers import hosttables, labels
from labctl.providers.docker import reading
from labctl.providers.docker.reading import Reader

Listed = Sequence[Mapping[str, Any]]
"""What the engine answers to a list: one JSON object for each thing."""

_HEALTH = re.compile(r"\((?:health: )?(healthy|unhealthy|starting)\)")
_EXITED = re.compile(r"^Exited \((\d+)\)")


def lab(reader: Reader, name: str, images: Collection[str]) -> Observed:
    """All of one lab, its lists asked for at the same time."""
    wanted = sorted(set(images))
    own = labels.query(name)
    containers, networks, volumes, *there = reader.ask(
        f"list lab {name}",
        reading.containers(**own),
        reading.networks(),
        reading.volumes(**own),
        *(reading.image(tag) for tag in wanted),
    )
    return assemble(
        name,
        containers,
        networks,
        volumes["Volumes"] or [],
        images=frozenset(tag for tag, found in zip(wanted, there, strict=True) if found is not None),
        routes=hosttables.routes(),
        taken_ports=hosttables.listening(),
    )


def labs(reader: Reader, *, sizes: bool = False) -> tuple[ObservedLab, ...]:
    """All labs of this engine by name, whoever made them and from wherever; with `sizes` what they wrote to disk."""
    found = labels.query()
    listing = reading.containers(**found)
    containers, networks, volumes = reader.ask(
        "list the labs",
        reading.with_sizes(listing) if sizes else listing,
        reading.networks(**found),
        reading.volumes(**found),
    )
    return summarise(containers, networks, volumes["Volumes"] or [])


def tenants(reader: Reader, network: str) -> dict[IPv4Address, str]:
    """Which container has which address of the network, whoever made it; none where there is no such network."""
    (found,) = reader.ask(f"look at network {network}", reading.network(network))
    there = ((found or {}).get("Containers") or {}).values()
    return {IPv4Interface(each["IPv4Address"]).ip: str(each["Name"]) for each in there if each.get("IPv4Address")}


def assemble(
    name: str,
    containers: Listed,
    networks: Listed,
    volumes: Listed,
    *,
    images: frozenset[str] = frozenset(),
    routes: Collection[IPv4Network] = (),
    taken_ports: frozenset[tuple[int, str]] = frozenset(),
) -> Observed:
    """What the lists say about lab `name`. Pure: the same answers give the same value."""
    own_networks = [each for each in networks if _is(each, name, "network")]
    known = {each["Labels"][labels.NAME]: _network(each) for each in own_networks}
    ids = {each["Name"]: each["Id"] for each in own_networks}
    own_containers = [each for each in containers if each["Labels"].get(labels.KIND) in labels.NODES]
    own_volumes = [each for each in volumes if _is(each, name, "volume")]
    there = frozenset(each["Id"] for each in own_containers)
    nodes = sorted((_node(each, ids, there) for each in own_containers), key=lambda node: _natural(node.name))
    own_subnets = {network.subnet for network in known.values()}
    others = {subnet for each in networks if not _is(each, name, "network") for subnet in _subnets(each)}
    labelled = [*own_containers, *own_networks, *own_volumes]
    return Observed(
        lab=name,
        nodes={node.name: node for node in nodes},
        networks=dict(sorted(known.items())),
        volumes={each["Labels"][labels.NAME]: _volume(each) for each in own_volumes},
        images=images,
        taken_subnets=tuple(sorted(others | {route for route in routes if route not in own_subnets})),
        taken_ports=taken_ports,
        directories=frozenset(each["Labels"][labels.DIRECTORY] for each in labelled if _has_directory(each)),
        expires=_end(volumes),
    )


def summarise(containers: Listed, networks: Listed, volumes: Listed) -> tuple[ObservedLab, ...]:
    """The labs that the lists speak of, by name."""
    names: dict[str, tuple[list[Any], list[Any], list[Any]]] = {}
    for place, (listed, kinds) in enumerate(
        ((containers, labels.NODES), (networks, ("network",)), (volumes, ("volume", labels.LEASE)))
    ):
        for each in listed:
            given = each["Labels"] or {}
            if given.get(labels.KIND) in kinds and (lab := given.get(labels.LAB)):
                names.setdefault(lab, ([], [], []))[place].append(each)
    return tuple(
        ObservedLab(
            name=name,
            directories=frozenset(
                each["Labels"][labels.DIRECTORY] for listed in names[name] for each in listed if _has_directory(each)
            ),
            nodes=sum(each["Labels"][labels.KIND] == "node" for each in nodes),
            running=sum(each["Labels"][labels.KIND] == "node" and each["State"] == "running" for each in nodes),
            networks=len(nets),
            volumes=sum(each["Labels"][labels.KIND] == "volume" for each in vols),
            created=min((float(each["Created"]) for each in nodes), default=0.0),
            owner=next((o for each in (*nodes, *nets, *vols) if (o := each["Labels"].get(labels.OWNER))), ""),
            expires=_end(vols),
            containers=tuple(each["Id"] for each in nodes if each["State"] == "running"),
            disk=sum(int(each.get("SizeRw") or 0) for each in nodes)
            if any("SizeRw" in each for each in nodes)
            else None,
        )
        for name, (nodes, nets, vols) in sorted(names.items())
    )


def _end(volumes: Listed) -> float | None:
    """The latest end that a lease gives: one that is being moved has two for a moment."""
    return max((end for each in volumes if (end := labels.expiry(each["Labels"])) is not None), default=None)


# ---------------------------------------------------------------- one thing each


def _node(listed: Mapping[str, Any], networks: Mapping[str, str], there: frozenset[str]) -> ObservedNode:
    given: Mapping[str, str] = listed["Labels"]
    status = str(listed["Status"])
    health = _HEALTH.search(status)
    exited = _EXITED.match(status)
    addresses = labels.addresses(given)
    attached = listed["NetworkSettings"]["Networks"] or {}
    return ObservedNode(
        name=given.get(labels.NAME, ""),
        id=listed["Id"],
        state=cast(State, listed["State"] if listed["State"] != "removing" else "dead"),
        image=str(listed["Image"]),
        # A node whose networks are not those it was made with has lost its shape: it can only be made anew.
        shape=given.get("labctl.shape", "") if _whole(given, attached, networks) and _joined(listed, there) else "",
        content=given.get("labctl.content", ""),
        addresses=addresses,
        ports=labels.ports(given),
        health=cast(Literal["healthy", "unhealthy", "starting"], health[1]) if health else None,
        exit_code=int(exited[1]) if exited else None,
        started=listed["State"] != "created",
        role=cast(Role, given[labels.KIND]),
        group=given.get("labctl.group", ""),
        kind="image" if "labctl.image" in given else "box",
        desktop=given.get("labctl.desktop"),
        volumes=tuple(
            each["Name"].removeprefix(f"labctl-{given.get(labels.LAB)}-")
            for each in listed["Mounts"]
            if each["Type"] == "volume" and str(each.get("Name", "")).startswith(f"labctl-{given.get(labels.LAB)}-")
        ),
        packages=frozenset(given.get("labctl.packages", "").split()),
        created=float(listed["Created"]),
        status=status,
    )


def _whole(given: Mapping[str, str], attached: Mapping[str, Any], networks: Mapping[str, str]) -> bool:
    """Whether the container is on the very networks, with the addresses, that its labels speak of."""
    prefix = f"labctl-{given.get(labels.LAB)}-"
    for name, address in labels.addresses(given).items():
        endpoint = attached.get(prefix + name)
        if endpoint is None or prefix + name not in networks:
            return False
        if endpoint["NetworkID"] not in ("", networks[prefix + name]):
            return False
        if (endpoint.get("IPAMConfig") or {}).get("IPv4Address") != str(address):
            return False
    return True


def _joined(listed: Mapping[str, Any], there: frozenset[str]) -> bool:
    """Whether the container whose network this one shares, if any, is one of those of the lab."""
    mode = str((listed.get("HostConfig") or {}).get("NetworkMode", ""))
    return not mode.startswith("container:") or mode.removeprefix("container:") in there


def _network(listed: Mapping[str, Any]) -> ObservedNetwork:
    return ObservedNetwork(
        name=listed["Labels"][labels.NAME],
        id=listed["Id"],
        engine_name=listed["Name"],
        subnet=next(iter(_subnets(listed)), IPv4Network("0.0.0.0/32")),
        internal=bool(listed["Internal"]),
        reserved=frozenset(
            IPv4Address(address)
            for each in (listed.get("IPAM") or {}).get("Config") or ()
            for address in (each.get("AuxiliaryAddresses") or {}).values()
            if ":" not in address
        ),
    )


def _volume(listed: Mapping[str, Any]) -> ObservedVolume:
    given = listed["Labels"]
    return ObservedVolume(
        name=given[labels.NAME],
        engine_name=listed["Name"],
        type=given.get("labctl.type", "local"),
        reclaim="Delete" if given.get("labctl.reclaim") == "Delete" else "Retain",
        size=int(given["labctl.size"]) if given.get("labctl.size", "").isdecimal() else None,
        target=given.get("labctl.target"),
    )


def _is(listed: Mapping[str, Any], lab: str, kind: str) -> bool:
    given = listed["Labels"] or {}
    return given.get(labels.LAB) == lab and given.get(labels.KIND) == kind and labels.NAME in given


def _has_directory(listed: Mapping[str, Any]) -> bool:
    return labels.DIRECTORY in (listed["Labels"] or {})


def _subnets(listed: Mapping[str, Any]) -> list[IPv4Network]:
    found = []
    for each in (listed.get("IPAM") or {}).get("Config") or ():
        try:
            found.append(IPv4Network(each.get("Subnet", ""), strict=False))
        except ValueError:
            continue  # IPv6
    return found


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that puts web-2 before web-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
