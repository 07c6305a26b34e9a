"""Tar streams on their way between hosts and nodes: renamed, given owners, packed from and unpacked onto this host."""

from __future__ import annotations

import contextlib
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from labctl.errors import LabctlError, NotFoundError

Say = Callable[[str], None]
"""Takes a sentence for the user about something that was left out."""

_BUFFER = 1024 * 1024


class UnsafeError(LabctlError):
    """A stream from a node that would write outside of the place it was asked for."""

    code = "LAB-COPY-003"


def relocate(name: str, top: str | None) -> str | None:
    """A member's `name` with its first part replaced by `top`, or dropped when `top` is None.

    None stands for the member that is dropped whole: the directory itself when only what is in it is wanted.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")][1:]
    if ".." in parts:
        raise UnsafeError(f"the node sent a path that leads elsewhere: {name}")
    if top is not None:
        parts = [top, *parts]
    return "/".join(parts) or None


def pack(source: Path, out: IO[bytes], *, top: str | None, owner: tuple[int, int], say: Say) -> None:
    """Write the file or directory `source` (no symlink itself) of this host as a tar stream to `out`."""
    try:
        with tarfile.open(mode="w|", fileobj=out, format=tarfile.GNU_FORMAT, bufsize=_BUFFER) as tar:
            _add(tar, source, "top", top, owner, say)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no {error.filename or source}", code="LAB-COPY-001") from None
    except PermissionError as error:
        raise LabctlError(f"{error.filename or source} cannot be read: no permission", code="LAB-COPY-002") from None


def _add(tar: tarfile.TarFile, path: Path, name: str, top: str | None, owner: tuple[int, int], say: Say) -> None:
    """As `TarFile.add`, but leaving out a directory's own entry does not leave out what is in it."""
    member = tar.gettarinfo(str(path), name)
    if member is None or not _is_plain(member):  # a socket gives no member
        say(f"left out, neither file, directory nor link: {path}")
        return
    if (named := _renamed(member, top)) is not None:
        _give(named, owner)
        if named.isreg():
            with path.open("rb") as file:
                tar.addfile(named, file)
        else:
            tar.addfile(named)
    if path.is_dir() and not path.is_symlink():
        for child in sorted(path.iterdir()):
            _add(tar, child, f"{name}/{child.name}", top, owner, say)


def _is_plain(member: tarfile.TarInfo) -> bool:
    return member.isfile() or member.isdir() or member.issym() or member.islnk()


def _give(member: tarfile.TarInfo, owner: tuple[int, int]) -> None:
    """Give a member an owner by number, and what every tar understands of its time."""
    member.uid, member.gid = owner
    member.uname = member.gname = ""
    member.mtime = int(member.mtime)
    member.pax_headers = {}


def _renamed(member: tarfile.TarInfo, top: str | None) -> tarfile.TarInfo | None:
    name = relocate(member.name, top)
    if name is None:
        return None
    member.name = name
    if member.islnk():
        member.linkname = relocate(member.linkname, top) or ""
    return member


def repack(source: IO[bytes], out: IO[bytes], *, top: str | None, owner: tuple[int, int], say: Say) -> None:
    """Pass a tar stream on with other names and owners."""
    with (
        _reading(source) as incoming,
        tarfile.open(mode="w|", fileobj=out, format=tarfile.GNU_FORMAT, bufsize=_BUFFER) as outgoing,
    ):
        for member in incoming:
            original = member.name
            if not _is_plain(member):
                say(f"left out, neither file, directory nor link: {original}")
                continue
            file = incoming.extractfile(member) if member.isreg() else None
            named = _renamed(member, top)
            if named is None:
                continue
            _give(named, owner)
            outgoing.addfile(named, file)


def unpack(source: IO[bytes], directory: Path, *, top: str | None, say: Say) -> None:
    """Extract a tar stream below `directory` of this host: modes (but set-uid) and times kept, owned by this process.

    Raises `UnsafeError` for a stream that would write outside of `directory`.
    """
    root = Path(os.path.realpath(directory))
    directories: list[tuple[Path, tarfile.TarInfo]] = []
    with _reading(source) as tar:
        # The stream is checked here, member by member; the standard filters would also change modes and links.
        tar.extraction_filter = lambda member, path: member
        for member in tar:
            original = member.name
            named = _renamed(member, top)
            if named is None:
                continue
            if not _is_plain(named):
                say(f"left out, neither file, directory nor link: {original}")
                continue
            target = _contained(root, named.name)
            if named.islnk():
                _contained(root, named.linkname)
            named.uid, named.gid, named.uname, named.gname = os.geteuid(), os.getegid(), "", ""
            named.mode &= 0o777  # a node must not place set-uid programs of this host's root
            _extract(tar, named, root, target)
            if named.isdir():
                directories.append((target, named))
    for target, member in reversed(directories):  # last, or a read-only directory could not be filled
        with contextlib.suppress(OSError):
            target.chmod(member.mode)
            os.utime(target, (member.mtime, member.mtime))


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path, target: Path) -> None:
    try:
        if not member.isdir() and (target.is_symlink() or target.is_file()):
            target.unlink()  # replaced, never written through
        elif member.isdir() and target.is_symlink():
            raise UnsafeError(f"{target} is a link here and a directory in the node", hint="remove one of them")
        tar.extract(member, root, set_attrs=not member.isdir(), numeric_owner=True)
    except tarfile.TarError as error:
        raise LabctlError(f"{target} cannot be written", details=[str(error)], code="LAB-COPY-002") from error
    except OSError as error:
        raise LabctlError(f"{target} cannot be written: {error.strerror or error}", code="LAB-COPY-002") from error


def _contained(root: Path, name: str) -> Path:
    """`name` below `root`, with every directory on the way really there and none a way out."""
    target = root / name
    parent = Path(os.path.realpath(target.parent))
    if parent != root and root not in parent.parents:
        raise UnsafeError(f"the node sent a path that leads out of {root}: {name}")
    return target


@contextlib.contextmanager
def _reading(source: IO[bytes]) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(mode="r|", fileobj=source, bufsize=_BUFFER) as tar:
            yield tar
    except tarfile.ReadError as error:
        raise LabctlError("the node's files came incomplete", details=[str(error)], code="LAB-COPY-002") from error
