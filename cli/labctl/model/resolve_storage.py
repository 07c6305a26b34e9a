"""Volumes, mounts and raw devices: what is mounted where, and whether that can be. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from labctl.errors import KeyPath
from labctl.model.draft import Draft, absolute
from labctl.model.lab import Device, Mount, Node, Volume
from labctl.model.scalars import parse_size
from labctl.model.spec_node import NodeSpec
from labctl.model.spec_storage import IscsiVolumeSpec, LocalVolumeSpec, NfsVolumeSpec

_SYSTEM = frozenset(
    [
        "/",
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/lib",
        "/lib32",
        "/lib64",
        "/libx32",
        "/proc",
        "/root",
        "/run",
        "/sbin",
        "/sys",
        "/usr",
        "/var",
        "/usr/bin",
        "/usr/sbin",
        "/usr/lib",
        "/usr/lib64",
        "/usr/share",
        "/usr/lib/lab",
        "/etc/lab",
        "/etc/ssh",
        "/var/lib",
        "/var/run",
        "/var/lib/dpkg",
        "/etc/passwd",
        "/etc/group",
        "/etc/shadow",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/etc/hostname",
    ]
)
_KERNEL = ("/proc/", "/sys/", "/dev/")


def volumes(draft: Draft, providers: Mapping[str, NodeSpec]) -> dict[str, Volume]:
    """The volumes of the lab. `providers` are the node specs by name, to see what a server is."""
    found: dict[str, Volume] = {}
    exported: dict[tuple[str, str], str] = {}
    networks = draft.topology.networks or {"lan": None}
    for name, spec in (draft.topology.volumes or {}).items():
        path: KeyPath = ("volumes", name)
        if isinstance(spec, LocalVolumeSpec):
            found[name] = Volume(name, "local", spec.reclaim or "Retain")
            continue
        server = _server(draft, (*path, "server"), spec.server, providers)
        for index, network in enumerate(spec.networks or ()):
            if network not in networks:
                draft.unknown((*path, "networks", index), "network", network, networks)
            elif network in (spec.networks or ())[:index]:
                draft.add((*path, "networks", index), f"network {network} stands here twice")
        if spec.networks == []:
            draft.add(
                (*path, "networks"), "a volume that is served needs at least one network, or leave `networks` out"
            )
        if isinstance(spec, NfsVolumeSpec):
            found[name] = _nfs(draft, name, spec, server)
            key = (spec.server, found[name].path or "")
            first = exported.setdefault(key, name)
            if first != name:
                draft.add((*path, "path") if spec.path else path, f"{key[1]} on {key[0]} is already volume {first}")
        else:
            found[name] = _iscsi(draft, name, spec, server)
            _one_secret(draft, found[name], found.values())
    return found


def _one_secret(draft: Draft, volume: Volume, others: Iterable[Volume]) -> None:
    """A server knows one password for each CHAP user, and its disks with one target name are one target."""
    for other in others:
        if other is volume or other.type != "iscsi" or other.server != volume.server:
            continue
        if volume.chap_user and other.chap_user == volume.chap_user and other.chap_password != volume.chap_password:
            where = ("volumes", volume.name, "chap", "password")
            draft.add(where, f"volume {other.name} gives CHAP user {volume.chap_user} another password on this server")
        if other.name == (volume.target or volume.name) != (other.target or other.name):
            path: KeyPath = ("volumes", volume.name, "target") if volume.target else ("volumes", volume.name)
            draft.add(path, f"target {other.name} is the name of a volume that has another target")
        if volume.target and volume.target == (other.target or other.name) and volume.chap != other.chap:
            draft.add(
                ("volumes", volume.name, "target"), f"disks of one target have one `chap`, see volume {other.name}"
            )


def _server(draft: Draft, path: KeyPath, name: str, specs: Mapping[str, NodeSpec]) -> str:
    if draft.one_node(path, name) is not None and name in specs and specs[name].image is not None:
        draft.add(path, f"node {name} runs an image and cannot serve volumes", hint="let a node with a box serve it")
    return name


def _nfs(draft: Draft, name: str, spec: NfsVolumeSpec, server: str) -> Volume:
    exported = f"/srv/{name}"
    if spec.path is not None:
        with draft.at(("volumes", name, "path")):
            exported = absolute(spec.path)
            if exported in _SYSTEM or exported.startswith(_KERNEL):
                raise ValueError(f"{exported} is a directory of the system and cannot be exported")
            _plain(exported, "an exported directory", '"')
    return Volume(
        name,
        "nfs",
        spec.reclaim or "Retain",
        server=server,
        path=exported,
        access=spec.access or "ReadWriteMany",
        squash=spec.squash or "root",
        version=spec.version or "4",
        networks=tuple(spec.networks or ()),
    )


def _iscsi(draft: Draft, name: str, spec: IscsiVolumeSpec, server: str) -> Volume:
    size = parse_size(spec.size)
    if size < 2**20:
        words = "a disk of size 0 cannot be" if size == 0 else f"{spec.size} is too small for a disk"
        draft.add(("volumes", name, "size"), f"{words}, the least is 1MiB")
    for key, text in () if spec.chap is None or isinstance(spec.chap, bool) else spec.chap:
        if not text or not text.isprintable() or " " in text or "," in text:
            draft.add(
                ("volumes", name, "chap", key),
                "CHAP credentials are not empty and have no spaces, commas or line breaks",
            )
    own = None if spec.chap is None or isinstance(spec.chap, bool) else spec.chap
    return Volume(
        name,
        "iscsi",
        spec.reclaim or "Retain",
        server=server,
        access=spec.access or "ReadWriteOnce",
        size=size,
        fs=spec.fs or "ext4",
        chap=spec.chap is not False,
        chap_user=own.user if own else None,
        chap_password=own.password if own else None,
        networks=tuple(spec.networks or ()),
        target=spec.target,
    )


def mounts(draft: Draft, name: str, spec: NodeSpec, all_volumes: Mapping[str, Volume]) -> tuple[Mount, ...]:
    """What a node mounts, in the order of the file."""
    found: list[Mount] = []
    for index, text in enumerate(spec.volumes or ()):
        path: KeyPath = ("nodes", name, "volumes", index)
        with draft.at(path):
            mount = _mount(draft, path, text, all_volumes)
            if any(mount.target == other.target for other in found):
                raise ValueError(f"{mount.target} is already a mount of this node")
            if mount.volume and any(mount.volume == other.volume for other in found):
                raise ValueError(f"volume {mount.volume} is already mounted in this node")
            found.append(mount)
    return tuple(found)


def _mount(draft: Draft, path: KeyPath, text: str, all_volumes: Mapping[str, Volume]) -> Mount:
    source, colon, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if not colon or not source or not target or (mode or "ro") != "ro" or rest.endswith(":"):
        raise ValueError(f'expected NAME:PATH, NAME:PATH:ro or ./HOSTPATH:PATH, found "{text}"')
    target = _target(target)
    read_only = mode == "ro"
    if source[0] in "./~":
        return Mount(target, source=draft.reader.path(source, path), read_only=read_only)
    volume = all_volumes.get(source)
    if volume is None:
        draft.unknown(path, "volume", source, all_volumes)
        return Mount(target, volume=source, read_only=read_only)
    if volume.type == "iscsi" and volume.access == "ReadWriteMany":
        raise ValueError(
            f"volume {source} is ReadWriteMany, which is for raw devices: "
            "a file system on it would be damaged by its second user"
        )
    return Mount(target, volume=source, read_only=read_only or volume.access == "ReadOnlyMany")


def _target(text: str) -> str:
    target = absolute(text)
    if target in _SYSTEM or target.startswith(_KERNEL):
        raise ValueError(f"{target} belongs to the system, mount it elsewhere")
    return _plain(target, "a mount")


def _plain(path: str, what: str, forbidden: str = "") -> str:
    """The path, when it survives the configuration of the servers and the kernel's list of mounts as it is."""
    if not path.isprintable():
        raise ValueError(f"{what} has no control characters in its path")
    for character in f"\\{forbidden}":
        if character in path:
            raise ValueError(f"{what} has no {character} in its path")
    if any(part != part.strip() for part in path.split("/")):
        raise ValueError(f"{what} has no names that begin or end with a space in its path")
    return path


def devices(draft: Draft, name: str, spec: NodeSpec, all_volumes: Mapping[str, Volume]) -> tuple[Device, ...]:
    """The raw disks of a node, in the order of the file."""
    found: list[Device] = []
    for index, text in enumerate(spec.devices or ()):
        path: KeyPath = ("nodes", name, "devices", index)
        with draft.at(path):
            source, colon, target = text.partition(":")
            if not colon or not source or not target or ":" in target:
                raise ValueError(f'expected NAME:PATH such as disk:/dev/lab/disk, found "{text}"')
            target = absolute(target)
            if target in _SYSTEM or not target.startswith("/dev/"):
                raise ValueError(f"a raw device appears under /dev, such as {source}:/dev/lab/{source}")
            if " " in _plain(target, "a raw device"):
                raise ValueError("a raw device has no spaces in its path")
            if any(target == other.target for other in found):
                raise ValueError(f"{target} is already a device of this node")
            volume = all_volumes.get(source)
            if volume is None:
                draft.unknown(path, "volume", source, all_volumes)
            elif volume.type != "iscsi" and not draft.unsure("volumes", source):
                raise ValueError(f"volume {source} is {volume.type}, only iscsi volumes can be raw devices")
            found.append(Device(source, target))
    return tuple(found)


def named_networks(name: str, spec: NodeSpec, all_volumes: Mapping[str, Volume]) -> list[str]:
    """The networks that the volumes name which this node mounts, uses raw, or serves."""
    used = {text.partition(":")[0] for text in (*(spec.volumes or ()), *(spec.devices or ()))}
    return [
        network
        for volume in all_volumes.values()
        if volume.name in used or volume.server == name
        for network in volume.networks
    ]


def sharing(draft: Draft, nodes: Mapping[str, Node], all_volumes: Mapping[str, Volume]) -> None:
    """Who uses what together: a second user of a disk, a disk both raw and mounted, server and client apart."""
    mounted: dict[str, list[tuple[Node, KeyPath]]] = {}
    raw: dict[str, list[tuple[Node, KeyPath]]] = {}
    for node in nodes.values():
        for index, text in enumerate(draft.topology.node(node.group).volumes or ()):
            mounted.setdefault(text.partition(":")[0], []).append((node, (*node.source, "volumes", index)))
        for index, text in enumerate(draft.topology.node(node.group).devices or ()):
            raw.setdefault(text.partition(":")[0], []).append((node, (*node.source, "devices", index)))
    for name, volume in all_volumes.items():
        users = mounted.get(name, []) + raw.get(name, [])
        if draft.unsure("volumes", name) or not users:
            continue
        if name in mounted and name in raw:
            draft.add(
                raw[name][0][1], f"volume {name} is mounted by {mounted[name][0][0].name}, it cannot be raw as well"
            )
        if volume.type == "iscsi" and volume.access == "ReadWriteOnce" and len(users) > 1:
            first, (second, path) = users[0][0], users[1]
            draft.add(
                path, f"volume {name} is ReadWriteOnce and already used by {first.name}, {second.name} is a second"
            )
        machines = [(user, path) for user, path in users if user.provider == "vagrant"]
        if volume.type == "local" and len(machines) > 1:
            words = f"volume {name} is a disk of {machines[0][0].name}, two virtual machines cannot share it"
            draft.add(machines[1][1], words, hint="let one of them serve it: type nfs")
        if (volume.type == "local" or name in raw) and len({user.provider for user, _ in users}) > 1:
            other = next(path for user, path in users if user.provider != users[0][0].provider)
            what = "is local to an engine" if volume.type == "local" else "is raw"
            draft.add(other, f"volume {name} {what}, containers and virtual machines cannot share it")
        if volume.type != "local" and volume.server is not None and volume.server in nodes:
            for user, path in users:
                _reach(draft, volume, nodes[volume.server], user, path)


def _reach(draft: Draft, volume: Volume, server: Node, user: Node, path: KeyPath) -> None:
    if user.name == server.name:
        draft.add(path, f"node {user.name} serves volume {volume.name} and cannot mount it itself")
        return
    if draft.unsure(*user.source, "networks") or draft.unsure(*server.source, "networks"):
        return
    for network in volume.networks:
        for node, at in ((server, ("volumes", volume.name, "server")), (user, path)):
            if network not in node.interfaces and network in (draft.topology.networks or {"lan": None}):
                draft.add(at, f"volume {volume.name} uses network {network}, node {node.name} is not on it")
    if not volume.networks and not set(user.interfaces) & set(server.interfaces):
        draft.add(path, f"node {user.name} and {server.name}, which serves volume {volume.name}, share no network")
