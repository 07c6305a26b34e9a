"""A lab that is there: found by its file or its name, seen through the engine's labels, its nodes within reach."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

from labctl import shelf
from labctl.errors import HostError, LabctlError, NotFoundError
from labctl.lab import LabDirectory, cache, has_disks, home, known_labs
from labctl.plan.model import GATEWAY, KEEPER, DesiredNode, Observed, ObservedLab, ObservedNode
from labctl.source.discover import NoLabFileError, discover

if TYPE_CHECKING:
    from labctl.documents.stored import UseDocument
    from labctl.model.lab import Lab
    from labctl.providers.base import Provider, Shell
    from labctl.source.load import Loaded


_LIBVIRT = ("/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock")
"""Where libvirt listens when it runs."""


def here() -> Path:
    """The working directory; where it has been removed, the path that it had."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/") / os.environ.get("PWD", "")


def load(files: Sequence[str] | None, *, environ: Mapping[str, str] = os.environ) -> Loaded:
    """The lab file(s) given, or the one found in the working directory or above. Raises `InvalidLabError`."""
    import sys

    from labctl.probe.user import invoking_user
    from labctl.source.load import load as read

    own = shelf.names(home(environ))
    return read(files, cwd=here(), stdin=sys.stdin, environ=environ, home=invoking_user(environ).home, boxes=own)


def load_lab(files: Sequence[str] | None) -> Lab:
    """The resolved lab of `load`."""
    return load(files).lab


def provider(kinds: Iterable[str] = (), *, everywhere: bool = False) -> Provider:
    """The provider that runs the nodes of all labs: containers, and machines where there are any or `kinds` says so.

    Where all is containers nothing of machines is loaded or asked; with `everywhere` libvirt is, if it is there, for
    machines that this user's files know nothing of.
    """
    from labctl.probe.trust import host_trust
    from labctl.probe.user import invoking_user
    from labctl.providers.docker.provider import Docker

    wanted = frozenset(kinds)
    trust, user = host_trust(), invoking_user().home
    docker = Docker(cache=cache(), trust=trust, home=user)
    everywhere = everywhere and any(Path(socket).exists() for socket in _LIBVIRT)
    known = has_disks(home()) or any(LabDirectory(home(), each).machines.is_dir() for each in known_labs(home()))
    if "vagrant" not in wanted and not known and not everywhere:
        return docker
    from labctl.providers.both import Both
    from labctl.providers.host.provider import Host
    from labctl.providers.vagrant.provider import Vagrant

    def places(lab: str) -> tuple[Path, Path]:
        directory = LabDirectory(home(), lab)
        return directory.machines, directory.key

    host = Host(lambda lab: LabDirectory(home(), lab).processes)
    machines = Vagrant(places=places, cache=cache(), trust=trust, home=user)
    return Both(docker, machines, host, wanted, everywhere=everywhere)


def look(name: str) -> tuple[Provider, Observed]:
    """What is there of the lab of that name, and the provider that has it.

    Machines that this user's files know nothing of are looked for where the lab is not theirs, or not there at all.
    """
    near = provider()
    refused: HostError | None = None
    observed = Observed(name)
    try:
        observed = near.observe(name)
    except HostError as error:
        refused = error
    there = observed.nodes or observed.networks or observed.volumes or observed.expires
    if not there or not LabDirectory(home(), name).exists:
        far = provider(everywhere=True)
        with suppress(HostError):
            found = far.observe(name)
            if found.nodes or found.networks or found.volumes or found.expires:
                return far, found
    if refused is not None:
        raise refused
    return near, observed


def find_lab(files: Sequence[str] | None, name: str | None, *, gone: bool = False) -> str:
    """The name of the lab that is meant: `name`, else that of the file given or found here.

    A file that no longer says which lab it is (broken; gone, when it was not given) still leads to the lab that was
    made from its directory, one that was renamed to the lab that was made from it. A file that was given has to be
    there, unless `gone`, with which it may still mean the lab that was made from it. Raises the file's own error when
    there is none.
    """
    if name is not None:
        require_files(files)
        return name
    try:
        loaded = load(files)
    except LabctlError as error:
        if files and isinstance(error, NoLabFileError):
            made_from = _labs_made_from(files)
            if gone and len(made_from) == 1:
                return made_from[0]
            if made_from:
                error.hint = f"the lab that was made from it is still there: -n {made_from[0]}"
            raise
        made_here = _labs_made_in(_directory_of(files))
        if len(made_here) == 1:
            return made_here[0]
        if made_here:
            raise LabctlError(
                "more than one lab was made from this directory",
                details=[", ".join(made_here)],
                hint="say which with --name",
                code="LAB-LAB-003",
            ) from error
        raise
    return lab_of(loaded)


def require_files(files: Sequence[str] | None) -> None:
    """Raise `NoLabFileError` when one of the files that were given is not there."""
    if files:
        discover(files, cwd=here())


def lab_of(loaded: Loaded) -> str:
    """The name of the lab that these files are about: that under which it was made from them, when they say another."""
    return _former_name(loaded) or loaded.lab.name


def _former_name(loaded: Loaded) -> str | None:
    files = [str(file) for file in loaded.files if file is not None]
    if not files or LabDirectory(home(), loaded.lab.name).exists:
        return None
    sources = {each: LabDirectory(home(), each).source() for each in known_labs(home())}
    former = [each for each, source in sources.items() if source is not None and source[0] == files]
    return former[0] if len(former) == 1 else None


def _labs_made_from(files: Sequence[str]) -> list[str]:
    """Labs made from exactly these files (or the lab file of a directory), as labctl's own files have it."""
    given = [Path(os.path.abspath(file)) for file in files]
    found = []
    for name in known_labs(home()):
        source = LabDirectory(home(), name).source()
        made_from = [Path(os.path.abspath(file)) for file in source[0]] if source is not None else []
        if made_from and given in (made_from, [made_from[0].parent]):
            found.append(name)
    return found


def _labs_made_in(directory: Path) -> list[str]:
    """Labs made from files in `directory` or above: by labctl's own files, by the engine's labels without these."""
    if known := [each for each in known_labs(home()) if _made_in(LabDirectory(home(), each), directory)]:
        return known
    around = {str(each) for each in (directory, *directory.parents)}
    try:
        return [each.name for each in labs() if each.directories & around]
    except LabctlError:
        return []


def retained(name: str, files: Sequence[str] | None) -> frozenset[str]:
    """The volumes of the lab that its file wants kept now; none when there is no file that says so any more."""
    source = LabDirectory(home(), name).source()
    try:
        lab = load_lab(files or (source[0] if source else None))
    except LabctlError:
        return frozenset()
    return frozenset(v.name for v in lab.volumes.values() if v.reclaim == "Retain") if lab.name == name else frozenset()


def open_lab(name: str) -> RunningLab:
    """The lab of that name as it is now, reading only. Raises `NotFoundError` when nothing of it is on this host."""
    engine, observed = look(name)
    if not (observed.nodes or observed.networks or observed.volumes):
        raise NotFoundError(
            f"no lab {name} on this host", hint="`labctl ls` shows the labs, `labctl up` makes one", code="LAB-LAB-001"
        )
    return RunningLab(name, engine, observed, LabDirectory(home(), name))


def labs(*, sizes: bool = False) -> Sequence[ObservedLab]:
    """All labs of this host by name, whoever made them and from wherever; with `sizes` their disk too."""
    return provider(everywhere=True).labs(sizes=sizes)


@dataclass
class RunningLab:
    """One lab as it was when it was opened."""

    name: str
    provider: Provider
    observed: Observed
    directory: LabDirectory

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Every name that stands for nodes: a node's own, and a group's for all its copies."""
        names: dict[str, list[str]] = {}
        for node in self.observed.nodes.values():
            if node.role == "node":
                names.setdefault(node.name, []).append(node.name)
                if node.group and node.group != node.name:
                    names.setdefault(node.group, []).append(node.name)
        return names

    def node(self, name: str) -> ObservedNode:
        """The one node of that name. Raises `NotFoundError` with the nearest name."""
        found = self.nodes([name])
        if len(found) > 1:
            raise NotFoundError(
                f"{name} is a group of lab {self.name}, not one node",
                details=[", ".join(node.name for node in found)],
                hint="name one of them",
                code="LAB-FIND-002",
            )
        return found[0]

    def nodes(self, names: Sequence[str] = ()) -> list[ObservedNode]:
        """The named nodes, each once, a group's name standing for its copies; all nodes when none is named."""
        if not names:
            return [node for node in self.observed.nodes.values() if node.role == "node"]
        found: dict[str, ObservedNode] = {}
        for name in names:
            if name not in self.groups:
                near = get_close_matches(name, self.groups, n=1)
                raise NotFoundError(
                    f"lab {self.name} has no node {name}",
                    details=[f"nodes: {', '.join(self.groups) or 'none'}"],
                    hint=f"did you mean {near[0]}?" if near else None,
                    code="LAB-FIND-002",
                )
            found |= {each: self.observed.nodes[each] for each in self.groups[name]}
        return list(found.values())

    def shell(self, node: DesiredNode | ObservedNode) -> Shell:
        """A way into the running node."""
        return self.provider.shell(node)

    def address(self, node: ObservedNode) -> IPv4Address:
        """The address at which this host reaches the node. Raises `LabctlError` for a node without network."""
        for address in node.addresses.values():
            return address
        raise LabctlError(f"{node.name} is on no network", hint="give it one with `networks:`", code="LAB-NODE-008")

    @property
    def unfinished(self) -> list[str]:
        """The nodes that run although what their lab file says could not be put into them whole."""
        journal = self.directory.journal() or {}
        nodes = self.observed.nodes.values()
        return [node.name for node in nodes if node.id in journal and not journal[node.id].content]

    @cached_property
    def uses(self) -> dict[str, list[UseDocument]]:
        """The served volumes that each node has, as keeper and machines say; a lab without them asks for nothing."""
        keeper = self.observed.nodes.get(KEEPER)
        machines = [node for node in self.observed.nodes.values() if node.attached]
        if keeper is None and not machines:
            return {}
        from labctl import sharing
        from labctl.documents.storage import machine_uses, uses
        from labctl.providers import mounted

        said = {node.name: mounted.said(self.provider, node) for node in machines if node.state == "running"}
        found = machine_uses(self.observed, said)
        if keeper is not None:
            told = sharing.keeping(self.provider, keeper), sharing.state(self.provider, keeper)
            found |= uses(self.observed, *told)
        return found

    @property
    def gateway_port(self) -> int | None:
        """The port of 127.0.0.1 at which the lab's desktops are; None without desktops."""
        gateway = self.observed.nodes.get(GATEWAY)
        return gateway.ports[0].host if gateway is not None and gateway.ports else None


def _directory_of(files: Sequence[str] | None) -> Path:
    given = [file for file in files or () if file != "-"]
    return Path(given[0]).absolute().parent if given else here()


def _made_in(lab: LabDirectory, directory: Path) -> bool:
    source = lab.source()
    return source is not None and Path(source[1]) in (directory, *directory.parents)
