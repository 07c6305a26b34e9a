"""Files and directories between this host and nodes, or from node to node: `cp` with a node's name before a path."""

from __future__ import annotations

import os
import posixpath
import re
import tarfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from labctl.access.tar import Say, pack, repack, unpack
from labctl.access.tree import Tree
from labctl.errors import LabctlError, NotFoundError, UsageError
from labctl.providers.session import Found, PathKind


@dataclass(frozen=True, slots=True)
class Place:
    """A path as the command line gives it; `node` is None for this host."""

    node: str | None
    path: str

    def __str__(self) -> str:
        return self.path if self.node is None else f"{self.node}:{self.path}"


@dataclass(frozen=True, slots=True)
class End:
    """One machine of a copy: its name (None for this host), its files, and where relative paths begin."""

    node: str | None
    tree: Tree
    home: str
    owner: tuple[int, int] = (0, 0)
    """Whom files copied into it belong to when the user does not say, by number."""


def parse_place(text: str) -> Place:
    """``NODE:PATH`` or a path of this host; ``./a:b`` is always one of this host."""
    match = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9-]*):(.*)", text, re.DOTALL)
    return Place(match[1], match[2]) if match else Place(None, text)


def parse_owner(text: str) -> tuple[str, str | None]:
    """``name``, ``name:group`` or numbers in their place. Raises `UsageError`."""
    match = re.fullmatch(r"([\w.-]+)(?::([\w.-]+))?", text)
    if not match:
        raise UsageError(f"{text} is no owner", hint="write --owner www-data, or --owner www-data:adm")
    return match[1], match[2]


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a copy goes: the members of the stream land below `directory`, their first part replaced by `top`.

    `top` is None when only what is in the source directory is wanted.
    """

    directory: str
    top: str | None


def destination(
    target: str,
    found: PathKind | None,
    *,
    name: str,
    kind: PathKind,
    contents: bool = False,
    parent: PathKind | None = None,
    several: bool = False,
) -> Destination:
    """Where the file or directory `name` lands, by the rules of cp.

    `found` is what `target` is now and `parent` what the directory above it is; `contents` asks for what is in the
    directory alone; `several` sources need a directory. Raises `UsageError` or `NotFoundError`.
    """
    if found == "directory":
        return Destination(target, None if contents and kind == "directory" else name)
    if several:
        raise UsageError(f"{target} is not a directory", hint="several sources need a directory to go to")
    if found is not None:
        if kind == "directory":
            raise UsageError(f"{name} is a directory, {target} is a file")
        if target.endswith("/"):
            raise UsageError(f"{target} is not a directory")
    elif parent != "directory" or (target.endswith("/") and kind != "directory"):
        missing = target.rstrip("/") if parent == "directory" else posixpath.dirname(target.rstrip("/"))
        raise NotFoundError(f"there is no directory {missing}", hint="make it first", code="LAB-COPY-001")
    above, last = posixpath.split(target.rstrip("/"))
    return Destination(above or "/", last)


def copy(sources: Sequence[tuple[End, str]], target: tuple[End, str], *, owner: str | None, say: Say) -> None:
    """Copy every source (a machine and a path) to the target.

    `owner` is whom the files shall belong to in a node, instead of the node's own custom. Errors name the place as the
    user would write it.
    """
    end, goal = target
    if end.node is None and all(source_end.node is None for source_end, _ in sources):
        raise UsageError("neither side is in a node", hint="write NODE:PATH for one of them")
    for source_end, source in sources:
        _copy_one(source_end, source, end, goal, owner=owner, several=len(sources) > 1, say=say)


def _copy_one(source_end: End, source: str, end: End, goal: str, *, owner: str | None, several: bool, say: Say) -> None:
    path = _absolute(source_end, source)
    found = source_end.tree.look(path)
    if found is None:
        raise NotFoundError(f"there is no {Place(source_end.node, source)}", code="LAB-COPY-001")
    if found.kind == "other":
        raise UsageError(f"{Place(source_end.node, source)} is neither a file nor a directory")
    if posixpath.normpath(found.path) == "/":
        raise UsageError(f"{Place(source_end.node, source)} is everything", hint="name a directory in it")
    written = posixpath.basename(posixpath.normpath(source)) if source else ""
    aim = _absolute(end, goal)
    there = end.tree.look(aim)
    above = None if there else end.tree.look(posixpath.dirname(aim.rstrip("/")) or "/")
    try:
        where = destination(
            there.path + "/" * (aim.endswith("/") and there.kind != "directory") if there else aim,
            there.kind if there else None,
            # `node:`, `~` and `..` have the name of where they lead, all else that by which it was called
            name=posixpath.basename(found.path) if written in ("", ".", "..", "~") else written,
            kind=found.kind,
            contents=source == "." or source.endswith("/."),
            parent=above.kind if above else None,
            several=several,
        )
    except LabctlError as error:
        raise type(error)(
            f"{end.node}: {error.message}" if end.node else error.message, hint=error.hint, code=error.code
        ) from None
    _transfer(source_end, found.path, end, where, owner=owner, say=say)


def _transfer(source_end: End, path: str, end: End, where: Destination, *, owner: str | None, say: Say) -> None:
    """Move the bytes: a thread makes the stream that goes into a node, this one reads it."""
    if end.node is None:
        with source_end.tree.pack(path) as stream:
            unpack(stream, Path(where.directory), top=where.top, say=say)
        return
    ids = end.owner if owner is None else owner_ids(end.tree, owner, node=end.node)
    if source_end.node is None:

        def write(out: IO[bytes]) -> None:
            pack(Path(path), out, top=where.top, owner=ids, say=say)
    else:

        def write(out: IO[bytes]) -> None:
            with source_end.tree.pack(path) as stream:
                repack(stream, out, top=where.top, owner=ids, say=say)

    _through_pipe(write, lambda stream: end.tree.unpack(where.directory, stream))


def _through_pipe(write: Callable[[IO[bytes]], None], read: Callable[[IO[bytes]], None]) -> None:
    """Run `write` in a thread and `read` here, on the two ends of a pipe. What failed first is raised."""
    incoming, outgoing = os.pipe()
    errors: list[BaseException] = []

    def produce() -> None:
        try:
            with os.fdopen(outgoing, "wb") as out:
                write(out)
        except BrokenPipeError:
            return  # the reader gave up and knows why
        except Exception as error:  # noqa: BLE001 - raised in the thread that waits for this one
            errors.append(error)

    producer = threading.Thread(target=produce, daemon=True)
    producer.start()
    failed: LabctlError | None = None
    with os.fdopen(incoming, "rb") as stream:
        try:
            read(stream)
        except LabctlError as error:
            failed = error
    producer.join()
    if errors:
        raise errors[0]
    if failed:
        raise failed


def owner_ids(tree: Tree, owner: str, *, node: str) -> tuple[int, int]:
    """The numbers of an owner (``name``, ``name:group``) in a node, by its own /etc/passwd and /etc/group."""
    user, group = parse_owner(owner)
    users = {} if user.isdigit() and (group or "").isdigit() else _table(tree, "/etc/passwd")
    entry = users.get(user) or next((row for row in users.values() if row[2] == user), None)
    if entry is None and not user.isdigit():
        raise NotFoundError(f"there is no user {user} in {node}", hint="give the number instead", code="LAB-COPY-001")
    uid = int(entry[2]) if entry else int(user)
    if group is None:
        return uid, int(entry[3]) if entry else uid
    if group.isdigit():
        return uid, int(group)
    groups = _table(tree, "/etc/group")
    if group not in groups:
        raise NotFoundError(f"there is no group {group} in {node}", hint="give the number instead", code="LAB-COPY-001")
    return uid, int(groups[group][2])


def _table(tree: Tree, path: str) -> dict[str, list[str]]:
    """A colon-separated file of the node by its first column; empty when there is none."""
    found = tree.look(path)
    if found is None or found.kind != "file":
        return {}
    with tree.pack(found.path) as stream, tarfile.open(mode="r|", fileobj=stream) as tar:
        member = tar.next()
        file = tar.extractfile(member) if member else None
        text = file.read().decode(errors="replace") if file else ""
        while stream.read(65536):
            pass
    rows = (line.split(":") for line in text.splitlines())
    return {row[0]: row for row in rows if len(row) >= 4}


def _absolute(end: End, path: str) -> str:
    if path == "~" or path.startswith("~/"):
        path = path[2:]
    return posixpath.join(end.home, path) if path else end.home


class HostTree:
    """This host's own files. Only looked at here: they are packed and unpacked as they are, by `access.tar`."""

    def look(self, path: str) -> Found | None:
        """See `Access.look`."""
        real = Path(os.path.realpath(path))
        try:
            kind: PathKind = "directory" if real.is_dir() else "file" if real.is_file() else "other"
            return Found(kind, str(real)) if real.exists() else None
        except PermissionError as error:
            raise LabctlError(f"{path} cannot be looked at: no permission", code="LAB-COPY-002") from error

    def pack(self, path: str) -> IO[bytes]:
        raise NotImplementedError

    def unpack(self, directory: str, tar: IO[bytes]) -> None:
        raise NotImplementedError
