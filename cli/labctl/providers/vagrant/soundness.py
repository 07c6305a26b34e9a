"""Whether a box's file is what was made: its digest, and that there is in it what a machine starts from."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from labctl.providers.vagrant import boxes

_MEMBERS = ("metadata.json", "Vagrantfile", "box.img", "vmlinuz", "initrd")
_CPIO, _QCOW2 = b"070701", b"QFI\xfb"


def faults(path: Path, digest: str | None) -> list[str]:
    """What is wrong with a box's file, a sentence each; nothing when it is sound. `digest` is its sha256, if known."""
    try:
        return list(_faults(path, digest))
    except (OSError, tarfile.TarError) as error:
        return [f"it cannot be read: {error}"]


def known_digest(path: Path) -> str | None:
    """The sha256 that the file had when it was made; None where nobody wrote it down."""
    try:
        return boxes.digest_of(path).read_text().split()[0]
    except (OSError, IndexError):
        return None


def _faults(path: Path, digest: str | None) -> Iterator[str]:
    if digest is not None and boxes.checksum(path) != digest:
        yield "its digest is not the one that it was made with"
    with tarfile.open(path) as tar:
        members = {member.name.removeprefix("./"): member for member in tar if member.isfile()}
        lacking = [name for name in _MEMBERS if name not in members or not members[name].size]
        if lacking:
            yield f"not in it: {', '.join(lacking)}"
            return
        yield from _metadata(tar, members["metadata.json"])
        if _begin(tar, members["initrd"], 6) != _CPIO:
            yield "its first file system is none"
        if _begin(tar, members["box.img"], 4) != _QCOW2:
            yield "its disk is no qcow2 image"
        else:
            yield from _disk(tar, members["box.img"], path.parent)


def _metadata(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[str]:
    stream = tar.extractfile(member)
    try:
        metadata = json.loads(stream.read(1 << 20)) if stream is not None else {}
    except ValueError:
        metadata = {}
    if not isinstance(metadata, dict) or metadata.get("provider") != "libvirt":
        yield "its metadata does not name libvirt"


def _begin(tar: tarfile.TarFile, member: tarfile.TarInfo, length: int) -> bytes:
    stream = tar.extractfile(member)
    return stream.read(length) if stream is not None else b""


def _disk(tar: tarfile.TarFile, member: tarfile.TarInfo, near: Path) -> Iterator[str]:
    """What qemu-img finds in the disk, where it is installed."""
    if shutil.which("qemu-img") is None:
        return
    with tempfile.TemporaryDirectory(prefix="verify-", dir=near) as directory:
        image = Path(directory) / "box.img"
        stream = tar.extractfile(member)
        assert stream is not None
        with image.open("wb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)
        argv = ["qemu-img", "check", "-q", "-f", "qcow2", str(image)]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines() or ["qemu-img says nothing"]
            yield f"its disk is damaged: {said[-1].replace(str(image), 'box.img')}"
