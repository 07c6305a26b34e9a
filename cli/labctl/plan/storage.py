"""Shared storage of a lab: who serves what to whom, over which addresses, and the containers that mount it. Pure.

Nothing here holds a secret: where a password belongs, `Passwords` is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address
from typing import Any

from labctl.features.iscsi_target import PORT, Account, Lun, TargetOf
from labctl.features.nfs_server import Client, Export
from labctl.model.lab import Lab, Node, Volume
from labctl.plan.desired import engine_name
from labctl.plan.model import DISK, KEEPER, STORAGE, Confinement

Addresses = Mapping[str, Mapping[str, IPv4Address]]
"""The address of every node on each of its networks."""

Passwords = Callable[[str], str]
"""The CHAP secret of a login (``TARGET/INITIATOR``)."""

LOOPS = range(1024, 65536)
"""Minor numbers of loop devices that raw disks get: far from those that `losetup -f` gives."""

LOOP_MAJOR = 7

_NODE_CAPABILITIES = (
    "SYS_ADMIN",
    "MKNOD",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "CHOWN",
    "FOWNER",
    "SETUID",
    "SETGID",
    "KILL",
)
_KEEPER_CAPABILITIES = ("SYS_ADMIN", "SYS_PTRACE", "SYS_CHROOT", "DAC_OVERRIDE", "DAC_READ_SEARCH", "KILL")


@dataclass(frozen=True, slots=True)
class Use:
    """A volume as one node has it: a file system at `target`, or the raw device `target`."""

    node: str
    volume: Volume
    target: str
    read_only: bool = False
    raw: bool = False
    machine: bool = False
    """The node is a virtual machine, whose kernel brings the volume; else a container of labctl's own does."""

    @property
    def initiator(self) -> str:
        """Who logs in for it: the node, or for a raw disk that containers may share the disk's own container."""
        return f"disk.{self.volume.name}" if self.raw and not self.machine else self.node


def uses(lab: Lab, nodes: Iterable[str]) -> tuple[Use, ...]:
    """All uses of served volumes among the given nodes, in the order of the file."""
    names = [name for name in nodes if name in lab.nodes]
    volumes = {each.name: each for each in lab.volumes.values() if each.server in names}
    found = []
    for name in names:
        node = lab.nodes[name]
        machine = node.provider == "vagrant"
        found += [
            Use(name, volumes[mount.volume], mount.target, mount.read_only, machine=machine)
            for mount in node.mounts
            if mount.volume in volumes
        ]
        found += [
            Use(name, volumes[each.volume], each.target, raw=True, machine=machine)
            for each in node.devices
            if each.volume in volumes
        ]
    return tuple(found)


def served(lab: Lab, server: str) -> tuple[Volume, ...]:
    """The volumes that a node serves."""
    return tuple(volume for volume in lab.volumes.values() if volume.server == server)


def kinds(lab: Lab, server: str) -> frozenset[str]:
    """What a node has to be able to serve: ``nfs``, ``iscsi``, both or nothing."""
    return frozenset(volume.type for volume in served(lab, server))


def place(volume: Volume) -> str:
    """Where a served volume's data lies in its server."""
    return volume.path or f"/srv/{volume.name}" if volume.type == "nfs" else f"/srv/lab/{volume.name}"


def exported(lab: Lab, volume: Volume) -> str:
    """What clients ask an NFS server for: the kernel's own knows directories, the one of containers also names."""
    machine = lab.nodes[volume.server or ""].provider == "vagrant"
    return place(volume) if machine else f"/{volume.name}"


# ---------------------------------------------------------------- names and numbers


def iqn(lab: str, name: str) -> str:
    """The name of a target or an initiator of the lab."""
    return f"iqn.2026-11.internal.{lab}:{name}"


def target_of(volume: Volume) -> str:
    """The target that a disk belongs to: its own, or one that it shares."""
    return volume.target or volume.name


def login(volume: Volume, initiator: str) -> str:
    """What the secret of a login is kept under."""
    return f"{target_of(volume)}/{initiator}"


def wwid(lab: str, volume: str) -> str:
    """The name by which a disk is known to those who see it: 16 hex digits, no other lab of the host has it."""
    return sha256(f"{lab}/{volume}".encode()).hexdigest()[:16]


def loop(lab: str, volume: str) -> int:
    """The minor number of a raw disk's loop device, the same every time."""
    return LOOPS.start + int(sha256(f"{lab}/{volume}/loop".encode()).hexdigest()[:8], 16) % len(LOOPS)


def lun(lab: Lab, volume: Volume) -> int:
    """The number of a disk in its target: 1 in its own; in a shared one it stays when others come and go."""
    if volume.target is None:
        return 1
    names = sorted(other.name for other in served(lab, volume.server or "") if other.target == volume.target)
    return _numbers(names, lab.name, 255)[volume.name]


def _numbers(names: Sequence[str], key: str, count: int) -> dict[str, int]:
    """A number from 1 to `count` for every name, which depends on the other names only where two meet."""
    found: dict[str, int] = {}
    for name in names:
        number = int(sha256(f"{key}/{name}".encode()).hexdigest()[:8], 16) % count
        while number + 1 in found.values():
            number = (number + 1) % count
        found[name] = number + 1
    return found


# ---------------------------------------------------------------- servers


def networks(lab: Lab, volume: Volume, node: Node) -> tuple[str, ...]:
    """The networks over which `node` reaches the server: the volume's own, else the first that both are on."""
    if volume.networks:
        return volume.networks
    server = lab.nodes[volume.server or ""]
    return next(((network,) for network in server.interfaces if network in node.interfaces), ())


def exports(lab: Lab, server: str, used: Iterable[Use], addresses: Addresses) -> tuple[Export, ...]:
    """What a server exports over NFS, and to exactly whom."""
    volumes = [volume for volume in served(lab, server) if volume.type == "nfs"]
    numbers = _numbers(sorted(volume.name for volume in volumes), lab.name, 65535)
    found = []
    for volume in volumes:
        clients = {
            Client(str(addresses[use.node][network]), use.read_only)
            for use in used
            if use.volume.name == volume.name
            for network in networks(lab, volume, lab.nodes[use.node])
        }
        ordered = tuple(sorted(clients, key=lambda client: IPv4Address(client.address)))
        found.append(Export(volume.name, numbers[volume.name], place(volume), volume.squash, ordered))
    return tuple(found)


def targets(lab: Lab, server: str, used: Iterable[Use], passwords: Passwords) -> tuple[TargetOf, ...]:
    """The targets of a server with their disks, and who may log in."""
    used = tuple(used)
    groups: dict[str, list[Volume]] = {}
    for volume in served(lab, server):
        if volume.type == "iscsi":
            groups.setdefault(target_of(volume), []).append(volume)
    found = []
    for name, volumes in groups.items():
        logins = {use.initiator: use.volume for volume in volumes for use in used if use.volume.name == volume.name}
        accounts = {account(volume, initiator, passwords) for initiator, volume in sorted(logins.items())}
        found.append(
            TargetOf(
                iqn=iqn(lab.name, name),
                number=int(wwid(lab.name, f"target/{name}")[:7], 16) or 1,
                luns=tuple(
                    Lun(volume.name, lun(lab, volume), place(volume), volume.size or 0, wwid(lab.name, volume.name))
                    for volume in volumes
                ),
                initiators=tuple(iqn(lab.name, initiator) for initiator in sorted(logins)),
                accounts=tuple(sorted((each for each in accounts if each is not None), key=lambda each: each.user)),
            )
        )
    return tuple(found)


def account(volume: Volume, initiator: str, passwords: Passwords) -> Account | None:
    """The credentials of a login; None where the volume asks for none."""
    if not volume.chap:
        return None
    if volume.chap_user is not None and volume.chap_password is not None:
        return Account(volume.chap_user, volume.chap_password)
    return Account(f"{initiator}.{target_of(volume)}", passwords(login(volume, initiator)))


def logins(used: Iterable[Use]) -> tuple[str, ...]:
    """The logins of these uses that have a generated secret."""
    found = (
        login(use.volume, use.initiator)
        for use in used
        if use.volume.type == "iscsi" and use.volume.chap and use.volume.chap_user is None
    )
    return tuple(dict.fromkeys(found))


# ---------------------------------------------------------------- the containers that mount


def storage_of(name: str) -> str | None:
    """The node that a storage container works for; None for any other name."""
    return name.removeprefix(STORAGE) if name.startswith(STORAGE) else None


def disk_of(name: str) -> str | None:
    """The volume that a disk container makes a device of; None for any other name."""
    return name.removeprefix(DISK) if name.startswith(DISK) else None


def containers(lab: Lab, used: Sequence[Use]) -> Iterator[Node]:
    """The containers of labctl's own that bring the volumes to containers, as nodes: disks, storage, keeper."""
    used = [use for use in used if not use.machine]
    raw = dict.fromkeys(use.volume.name for use in used if use.raw)
    for name in raw:
        volume = lab.volumes[name]
        user = next(use.node for use in used if use.raw and use.volume.name == name)
        interfaces: dict[str, IPv4Address | None] = dict.fromkeys(networks(lab, volume, lab.nodes[user]))
        yield Node(DISK + name, DISK + name, interfaces=interfaces)
    for node in dict.fromkeys(use.node for use in used if not use.raw):
        yield Node(STORAGE + node, STORAGE + node)
    if used:
        yield Node(KEEPER, KEEPER)


def confinement(lab: str, name: str) -> Confinement:
    """What the engine has to give one of these containers, and nothing else."""
    if name == KEEPER:
        return Confinement(
            capabilities=_KEEPER_CAPABILITIES,
            host_processes=True,
            security=("apparmor=unconfined", "no-new-privileges"),
            command=("tini", "--", "keeper", "run"),
        )
    node = storage_of(name)
    return Confinement(
        capabilities=_NODE_CAPABILITIES,
        network_of=engine_name(lab, node) if node else None,
        devices=("/dev/fuse", "/dev/loop-control"),
        device_rules=(f"b {LOOP_MAJOR}:* rwm",),
        security=("apparmor=unconfined", "no-new-privileges"),
    )


def document(lab: Lab, name: str, used: Iterable[Use], addresses: Addresses, passwords: Passwords) -> dict[str, Any]:
    """What a storage or disk container is told: storage.json."""
    node, disk = storage_of(name), disk_of(name)
    used = [use for use in used if not use.machine]
    own = [use for use in used if (use.node == node and not use.raw) or (use.raw and use.volume.name == disk)]
    mounts = [attachment(lab, use, addresses, passwords) for use in own if not use.raw]
    devices = []
    for use in own[:1] if disk else ():
        told = attachment(lab, use, addresses, passwords)
        for key in ("target", "read_only", "fs", "kind"):
            told.pop(key, None)
        devices.append({**told, "loop": loop(lab.name, use.volume.name)})
    return {"lab": lab.name, "node": node or name, "mounts": mounts, "devices": devices}


def attachment(lab: Lab, use: Use, addresses: Addresses, passwords: Passwords) -> dict[str, Any]:
    """What has to be known to bring a volume to where it is used."""
    volume = use.volume
    server = volume.server or ""
    ways = [str(addresses[server][network]) for network in networks(lab, volume, lab.nodes[use.node])]
    told: dict[str, Any] = {
        "volume": volume.name,
        "kind": volume.type,
        "target": use.target,
        "read_only": use.read_only,
    }
    if volume.type == "nfs":
        return {
            **told,
            "servers": ways,
            "export": exported(lab, volume),
            "path": exported(lab, volume),
            "squash": volume.squash,
            "version": volume.version,
        }
    known = account(volume, use.initiator, passwords)
    return {
        **told,
        "fs": volume.fs,
        "size": volume.size,
        "iqn": iqn(lab.name, target_of(volume)),
        "lun": lun(lab, volume),
        "wwid": wwid(lab.name, volume.name),
        "portals": [f"{way}:{PORT}" for way in ways],
        "initiator": iqn(lab.name, use.initiator),
        "user": known.user if known else None,
        "password": known.password if known else None,
    }


def keeping(lab: str, used: Iterable[Use]) -> dict[str, Any]:
    """What the keeper is told: keeper.json."""
    nodes: dict[str, dict[str, Any]] = {}
    disks: dict[str, dict[str, str]] = {}
    for use in (each for each in used if not each.machine):
        node = nodes.setdefault(
            use.node,
            {"container": engine_name(lab, use.node), "storage": None, "mounts": [], "devices": []},
        )
        if use.raw:
            node["devices"].append({"volume": use.volume.name, "target": use.target})
            disks[use.volume.name] = {"container": engine_name(lab, DISK + use.volume.name)}
        else:
            node["storage"] = engine_name(lab, STORAGE + use.node)
            node["mounts"].append({"volume": use.volume.name, "target": use.target, "read_only": use.read_only})
    return {"lab": lab, "nodes": nodes, "disks": disks}
