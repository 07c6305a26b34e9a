"""The clients of shared storage: one image for the containers that mount for a node, and for the keeper of a lab; and
what a virtual machine needs to mount by itself.
"""

from __future__ import annotations

from labctl.features.base import shipped
from labctl.recipe import Recipe, Service

SOURCES = "/usr/src/labnfs"

_ISCSI_DRIVER = (
    # Only this driver: its package also brings those for Ceph and Gluster with all that they need, 80 packages.
    "apt-get update -q",
    "cd /var/cache/apt/archives",
    "apt-get -q -o APT::Sandbox::User=root download qemu-block-extra",
    "dpkg-deb --fsys-tarfile qemu-block-extra_*.deb | tar -x -C / --wildcards './usr/lib/*/qemu/block-iscsi.so'",
    "rm -f ./*.deb",
)

_TOOLS = "gcc libc6-dev libfuse3-dev pkg-config"

_COMPILE = (
    "export DEBIAN_FRONTEND=noninteractive",
    "apt-get update -q",
    f"apt-get install -q -y --no-install-recommends {_TOOLS}",
    f"gcc -std=gnu17 -O2 -Wall -Wextra -Wno-missing-field-initializers -o /usr/lib/lab/labnfs {SOURCES}/*.c"
    " $(pkg-config --cflags --libs fuse3)",
    f"apt-get purge -q -y --auto-remove {_TOOLS}",
    f"rm -rf {SOURCES} /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log",
)


_OF_CONTAINERS = ("/usr/src/", "/usr/lib/lab/lab-storage", "/usr/lib/lab/keeper/", "/usr/local/bin/")
_UNITS = (
    *("nfs-client.target", "nfs-blkmap.service", "rpcbind.service", "rpcbind.socket"),
    *("open-iscsi.service", "iscsid.service", "iscsid.socket", "multipathd.service", "multipathd.socket"),
)
"""What the packages start by themselves; the program that mounts starts what a machine needs."""


def machine_recipe() -> Recipe:
    """The same for every machine that mounts: its kernel's own clients, and a program that brings volumes by them."""
    return Recipe(
        packages=("e2fsprogs", "multipath-tools", "nfs-common", "open-iscsi", "python3", "xfsprogs"),
        files=(
            *(each for each in shipped("storage") if not each.path.startswith(_OF_CONTAINERS)),
            *shipped("machine", "storage"),
        ),
        build=(
            f"systemctl -q disable {' '.join(_UNITS)}",
            "rm -f /etc/iscsi/initiatorname.iscsi",
            "python3 -m compileall -q /usr/lib/lab",
        ),
        services=(Service(name="storage", command=("/usr/lib/lab/machine-storage",)),),
    )


def recipe() -> Recipe:
    """The same for every lab."""
    return Recipe(
        prepare=_ISCSI_DRIVER,
        packages=("e2fsprogs", "libfuse3-4", "libiscsi7", "nfs-common", "python3", "qemu-utils", "xfsprogs"),
        files=shipped("storage"),
        build=(
            *_COMPILE,
            "mkdir -p /etc/lab /lab/mounts /run/lab",
            "python3 -m compileall -q /usr/lib/lab",
        ),
        services=(Service(name="storage", command=("/usr/lib/lab/lab-storage",)),),
    )
