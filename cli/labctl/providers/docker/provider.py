"""The provider: what `providers.base` asks for, each by the module that knows it.

What only looks goes without the SDK; the modules that change something are loaded when they are first needed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.errors import HostError
from labctl.plan.model import (
    BakedImage,
    BaseImage,
    Desired,
    DesiredNetwork,
    DesiredNode,
    DesiredVolume,
    Observed,
    ObservedLab,
    ObservedNetwork,
    ObservedNode,
    ObservedVolume,
    Target,
    Wanted,
)
from labctl.providers.base import Line
from labctl.providers.docker import observe
from labctl.providers.docker.endpoint import Endpoint, find
from labctl.providers.docker.errors import socket_problem, translated
from labctl.providers.docker.reading import Reader
from labctl.recipe import Entry, Trust

if TYPE_CHECKING:
    from labctl.providers.docker.access import DockerAccess
    from labctl.providers.docker.client import Engine
    from labctl.providers.docker.shell import DockerShell
    from labctl.providers.docker.snapshots import DockerSnapshots
    from labctl.providers.docker.stock import StockImage


class Docker:
    """Containers of the engine on this host. It connects on first use; all methods may be called from many threads.

    `cache` is a directory for locks and half-made base images; `trust` reaches builds and `image:` nodes.
    """

    name = "docker"

    def __init__(
        self,
        *,
        cache: Path,
        trust: Trust | None = None,
        environ: Mapping[str, str] = os.environ,
        home: Path | None = None,
    ) -> None:
        self._cache = cache
        self._trust = trust or Trust()
        self._environ = environ
        self._home = home
        self._lock = threading.Lock()
        self._reader: Reader | None = None
        self._engine: Engine | None = None

    @property
    def reader(self) -> Reader:
        """The way to ask. Raises `HostError` when there is no engine here that labctl can use."""
        with self._lock:
            if self._reader is None:
                endpoint = self._endpoint()
                if problem := socket_problem(endpoint.path):
                    raise problem
                reader = Reader(endpoint)
                _refuse_unreachable(reader)
                self._reader = reader
            return self._reader

    @property
    def engine(self) -> Engine:
        """The connection for changes. Raises `HostError` when there is no engine here that labctl can use."""
        from labctl.providers.docker.client import Engine

        _ = self.reader
        with self._lock:
            if self._engine is None:
                with translated("connect"):
                    self._engine = Engine(self._endpoint())
            return self._engine

    def _endpoint(self) -> Endpoint:
        return find(self._environ, self._home or Path.home())

    def check(self) -> None:
        """Raise `HostError` when this host cannot run containers as labctl needs them; one question at most."""
        _ = self.reader

    def prepare(self) -> None:
        """See `Provider.prepare`."""
        from labctl.providers.docker import networks, nodes  # noqa: F401 - loaded here, used later

        _ = self.engine

    def observe(self, lab: str, *, images: Collection[str] = ()) -> Observed:
        """See `Provider.observe`."""
        return observe.lab(self.reader, lab, images)

    def package(self, node: ObservedNode, name: str) -> None:
        """Make image `name` of a container."""
        from labctl.providers.docker.package import package

        package(self.engine, node.id, name, box=node.kind == "box")

    def labs(self, *, sizes: bool = False) -> tuple[ObservedLab, ...]:
        """All labs of the engine, by name."""
        return observe.labs(self.reader, sizes=sizes)

    def tenants(self, network: str) -> Mapping[IPv4Address, str]:
        """Which container has which address of the network of that name; see `observe.tenants`."""
        return observe.tenants(self.reader, network)

    def give_lease(self, lab: str, *, expires: float, directory: str, owner: str) -> None:
        """See `Provider.give_lease`."""
        from labctl.providers.docker import leases

        leases.give(self.engine, lab, expires=expires, directory=directory, owner=owner)

    def end_lease(self, lab: str) -> None:
        """See `Provider.end_lease`."""
        from labctl.providers.docker import leases

        leases.take_back(self.engine, lab)

    def create(
        self,
        target: Wanted,
        desired: Desired,
        *,
        seed: Collection[Entry] = (),
        identity: Mapping[str, str] | None = None,
        on_line: Line | None = None,
    ) -> None:
        """See `Provider.create`."""
        from labctl.providers.docker import networks, nodes, volumes

        if isinstance(target, DesiredNode):
            config = nodes.container_config(
                target, desired, self._trust.proxies, identity or {}, self.reader.socket_path
            )
            nodes.create(self.engine, target, config, seed)
        elif isinstance(target, DesiredNetwork):
            networks.create(self.engine, target, desired)
        elif isinstance(target, DesiredVolume):
            volumes.create(self.engine, target, desired)
        else:
            self.build(target, on_line=on_line)

    def build(self, image: BaseImage | BakedImage, *, on_line: Line | None = None) -> None:
        """Have an image in the engine; it belongs to no lab."""
        from labctl.providers.docker import images

        images.create(self.engine, image, self._cache, self._trust, on_line)

    def start(self, node: DesiredNode | ObservedNode) -> None:
        """See `Provider.start`."""
        from labctl.providers.docker import nodes

        nodes.start(self.engine, node)

    def pause(self, node: ObservedNode) -> None:
        """See `Provider.pause`."""
        from labctl.providers.docker import nodes

        nodes.pause(self.engine, node)

    def adjust(self, node: DesiredNode) -> None:
        """See `Provider.adjust`."""
        from labctl.providers.docker import nodes

        nodes.adjust(self.engine, node)

    def stop(self, node: ObservedNode, *, timeout: float) -> None:
        """See `Provider.stop`."""
        from labctl.providers.docker import nodes

        nodes.stop(self.engine, node, timeout=timeout)

    def remove(self, target: Target) -> None:
        """See `Provider.remove`. What is not labctl's is never removed."""
        from labctl.providers.docker import images, networks, nodes, volumes

        if isinstance(target, DesiredNode | ObservedNode):
            nodes.remove(self.engine, target)
        elif isinstance(target, DesiredNetwork | ObservedNetwork):
            networks.remove(self.engine, target)
        elif isinstance(target, DesiredVolume | ObservedVolume):
            volumes.remove(self.engine, target)
        else:
            images.remove(self.engine, target.tag)

    def shell(self, node: DesiredNode | ObservedNode) -> DockerShell:
        """See `Provider.shell`."""
        from labctl.providers.docker.nodes import reference_of
        from labctl.providers.docker.shell import DockerShell

        return DockerShell(self.engine, reference_of(node), node.name)

    def read(self, node: DesiredNode | ObservedNode, path: str) -> bytes | None:
        """See `Provider.read`."""
        return self.reader.file(node.engine_name if isinstance(node, DesiredNode) else node.id, path)

    def free(self) -> int | None:
        """See `Provider.free`."""
        import shutil

        from labctl.providers.docker.reading import Question

        (info,) = self.reader.ask("look at its disk", Question("/info"))
        try:
            return shutil.disk_usage(str((info or {}).get("DockerRootDir") or "/")).free
        except OSError:
            return None

    def access(self, node: DesiredNode | ObservedNode) -> DockerAccess:
        """See `Provider.access`."""
        from labctl.providers.docker.access import DockerAccess
        from labctl.providers.docker.nodes import reference_of

        return DockerAccess(self.engine, reference_of(node), node.name)

    @property
    def snapshots(self) -> DockerSnapshots:
        """See `Provider.snapshots`."""
        from labctl.providers.docker.snapshots import DockerSnapshots

        return DockerSnapshots(self, lambda: self.reader)

    def logs(
        self,
        node: DesiredNode | ObservedNode,
        *,
        follow: bool = False,
        since: float | None = None,
        tail: int | None = None,
    ) -> Iterator[bytes]:
        """Lines that the node printed; see `logs.logs`."""
        from labctl.providers.docker.logs import logs

        return logs(self.engine, node, follow=follow, since=since, tail=tail)

    def head(self, node: DesiredNode | ObservedNode) -> Iterator[str]:
        """See `Provider.head`."""
        from labctl.providers.docker.loghead import head

        return head(self.reader, node.engine_name if isinstance(node, DesiredNode) else node.id)

    def tail(self, node: DesiredNode | ObservedNode, *, lines: int) -> list[str]:
        """See `Provider.tail`."""
        return [line.decode(errors="replace").rstrip("\r\n") for line in self.logs(node, tail=lines)]

    def stock(self) -> tuple[StockImage, ...]:
        """All of labctl's images, used or not."""
        from labctl.providers.docker import stock

        return stock.images(self.engine)

    def remove_image(self, tag: str) -> None:
        """Remove one of labctl's images; gone is fine, another's is left. Raises `ConflictError` when it is used."""
        from labctl.providers.docker import images

        images.remove(self.engine, tag)

    def verdict(self, node: DesiredNode | ObservedNode) -> list[str]:
        """See `Provider.verdict`."""
        from labctl.providers.docker import nodes

        return nodes.verdict(self.engine, node)

    def clear_leftovers(self) -> tuple[str, ...]:
        """Remove what killed builds left, by labels alone; the ids of what was removed."""
        from labctl.providers import bootstrap
        from labctl.providers.docker import images

        bootstrap.clean(self._cache)
        return images.clear_leftovers(self.engine)


def _refuse_unreachable(engine: Reader) -> None:
    """Raise `HostError` for engines whose nodes have addresses that this host has no way to."""
    parts = {str(each.get("Name")) for each in engine.server.get("Components") or ()}
    if "rootlesskit" in parts:
        raise HostError(
            "a rootless engine keeps its nodes behind a network of its own, where labctl cannot reach their addresses",
            details=[f"its socket: {engine.socket_path}"],
            hint="use the system's engine: unset DOCKER_HOST, docker context use default",
            code="LAB-HOST-004",
        )
    if "Docker Desktop" in str((engine.server.get("Platform") or {}).get("Name")):
        raise HostError(
            "Docker Desktop keeps its nodes in a virtual machine, where labctl cannot reach their addresses",
            details=[f"its socket: {engine.socket_path}"],
            hint="use a Linux host's own engine: labctl doctor --fix",
            code="LAB-HOST-004",
        )
