"""Shared storage of a lab beside the same tools put together by hand, and beside the same volume without any network.

All take turns within a round, with empty caches of the host where the measurement reads.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench import host
from tests.bench.contenders import HERE, Labctl

LAB = "bench-storage"
MIB = 256
WORKS = {
    "write": "written, 1 MiB at a time",
    "read": "read, 1 MiB at a time",
    "small-write": "written, 4 KiB at a time",
    "random-write": "written, 4 KiB anywhere",
    "random-read": "read, 4 KiB anywhere",
}
SIZES = {"small-write": 64}
"""MiB of a work's file, where it is not `MIB`."""

CACHES = Path("/proc/sys/vm/drop_caches")

_GANESHA = """
NFS_CORE_PARAM { mount_path_pseudo = true; Enable_NLM = false; Enable_RQUOTA = false;
    allow_set_io_flusher_fail = true; }
EXPORT { Export_Id = 1; Path = /srv/hand; Pseudo = /hand; Access_Type = RW; Squash = No_Root_Squash; SecType = sys;
    FSAL { Name = VFS; } }
"""

_SERVE = """
mkdir -p /run/ganesha /run/rpcbind; rpcbind -w; cat > /etc/ganesha/ganesha.conf
ganesha.nfsd -L /var/log/ganesha.log
tgtd; until tgtadm --mode system --op show > /dev/null 2>&1; do sleep 0.1; done
truncate -s 1G /srv/hand/disk
tgtadm --mode target --op new --tid 1 --targetname iqn.2026-11.internal.hand:disk
tgtadm --mode logicalunit --op new --tid 1 --lun 1 --backing-store /srv/hand/disk
tgtadm --mode target --op bind --tid 1 --initiator-address ALL
until nfs-ls nfs://127.0.0.1/hand > /dev/null 2>&1; do sleep 0.1; done
"""

_MOUNT_FILES = """
gcc -O2 -o /usr/local/bin/plain_nfs -x c - $(pkg-config --cflags --libs fuse3 libnfs)
mkdir -p /mnt/hand; plain_nfs 'nfs://SERVER/hand?version=3' /mnt/hand
"""

_MOUNT_DISK = """
set -e; touch /run/hand.disk; mkdir -p /mnt/hand
qemu-storage-daemon --daemonize --pidfile /run/hand.pid --blockdev \
driver=iscsi,node-name=disk,transport=tcp,portal=SERVER:3260,target=iqn.2026-11.internal.hand:disk,lun=1,\
initiator-name=iqn.2026-11.internal.hand:client \
--export type=fuse,id=file,node-name=disk,mountpoint=/run/hand.disk,writable=on
device=$(losetup -f | cut -d" " -f1); [ -b "$device" ] || mknod "$device" b 7 "${device#/dev/loop}"
losetup "$device" /run/hand.disk; echo "$device" > /run/hand.loop
mkfs.ext4 -q "$device"; mount "$device" /mnt/hand
"""

_UNMOUNT_DISK = 'umount /mnt/hand; losetup -d "$(cat /run/hand.loop)"; kill "$(cat /run/hand.pid)"; sleep 1'

_RIGHTS = ("--cap-add", "SYS_ADMIN", "--device", "/dev/fuse", "--security-opt", "apparmor=unconfined")
_DEVICES = ("--device", "/dev/loop-control", "--device-cgroup-rule", "b 7:* rwm")
_BY_HANDLE = ("--cap-add", "DAC_READ_SEARCH", "--security-opt", "seccomp=unconfined")


@dataclass
class Rates:
    """Bytes a second of each contender, round by round; labctl is the first."""

    name: str
    rounds: list[Mapping[str, float]] = field(default_factory=list)

    def middle(self, who: str) -> float:
        """The median of one contender."""
        return median(each[who] for each in self.rounds)

    def ratio(self, who: str) -> float:
        """labctl over another one: the median of the ratios within the rounds."""
        return median(each["labctl"] / each[who] for each in self.rounds)


@dataclass(frozen=True)
class Place:
    """A directory in a container."""

    container: str
    directory: str

    def measure(self, work: str) -> float:
        """Bytes a second."""
        size = SIZES.get(work, MIB)
        path = f"{self.directory}/load-{size}"
        if work in ("write", "small-write"):
            _inside(self.container, f"rm -f {path}")
        os.sync()
        if "read" in work:
            CACHES.write_text("3\n")
        count, seconds = _inside(self.container, f"perl - {work} {path} {size}", LOAD.read_text()).split()
        return int(count) / float(seconds)


LOAD = HERE / "programs" / "load.pl"


def measure(labctl: Labctl, found: list[Rates], rounds: int, patience: float, say: Callable[[str], None]) -> None:
    """Every work through NFS and through iSCSI, `rounds` times; adds to `found`."""
    if not os.access(CACHES, os.W_OK):
        raise PermissionError(f"{CACHES}: to measure reading, the host's caches have to be emptied, as root")
    with _lab(labctl), _by_hand() as by_hand:
        contenders = {
            "NFS": {
                "labctl": Place(_name("client"), "/mnt/files"),
                "by hand": by_hand["files"],
                "direct": Place(_name("nas"), "/srv/files"),
            },
            "iSCSI": {
                "labctl": Place(_name("client"), "/mnt/disk"),
                "by hand": by_hand["disk"],
                "direct": Place(_name("nas"), "/srv/lab/disk"),
            },
        }
        for way, places in contenders.items():
            found += [Rates(f"{way}: {what}") for what in WORKS.values()]
            mine = dict(zip(WORKS, found[-len(WORKS) :], strict=True))
            for number in range(rounds):
                host.quiet(patience=patience)
                for work, rates in mine.items():
                    names = list(places)[number % 3 :] + list(places)[: number % 3]
                    rate = {name: places[name].measure(work) for name in names}
                    rates.rounds.append({name: rate[name] for name in places})
                    said = ", ".join(f"{name} {each / 1e6:.0f} MB/s" for name, each in rate.items())
                    say(f"{rates.name}, round {number + 1}: {said}")


def markdown(found: Sequence[Rates]) -> str:
    """One table of all of them."""
    head = ["what", "labctl", "by hand", "labctl / by hand", "direct", "labctl / direct"]
    rows = [head, ["---"] * len(head)]
    for each in found:
        if each.rounds:
            speed = {who: f"{each.middle(who) / 1e6:.0f} MB/s" for who in each.rounds[0]}
            ratios = [f"{each.ratio(who):.2f}" for who in ("by hand", "direct")]
            rows.append([each.name, speed["labctl"], speed["by hand"], ratios[0], speed["direct"], ratios[1]])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


# ---------------------------------------------------------------- what is measured


@contextmanager
def _lab(labctl: Labctl) -> Iterator[None]:
    """A lab with a share and a disk, and a node with what the way by hand is built with."""
    path = labctl.directory / LAB / "lab.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    served: dict[str, Any] = {"server": "nas", "reclaim": "Delete"}
    lab = {
        "name": LAB,
        "networks": {"lan": {}},
        "volumes": {
            "files": {"type": "nfs", "squash": "none", **served},
            "disk": {"type": "iscsi", "size": "1GiB", **served},
        },
        "nodes": {
            "nas": {},
            "client": {"volumes": ["files:/mnt/files", "disk:/mnt/disk"]},
            "tools": {"packages": ["fuse3", "gcc", "libc6-dev", "libfuse3-dev", "libnfs-dev", "pkg-config"]},
        },
    }
    path.write_text(json.dumps(lab))
    labctl.labs.add(LAB)
    try:
        labctl.run("up", "-f", str(path), "--yes")
        yield
    finally:
        labctl.run("down", "-f", str(path), "--volumes")


@contextmanager
def _by_hand() -> Iterator[dict[str, Place]]:
    """The same servers with the settings they come with, and the plainest clients, in containers of their own."""
    with ExitStack() as undo:
        volume = f"{LAB}-hand"
        _docker("volume", "create", "--label", host.LABEL, volume)
        undo.callback(_docker, "volume", "rm", "-f", volume, check=False)
        server = undo.enter_context(_container("nas", "server", *_BY_HANDLE, "-v", f"{volume}:/srv/hand"))
        _inside(server, _SERVE, _GANESHA)
        networks = json.loads(_docker("inspect", "-f", "{{json .NetworkSettings.Networks}}", server))
        (address,) = (each["IPAddress"] for each in networks.values())
        files = undo.enter_context(_container("tools", "files", *_RIGHTS))
        source = (HERE / "programs" / "plain_nfs.c").read_text()
        _inside(files, _MOUNT_FILES.replace("SERVER", address), source)
        disk = undo.enter_context(_container("_storage-client", "disk", *_RIGHTS, *_DEVICES))
        undo.callback(_inside, disk, _UNMOUNT_DISK, check=False)
        _inside(disk, _MOUNT_DISK.replace("SERVER", address))
        yield {"files": Place(files, "/mnt/hand"), "disk": Place(disk, "/mnt/hand")}


@contextmanager
def _container(image_of: str, name: str, *words: str) -> Iterator[str]:
    """A container from the image of one of the lab's, on its network; its name."""
    image = _docker("inspect", "-f", "{{.Image}}", _name(image_of)).strip()
    container = f"{LAB}-hand-{name}"
    place = ("--network", f"labctl-{LAB}-lan", "--label", host.LABEL)
    _docker("run", "-d", "--name", container, *place, *words, image, "tini", "--", "sleep", "infinity")
    try:
        yield container
    finally:
        _docker("rm", "-f", "-v", container, check=False)
        time.sleep(0.5)


def _name(node: str) -> str:
    return f"labctl-{LAB}-{node}"


def _docker(*words: str, check: bool = True, given: str = "") -> str:
    ran = subprocess.run(["docker", *words], input=given, capture_output=True, text=True, timeout=300, check=False)
    if check and ran.returncode:
        raise RuntimeError(f"docker {' '.join(words[:4])}: {ran.stderr or ran.stdout}")
    return ran.stdout


def _inside(container: str, script: str, given: str = "", *, check: bool = True) -> str:
    return _docker("exec", "-i", container, "sh", "-c", script, check=check, given=given)
