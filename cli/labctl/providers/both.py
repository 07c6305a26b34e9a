"""Containers and virtual machines side by side: each thing goes to the provider that it names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, cast

from labctl.errors import ConflictError, HostError
from labctl.plan.model import JOINT, Desired, DesiredNode, Observed, ObservedLab, ObservedNode, Target, Wanted
from labctl.providers.base import Line, Provider, Shell
from labctl.providers.session import Access
from labctl.recipe import Entry

if TYPE_CHECKING:
    from labctl.providers.docker.provider import Docker
    from labctl.providers.host.provider import Host
    from labctl.providers.snapshots import BothSnapshots
    from labctl.providers.vagrant.provider import Vagrant


class Both:
    """The engine and libvirt of one host as one provider.

    `wanted` are the kinds that the lab at hand has, where it is known: what it has none of need not be there. With
    `everywhere` machines count that this user's files know nothing of, by their labels.
    """

    name = "both"

    def __init__(
        self, docker: Docker, vagrant: Vagrant, host: Host, wanted: Collection[str], *, everywhere: bool = False
    ) -> None:
        self._docker, self._vagrant, self._host, self._wanted = docker, vagrant, host, frozenset(wanted)
        self._everywhere = everywhere

    def of(self, kind: str) -> Provider:
        """The provider of that name."""
        if kind == "host":
            return cast(Provider, self._host)  # of labctl's own processes less is asked
        return self._vagrant if kind == "vagrant" else self._docker

    def check(self) -> None:
        """See `Provider.check`."""
        for kind in sorted(self._wanted):
            self.of(kind).check()

    def prepare(self) -> None:
        """See `Provider.prepare`."""
        for kind in sorted(self._wanted):
            self.of(kind).prepare()

    # ------------------------------------------------------------ looking

    def observe(self, lab: str, *, images: Collection[str] = ()) -> Observed:
        """See `Provider.observe`: what both know, each asked only where the lab may have something of it."""
        place = self._vagrant.place(lab)
        machines = "vagrant" in self._wanted or place.exists or place.disks.exists()
        if not machines and lab not in self._elsewhere:
            return self._docker.observe(lab, images=images)
        self._vagrant.check()
        found = self._host.added(self._vagrant.observe(lab, images=images), images)
        try:
            containers = self._docker.observe(lab, images=images)
        except HostError:
            if "docker" in self._wanted or any(name.startswith(JOINT) for name in found.networks):
                raise
            return found  # machines alone need no engine
        return _merged(containers, found)

    @cached_property
    def _elsewhere(self) -> frozenset[str]:
        """The labs of which libvirt has something, whoever made them; none when these do not count."""
        from labctl.providers.vagrant import libvirt

        if not self._everywhere or not libvirt.is_there():
            return frozenset()
        return frozenset(each.name for each in self._vagrant.labs())

    def labs(self, *, sizes: bool = False) -> Sequence[ObservedLab]:
        """See `Provider.labs`."""
        from labctl.providers.vagrant import libvirt

        machines = self._vagrant.labs() if libvirt.is_there() else ()
        try:
            containers = self._docker.labs(sizes=sizes)
        except HostError:
            if not machines:
                raise
            containers = ()
        labs = {each.name: each for each in containers}
        for each in machines:
            labs[each.name] = _together(labs[each.name], each) if each.name in labs else each
        return tuple(labs[name] for name in sorted(labs))

    # ------------------------------------------------------------ doing

    def create(
        self,
        target: Wanted,
        desired: Desired,
        *,
        seed: Collection[Entry] = (),
        identity: Mapping[str, str] | None = None,
        on_line: Line | None = None,
    ) -> None:
        """See `Provider.create`. An engine's network has machines on it of which the engine knows nothing."""
        if isinstance(target, DesiredNode) and target.provider == "vagrant":
            self._refuse_taken(target, desired)
        self.of(target.provider).create(target, desired, seed=seed, identity=identity, on_line=on_line)

    def _refuse_taken(self, node: DesiredNode, desired: Desired) -> None:
        for name, address in node.addresses.items():
            if desired.networks[name].provider == "docker":
                holder = self._docker.tenants(node.networks[name]).get(address)
                if holder is not None:
                    raise ConflictError(
                        f"address {address} of {node.name} is that of another container on network {name}",
                        taken="address",
                        retry=False,
                        details=[f"container {holder}"],
                        hint=f"docker network disconnect {node.networks[name]} {holder}",
                        code="LAB-NET-006",
                    )

    def start(self, node: DesiredNode | ObservedNode) -> None:
        """See `Provider.start`."""
        self.of(node.provider).start(node)

    def pause(self, node: ObservedNode) -> None:
        """See `Provider.pause`."""
        self.of(node.provider).pause(node)

    def adjust(self, node: DesiredNode) -> None:
        """See `Provider.adjust`."""
        self.of(node.provider).adjust(node)

    def stop(self, node: ObservedNode, *, timeout: float) -> None:
        """See `Provider.stop`."""
        self.of(node.provider).stop(node, timeout=timeout)

    def remove(self, target: Target) -> None:
        """See `Provider.remove`."""
        self.of(target.provider).remove(target)

    def shell(self, node: DesiredNode | ObservedNode) -> Shell:
        """See `Provider.shell`."""
        return self.of(node.provider).shell(node)

    def access(self, node: DesiredNode | ObservedNode) -> Access:
        """See `Provider.access`."""
        return self.of(node.provider).access(node)

    @property
    def snapshots(self) -> BothSnapshots:
        """See `Provider.snapshots`."""
        from labctl.providers.snapshots import BothSnapshots

        return BothSnapshots(self._docker.snapshots, self._vagrant.snapshots)

    def read(self, node: DesiredNode | ObservedNode, path: str) -> bytes | None:
        """See `Provider.read`."""
        return self.of(node.provider).read(node, path)

    def head(self, node: DesiredNode | ObservedNode) -> Iterator[str]:
        """See `Provider.head`."""
        return self.of(node.provider).head(node)

    def tail(self, node: DesiredNode | ObservedNode, *, lines: int) -> list[str]:
        """See `Provider.tail`."""
        return self.of(node.provider).tail(node, lines=lines)

    def verdict(self, node: DesiredNode | ObservedNode) -> list[str]:
        """See `Provider.verdict`."""
        return self.of(node.provider).verdict(node)

    # ------------------------------------------------------------ the host

    def free(self) -> int | None:
        """See `Provider.free`: of the engine's disk, where there is one."""
        return self._docker.free() if "docker" in self._wanted else self._vagrant.free()

    def clear_leftovers(self) -> Sequence[str]:
        """See `Provider.clear_leftovers`."""
        left = [*self._vagrant.clear_leftovers()]
        with suppress(HostError):  # machines need no engine
            left += self._docker.clear_leftovers()
        return left

    def give_lease(self, lab: str, *, expires: float, directory: str, owner: str) -> None:
        """See `Provider.give_lease`: the engine keeps it where containers are, libvirt for machines alone."""
        kinds = self._wanted or {node.provider for node in self.observe(lab).nodes.values()}
        keeper, other = ("docker", "vagrant") if "docker" in kinds else ("vagrant", "docker")
        self.of(keeper).give_lease(lab, expires=expires, directory=directory, owner=owner)
        with suppress(HostError):
            self.of(other).end_lease(lab)

    def end_lease(self, lab: str) -> None:
        """See `Provider.end_lease`. Of the two only one may be there."""
        refused = []
        for each in (self._docker, self._vagrant):
            try:
                each.end_lease(lab)
            except HostError as error:
                refused.append(error)
        if len(refused) > 1:
            raise refused[0]


def _merged(containers: Observed, machines: Observed) -> Observed:
    """One lab as both have it; what is the lab's own in one is not taken in the other."""
    own = {each.subnet for each in (*containers.networks.values(), *machines.networks.values())}
    return replace(
        containers,
        nodes={**containers.nodes, **machines.nodes},
        networks={**containers.networks, **machines.networks},
        volumes={**containers.volumes, **machines.volumes},
        images=containers.images | machines.images,
        taken_subnets=tuple(
            sorted({each for each in (*containers.taken_subnets, *machines.taken_subnets) if each not in own})
        ),
        directories=containers.directories | machines.directories,
        expires=_latest(containers.expires, machines.expires),
    )


def _latest(*ends: float | None) -> float | None:
    return max((end for end in ends if end is not None), default=None)


def _together(containers: ObservedLab, machines: ObservedLab) -> ObservedLab:
    """The counts of one lab that has both."""
    return replace(
        containers,
        directories=containers.directories | machines.directories,
        nodes=containers.nodes + machines.nodes,
        running=containers.running + machines.running,
        networks=containers.networks + machines.networks,
        volumes=containers.volumes + machines.volumes,
        created=min(each for each in (containers.created, machines.created) if each) if machines.created else 0.0,
        providers=containers.providers | machines.providers,
        owner=containers.owner or machines.owner,
        expires=_latest(containers.expires, machines.expires),
    )
