"""Boxes: made from packages, kept in labctl's cache by content address, known to Vagrant by the same name.

No virtual machine, loop device or boot loader has a part in it: the disk's file system is written from a directory,
and the kernel, which lies beside the disk in the box, is started directly.
"""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import tarfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from labctl.assets import assets
from labctl.errors import HostError, NotFoundError
from labctl.plan.model import MachineBox
from labctl.providers import bootstrap
from labctl.providers.base import Line
from labctl.providers.vagrant import boxfile, initrd
from labctl.providers.vagrant.kernel import unpacked
from labctl.recipe import Entry

_UNITS = "/etc/systemd/system"

TOOLS = {
    **bootstrap.TOOLS,
    "mke2fs": "e2fsprogs",
    "qemu-img": "qemu-utils",
    "xz": "xz-utils",
    "zstd": "zstd",
}
"""The commands that make a box, and Debian's package of each."""


@dataclass(frozen=True, slots=True)
class KeptBox:
    """A box in the cache. `tag` is its name, `size` in bytes."""

    tag: str
    box: str
    size: int
    path: Path


def vagrant_home(environ: Mapping[str, str], home: Path) -> Path:
    """Where Vagrant keeps what it knows, for the user with this home directory."""
    given = environ.get("VAGRANT_HOME")
    return Path(given) if given else home / ".vagrant.d"


def path_of(cache: Path, tag: str) -> Path:
    """Where the box of that name lies, or will."""
    return cache / "boxes" / f"{tag.rpartition('/')[2]}.box"


def digest_of(path: Path) -> Path:
    """Where the sha256 of a box's file stands, as sha256sum writes it."""
    return path.with_suffix(".box.sha256")


def kept(cache: Path) -> list[KeptBox]:
    """The boxes of the cache, by name."""
    found = []
    for path in sorted((cache / "boxes").glob("*.box")):
        box, _, _ = path.stem.rpartition("-")
        found.append(KeptBox(f"labctl/{path.stem}", box, path.stat().st_size, path))
    return found


def build(box: MachineBox, cache: Path, proxies: Mapping[str, str], on_line: Line | None) -> Path:
    """Have the box in the cache; returns where. Two labctl that want the same box: the second waits and finds it.

    Raises `HostError` or `LabctlError`.
    """
    target = path_of(cache, box.tag)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(target):
        if not target.exists():
            if not box.suite:
                raise NotFoundError(
                    f"the file of box {box.box} is gone", hint="put it there again: labctl box add", code="LAB-FIND-004"
                )
            bootstrap.require(TOOLS, "what is needed to make a box from packages is not installed")
            with bootstrap.workplace(cache) as directory:
                _make(box, directory, proxies, on_line)
                finished = directory / "finished.box"
                _pack(box, directory, finished, on_line)
                publish(finished, target)
    return target


def publish(finished: Path, target: Path) -> None:
    """Have a finished file at its place, with its digest beside it."""
    note_digest(finished, target)
    finished.replace(target)


def note_digest(path: Path, target: Path | None = None) -> str:
    """Write down the sha256 of a file that is, or will be, `target`; returns it."""
    digest, target = checksum(path), target or path
    digest_of(target).write_text(f"{digest}  {target.name}\n")
    return digest


def checksum(path: Path) -> str:
    """The sha256 of a box's file."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _make(box: MachineBox, directory: Path, proxies: Mapping[str, str], on_line: Line | None) -> None:
    """The disk, the kernel and the drivers, in `directory`."""
    recipe = {
        "SUITE": box.suite,
        "VARIANT": box.variant,
        "KERNEL": box.kernel,
        "PACKAGES": ",".join(box.packages),
        "SIZE": f"{boxfile.DISK_GIGABYTES}G",
    }
    (directory / "recipe").write_text("".join(f"{name}='{value}'\n" for name, value in recipe.items()))
    _write_tar(directory / "system.tar", (*box.system, _script("/tmp/prepare", box.prepare)))
    _write_tar(directory / "files.tar", (*box.files, _script("/tmp/build", box.build)))
    programs = directory / "programs"
    shutil.copytree(assets("templates") / "machine" / "build", programs)
    if os.geteuid() != 0:
        programs.chmod(0o755)
    environment = {**os.environ, **proxies, "TMPDIR": str(directory)}
    argv = bootstrap.as_root(["sh", str(programs / "root"), str(directory)])
    bootstrap.run(argv, environment, box.box, on_line)


def _pack(box: MachineBox, directory: Path, target: Path, on_line: Line | None) -> None:
    """What Vagrant calls a box, from what `_make` left."""
    if on_line is not None:
        on_line("compressing the disk")
    image, kernel, first = (directory / name for name in ("box.img", "kernel", "initrd"))
    boxfile.compress(directory / "disk.raw", image)
    kernel.write_bytes(unpacked((directory / "vmlinuz").read_bytes()))
    init = (directory / "programs" / "init").read_bytes()
    initrd.write(first, init, directory / "busybox", directory / "modules")
    units = (each.path for each in box.files if each.path.startswith(f"{_UNITS}/lab-"))
    services = tuple(path.removeprefix(f"{_UNITS}/lab-").removesuffix(".service") for path in units)
    words = boxfile.Words(box.tag.partition("/")[2], box.box, services, built=True)
    boxfile.write(target, words, image=image, kernel=kernel, initrd=first)


def _script(path: str, lines: Collection[str]) -> Entry:
    return Entry(path, "".join(f"{line}\n" for line in lines).encode())


def _write_tar(path: Path, entries: Collection[Entry]) -> None:
    """A tar of files alone: what is above them is there, or made as tar makes it (root, 0755)."""
    with tarfile.open(path, "w") as tar:
        for entry in entries:
            member = tarfile.TarInfo(entry.path.lstrip("/"))
            member.size, member.mode, member.uid, member.gid = len(entry.content), entry.mode, entry.uid, entry.gid
            tar.addfile(member, io.BytesIO(entry.content))


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    lock = os.open(target.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    except OSError as error:
        raise HostError(
            f"the box could not be written: {error}", hint="look at the room on its disk", code="LAB-HOST-005"
        ) from error
    finally:
        os.close(lock)
