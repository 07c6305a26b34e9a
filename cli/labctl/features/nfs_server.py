"""A node that serves directories over NFS: in a container nfs-ganesha, so that the host's kernel needs no server; in a
virtual machine its kernel's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from labctl.assets import assets
from labctl.features.base import LAB_UID, shipped
from labctl.recipe import Entry, Probe, Recipe, Service

NFS_PORT = 2049
MOUNT_PORT = 20048
"""Where NFSv3 clients ask for a mount; a fixed port, also known to the node's rpcbind."""

_SQUASH = {"root": "Root_Squash", "none": "No_Root_Squash", "all": "All_Squash"}

_CORE = f"""\
NFS_CORE_PARAM {{
    Protocols = 3, 4;
    NFS_Port = {NFS_PORT};
    MNT_Port = {MOUNT_PORT};
    Enable_NLM = false;
    Enable_RQUOTA = false;
    mount_path_pseudo = true;
    allow_set_io_flusher_fail = true;
}}
NFSV4 {{
    Graceless = true;
    Minor_Versions = 0, 1, 2;
    RecoveryBackend = fs;
    Allow_Numeric_Owners = true;
    Only_Numeric_Owners = true;
}}
EXPORT_DEFAULTS {{
    Access_Type = None;
    Protocols = 3, 4;
    Transports = TCP;
    SecType = sys;
}}
"""


@dataclass(frozen=True, slots=True)
class Client:
    """A node that mounts an export, known by its address."""

    address: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Export:
    """A directory that is served as ``/VOLUME``. `number` (1 to 65535) is part of every file handle: it stays."""

    volume: str
    number: int
    path: str
    squash: Literal["root", "none", "all"] = "root"
    clients: tuple[Client, ...] = ()


def recipe() -> Recipe:
    """The same for every server. It may open files by their handles, which the engine's default profile forbids."""
    return Recipe(
        packages=("libnfs-utils", "nfs-ganesha", "nfs-ganesha-vfs", "rpcbind"),
        files=shipped("nfs"),
        build=("mkdir -p /run/ganesha /var/lib/nfs/ganesha /etc/lab/nfs",),
        services=(
            # With -w it takes up again what was registered when it was killed.
            Service(name="rpcbind", command=("rpcbind", "-f", "-w"), prepare=("mkdir -p /run/rpcbind",)),
            Service(
                name="nfs",
                command=(
                    *("ganesha.nfsd", "-F", "-L", "/dev/stderr", "-N", "NIV_EVENT"),
                    *("-f", "/run/lab/ganesha.conf", "-p", "/run/ganesha.pid"),
                ),
                after=("rpcbind",),
                wait_for="[ -s /etc/lab/nfs/ganesha.conf ] && rpcinfo -p 127.0.0.1 > /dev/null 2>&1",
                prepare=("/usr/lib/lab/serve/nfs start",),
            ),
        ),
        probes=(
            Probe(
                name="nfs",
                description="its NFS exports to be readable",
                hint="see what nfs-ganesha logged with `labctl logs`",
                port=NFS_PORT,
                script="/usr/lib/lab/serve/nfs holds",
            ),
        ),
        capabilities=("DAC_READ_SEARCH",),
        seccomp=assets("templates").joinpath("seccomp", "nfs-server.json").read_text(encoding="utf-8"),
    )


def seed(exports: Sequence[Export]) -> tuple[Entry, ...]:
    """The server's configuration, readable by root alone; the node leaves out what its release does not know."""
    text = _CORE + "".join(_export(each) for each in exports)
    listed = "".join(f"{each.volume} {each.path}\n" for each in exports)
    return (
        Entry("/etc/lab/nfs/ganesha.conf", text.encode(), 0o600),
        Entry("/etc/lab/nfs/exports", listed.encode(), 0o600),
    )


def machine_recipe() -> Recipe:
    """The same for every machine that serves: the server of its own kernel, by the units of its package."""
    return Recipe(
        packages=("libnfs-utils", "nfs-kernel-server"),
        files=shipped("machine", "nfs"),
        build=(
            "mkdir -p /etc/exports.d /etc/lab/nfs /etc/systemd/system/lab.target.wants",
            f"systemctl -q disable {' '.join(_UNITS)}",
            f"ln -sfn /usr/lib/systemd/system/{_SERVER} /etc/systemd/system/lab.target.wants/{_SERVER}",
        ),
        probes=(
            Probe(
                name="nfs",
                description="its NFS exports to be readable",
                hint="see what its server logged with `labctl exec NODE -- journalctl -u nfs-server`",
                port=NFS_PORT,
                script="/usr/lib/lab/serve/nfs holds",
            ),
        ),
    )


_SERVER = "nfs-server.service"
_UNITS = (_SERVER, "nfs-client.target", "nfs-blkmap.service", "rpcbind.service", "rpcbind.socket")
"""What the package starts by itself at every start; the server brings up what it needs when it starts."""


def machine_seed(exports: Sequence[Export]) -> tuple[Entry, ...]:
    """The same exports for the kernel's server: to exactly the clients that mount them, and to itself for probing."""
    lines = []
    for export in exports:
        common = f"sync,no_subtree_check,insecure,fsid={export.number},{_KERNEL_SQUASH[export.squash]}"
        common += f",anonuid={LAB_UID},anongid={LAB_UID}"
        clients = [f"{each.address}({'ro' if each.read_only else 'rw'},{common})" for each in export.clients]
        lines.append(f'"{export.path}" 127.0.0.1(ro,{common}) {" ".join(clients)}\n')
    listed = "".join(f"{each.volume} {each.path}\n" for each in exports)
    return (
        Entry("/etc/exports.d/lab.exports", "".join(lines).encode(), 0o600),
        Entry("/etc/lab/nfs/exports", listed.encode(), 0o600),
    )


_KERNEL_SQUASH = {"root": "root_squash", "none": "no_root_squash", "all": "all_squash"}


def _export(export: Export) -> str:
    lines = [
        "EXPORT {",
        f"    Export_Id = {export.number};",
        f'    Path = "{export.path}";',
        f'    Pseudo = "/{export.volume}";',
        f"    Squash = {_SQUASH[export.squash]};",
        f"    Anonymous_Uid = {LAB_UID};",
        f"    Anonymous_Gid = {LAB_UID};",
        # The node itself, to see that the export can be read.
        "    CLIENT { Clients = 127.0.0.1; Access_Type = RO; }",
    ]
    for access, read_only in (("RW", False), ("RO", True)):
        addresses = ", ".join(client.address for client in export.clients if client.read_only is read_only)
        if addresses:
            lines.append(f"    CLIENT {{ Clients = {addresses}; Access_Type = {access}; }}")
    lines += ["    FSAL { Name = VFS; }", "}", ""]
    return "\n".join(lines)
