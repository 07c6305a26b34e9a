"""Snapshots of containers: a node as an image of what it wrote, a volume as another volume, copied by a container.

Both carry labels like everything of a lab. What is on a disk is read through the host's own cache: what a server that
stands still has written is there.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labctl.errors import DeadlineError, LabctlError
from labctl.plan.model import Desired, DesiredNode, DesiredVolume, ObservedNode, ObservedVolume
from labctl.plan.snapshots import Part, part
from labctl.providers import labels
from labctl.providers.docker import reading
from labctl.providers.docker.errors import translated
from labctl.providers.docker.reading import Question, Reader

if TYPE_CHECKING:
    from labctl.providers.docker.client import Engine
    from labctl.providers.docker.provider import Docker

REPOSITORY = "labctl-snapshot"
KIND = "snapshot"
COPY = "copy"
"""The kind of a container that copies a volume."""

COPY_TIMEOUT = 900.0
"""Seconds that the copy of one volume, or of what one node wrote, may take."""

_NAMELESS = re.compile("[0-9a-f]{64}")
"""What the engine calls a volume that nobody gave a name."""

_COPY = "find /to -xdev -mindepth 1 -delete && cp -a --sparse=always /from/. /to/"


class DockerSnapshots:
    """`Snapshots` of the engine's containers and volumes."""

    def __init__(self, provider: Docker, reader: Callable[[], Reader]) -> None:
        self._provider, self._reader = provider, reader

    @property
    def _engine(self) -> Engine:
        return self._provider.engine

    # ------------------------------------------------------------ looking

    def parts(self, lab: str | None = None) -> list[Part]:
        """See `Snapshots.parts`."""
        query = {"label": [f"{labels.KIND}={KIND}", *([f"{labels.LAB}={lab}"] if lab else [])]}
        images, volumes = self._reader().ask("list the snapshots", _images(query), reading.volumes(**query))
        found = []
        for each in images or ():
            tag = next((t for t in each["RepoTags"] or () if t.startswith(f"{REPOSITORY}/")), None)
            if tag is not None:
                found.append(part(each["Labels"] or {}, "docker", tag, with_memory=False))
        found += [
            part(each["Labels"] or {}, "docker", each["Name"], with_memory=False)
            for each in (volumes or {}).get("Volumes") or ()
        ]
        return [each for each in found if each is not None]

    def inner(self, node: ObservedNode) -> list[str]:
        """See `Snapshots.inner`."""
        return sorted(_inner(self._engine, node.id)) if node.kind == "image" else []

    # ------------------------------------------------------------ keeping

    def save(self, part: Part, source: ObservedNode | ObservedVolume) -> None:
        """See `Snapshots.save`."""
        given = part.labels() | {labels.SCHEMA: labels.VERSION, labels.KIND: KIND}
        if part.kind == "node":
            assert isinstance(source, ObservedNode)
            with translated(f"save node {part.name}"):
                self._engine.commit_as(source.id, f"{REPOSITORY}/{part.lab}/{part.name}", part.snapshot, given)
            return
        name = f"labctl-{part.lab}-_snapshot-{part.snapshot}-{secrets.token_hex(4)}"
        if part.kind == "inner":
            assert isinstance(source, ObservedNode)
            path = part.name.partition(":")[2]
            origin = _inner(self._engine, source.id)[path]
        else:
            assert isinstance(source, ObservedVolume)
            origin = source.engine_name
        with translated(f"save volume {part.name}"):
            self._engine.create_volume(name, driver="local", labels=given)
            try:
                self._copy(part, origin, name)
            except BaseException:
                with suppress(Exception):
                    self._engine.remove_volume(name)
                raise

    def restore(self, part: Part, target: DesiredNode | DesiredVolume, desired: Desired) -> None:
        """See `Snapshots.restore`."""
        if isinstance(target, DesiredVolume):
            with translated(f"restore volume {part.name}"):
                self._copy(part, part.id, target.engine_name)
        elif part.kind == "inner":
            path = part.name.partition(":")[2]
            with translated(f"restore {path} of node {part.node}"):
                self._copy(part, part.id, _inner(self._engine, target.engine_name)[path])
        else:
            self._provider.create(replace(target, image=part.id, content=part.content), desired)

    def remove(self, part: Part) -> None:
        """See `Snapshots.remove`. What a node was made from stays until it is gone, without a name."""
        from labctl.providers.docker.client import APIError

        with translated(f"remove snapshot {part.snapshot} of {part.name}"):
            try:
                if part.kind == "node":
                    self._engine.remove_image(part.id, force=True)
                else:
                    self._engine.remove_volume(part.id)
            except APIError as error:
                if error.status_code != 404:
                    raise

    def tidy(self, lab: str) -> None:
        """See `Snapshots.tidy`."""
        own = f"{labels.LAB}={lab}"
        copies = {"label": [f"{labels.KIND}={COPY}", own]}
        nameless = {"label": [f"{labels.KIND}={KIND}", own], "dangling": ["true"]}
        containers, images = self._reader().ask("look for leftovers", reading.containers(**copies), _images(nameless))
        for each in containers or ():
            with suppress(Exception), translated("remove a leftover"):
                self._engine.remove_container(each["Id"], force=True, v=False)
        for each in images or ():
            with suppress(Exception), translated("remove a leftover"):
                self._engine.remove_image(each["Id"])

    # ------------------------------------------------------------ copying

    def _copy(self, part: Part, source: str, target: str) -> None:
        """Make of the volume `target` a copy of `source`: owners, times, holes and all."""
        engine = self._engine
        config = {
            "Image": _with_tools(engine),
            "Entrypoint": [],
            "Cmd": ["sh", "-c", _COPY],
            "User": "0",
            "Labels": {labels.SCHEMA: labels.VERSION, labels.LAB: part.lab, labels.KIND: COPY},
            "HostConfig": {
                "NetworkMode": "none",
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
                "Mounts": [
                    {"Type": "volume", "Source": source, "Target": "/from", "ReadOnly": True},
                    {"Type": "volume", "Source": target, "Target": "/to", "VolumeOptions": {"NoCopy": True}},
                ],
            },
        }
        container = engine.new_container(config, f"labctl-{part.lab}-_copy-{secrets.token_hex(4)}")
        try:
            engine.start(container)
            code = engine.wait_for(container, timeout=COPY_TIMEOUT)
            if code is None:
                raise DeadlineError(
                    f"volume {part.name} was not copied within {COPY_TIMEOUT:g} s",
                    hint="look at the host's disk, then try again",
                    code="LAB-SNAP-001",
                )
            if code != 0:
                said = engine.logs(container, tail=5).decode(errors="replace").splitlines()
                raise LabctlError(
                    f"volume {part.name} could not be copied", details=said, hint="labctl doctor", code="LAB-SNAP-001"
                )
        finally:
            with suppress(Exception):
                engine.remove_container(container, force=True)


def _images(query: dict[str, list[str]]) -> Question:
    import json

    return Question("/images/json", {"filters": json.dumps(query)})


def _inner(engine: Engine, container: str) -> dict[str, str]:
    """The volumes that a container has of its image's own: place and the engine's name."""
    with translated("look at a node's volumes"):
        known: dict[str, Any] = engine.inspect_container(container)
    return {
        each["Destination"]: each["Name"]
        for each in known["Mounts"]
        if each["Type"] == "volume" and _NAMELESS.fullmatch(each["Name"])
    }


def _with_tools(engine: Engine) -> str:
    """An image that has a shell and `cp`: any of labctl's own. Raises `LabctlError` when there is none."""
    found = list(_tagged(engine))
    if not found:
        raise LabctlError(
            "none of labctl's images is on this host, and one is needed to copy volumes",
            hint="labctl box build debian-13",
            code="LAB-SNAP-001",
        )
    return min(found)[1]


def _tagged(engine: Engine) -> Iterator[tuple[int, str]]:
    for each in engine.images(filters={"label": [labels.SCHEMA], "reference": ["labctl/*"]}):
        if (each["Labels"] or {}).get(labels.KIND) in ("base", "image"):
            yield int(each["Size"]), str(each["Id"])
