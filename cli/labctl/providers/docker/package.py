"""A container as an image that others can have: its files, without what made it one node of one lab."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import IO, Any

from labctl.errors import ConflictError
from labctl.providers.docker.client import Engine
from labctl.providers.docker.errors import translated

_TOLD = ("etc/lab/", "var/lib/lab/", "var/log/lab/", "run/", "tmp/", "proc/", "sys/", "dev/", "etc/ssh/ssh_host_")
"""Below these lies what a box node was told, what it made for itself and what it wrote down."""

_SHADOW = "etc/shadow"
_PASSWORD = re.compile(rb"^([^:\n]*):\$[^:\n]*:", re.MULTILINE)
"""A line of who has a password."""

_STAYS = ("etc/lab/sv/", "etc/lab/sshd.settings")
_ALONE = frozenset({"etc/ssh/sshd_config.d/20-environment.conf", ".dockerenv", "etc/hostname", "etc/hosts", "etc/motd"})
_DIRECTORIES = frozenset({"etc/lab", "etc/lab/apply", "etc/lab/services", "etc/lab/authorized_keys", "tmp", "run"})


def package(engine: Engine, container: str, name: str, *, box: bool) -> None:
    """Have image `name` in the engine. `box`: the container is a box of labctl's, which is told things.

    Raises `ConflictError` when an image of that name is there already, or another `LabctlError`.
    """
    with translated(f"package {name}"):
        if engine.image(f"{name}:latest") is not None:
            raise ConflictError(
                f"there is an image {name} already",
                taken=f"image {name}",
                retry=False,
                hint=f"give it another name with --as, or remove that one: docker rmi {name}",
                code="LAB-HOST-008",
            )
        inspected = engine.inspect_container(container)
        changes = _changes(inspected["Config"], _environment(engine, inspected["Image"]))
        read, write = os.pipe()
        with os.fdopen(read, "rb") as reader:
            writing = threading.Thread(
                target=_filter,
                args=(engine.export(container), os.fdopen(write, "wb"), _passes if box else bool),
                daemon=True,
            )
            writing.start()
            engine.import_image_from_stream(reader, repository=name, tag="latest", changes=changes)
            writing.join(60)


def _environment(engine: Engine, image: str) -> list[str]:
    """The variables that the image has: those of the lab file are the lab's."""
    found = engine.image(image) or {}
    return list((found.get("Config") or {}).get("Env") or ())


def _changes(config: dict[str, Any], environment: Iterable[str]) -> list[str]:
    changes = [f"ENV {key}={json.dumps(value)}" for key, _, value in (each.partition("=") for each in environment)]
    for word, key in (("ENTRYPOINT", "Entrypoint"), ("CMD", "Cmd")):
        if config.get(key):
            changes.append(f"{word} {json.dumps(config[key])}")
    for word, key in (("WORKDIR", "WorkingDir"), ("USER", "User")):
        if config.get(key):
            changes.append(f"{word} {config[key]}")
    changes += [f"EXPOSE {port}" for port in config.get("ExposedPorts") or ()]
    return changes


def _filter(pieces: Iterable[bytes], target: IO[bytes], wanted: Callable[[str], bool]) -> None:
    """Pass the wanted files of an export on, without passwords; when nobody reads them any more, no more."""
    with suppress(OSError), target, _reading(pieces) as source, tarfile.open(fileobj=target, mode="w|") as tar:
        for member in source:
            name = member.name.removeprefix("./")
            if not wanted(name):
                continue
            content = source.extractfile(member) if member.isreg() else None
            if name == _SHADOW and content is not None and wanted is _passes:
                text = _PASSWORD.sub(rb"\1:*:", content.read())
                member.size, content = len(text), io.BytesIO(text)
            tar.addfile(member, content)


def _reading(pieces: Iterable[bytes]) -> tarfile.TarFile:
    stream: Any = _Stream(iter(pieces))
    return tarfile.open(fileobj=stream, mode="r|")


def _passes(name: str) -> bool:
    path = name.rstrip("/")
    if path in _DIRECTORIES or name.startswith(_STAYS) or path + "/" in _TOLD:
        return True
    return path not in _ALONE and not name.startswith(_TOLD)


class _Stream:
    """Pieces of bytes as something to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._rest += piece
        data, self._rest = self._rest[:size], self._rest[size:]
        return data
