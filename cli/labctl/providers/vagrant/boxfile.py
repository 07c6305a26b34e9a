"""The file of a box: a tar of the disk, of what starts it, and of words about both for Vagrant and for labctl."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from labctl.errors import LabctlError

DISK_GIGABYTES = 20
"""What a machine sees; the file of the disk holds what was written."""

_WORDS = "labctl.json"

_VAGRANTFILE = """\
# Made by labctl: the kernel lies beside the disk, and each machine is told on its command line who it is.
Vagrant.configure("2") do |config|
  here = File.dirname(__FILE__)
  config.vm.synced_folder ".", "/vagrant", disabled: true
  config.vm.provider :libvirt do |libvirt|
    libvirt.kernel = File.join(here, "vmlinuz")
    libvirt.initrd = File.join(here, "initrd")
  end
end
"""


@dataclass(frozen=True, slots=True)
class Words:
    """What a box says of itself. `system` is the box that it was made from; a `built` one is made again when needed.

    `services` are those of labctl's features that are in it.
    """

    name: str
    system: str
    services: tuple[str, ...]
    built: bool


def compress(raw: Path, image: Path) -> None:
    """Write a raw disk as the image of a box. Raises `LabctlError`."""
    argv = [
        "qemu-img",
        "convert",
        "-f",
        "raw",
        "-O",
        "qcow2",
        "-c",
        "-o",
        "compression_type=zstd",
        str(raw),
        str(image),
    ]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        raise LabctlError(
            "the disk of the box could not be written", details=done.stderr.splitlines()[-5:], code="LAB-IMG-001"
        )


def write(target: Path, words: Words, *, image: Path, kernel: Path, initrd: Path) -> None:
    """Write the box."""
    metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": DISK_GIGABYTES}
    with tarfile.open(target, "w") as tar:
        _add(tar, "metadata.json", json.dumps(metadata).encode())
        _add(tar, "Vagrantfile", _VAGRANTFILE.encode())
        _add(tar, _WORDS, json.dumps(asdict(words)).encode())
        for name, path in (("box.img", image), ("vmlinuz", kernel), ("initrd", initrd)):
            tar.add(path, arcname=name, filter=_nobodys)


def words(path: Path) -> Words | None:
    """What the box says of itself; None for one that says nothing."""
    with suppress(OSError, tarfile.TarError, KeyError, ValueError, TypeError), tarfile.open(path) as tar:
        stream = tar.extractfile(_WORDS)
        known = json.loads(stream.read(1 << 16)) if stream is not None else {}
        services = tuple(str(each) for each in known["services"])
        return Words(str(known["name"]), str(known["system"]), services, built=bool(known["built"]))
    return None


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
