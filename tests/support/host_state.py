"""All that labctl could leave behind on a host, read in one go and compared.

The host may have other users: what belongs to a lab that was not made below this test session's own directories is
nobody's leftover here. Everything else that was not there before counts, labelled or not.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SETTLE = 15.0
"""Seconds that the kernel and the engine have to finish what was asked of them (interfaces go a moment later)."""


@dataclass(frozen=True)
class HostState:
    """Names of things by kind, e.g. ``{"networks": {"bridge", …}, "loop devices": {…}}``."""

    things: Mapping[str, frozenset[str]]

    def more_than(self, before: HostState) -> dict[str, list[str]]:
        """What is here and was not before, by kind; kinds without any are left out."""
        new = {kind: sorted(here - before.things.get(kind, frozenset())) for kind, here in self.things.items()}
        return {kind: names for kind, names in new.items() if names}


def read_host(own: Path) -> HostState:
    """The host now. `own` is the directory below which this session makes its labs."""
    foreign = _Foreign(own)
    return HostState(
        {
            "containers": frozenset(foreign.containers()),
            "networks": frozenset(foreign.networks()),
            "volumes": frozenset(foreign.volumes()),
            "loop devices": frozenset(_loop_devices()),
            "mounts": frozenset(_mounts(foreign)),
            "links": frozenset(_links(foreign)),
            "iptables rules": frozenset(_rules(foreign)),
            "listeners": frozenset(_listeners(foreign)),
            "processes": frozenset(_processes(own)),
        }
    )


def settled(before: HostState, own: Path, *, seconds: float = SETTLE) -> dict[str, list[str]]:
    """What is left beyond `before` after at most `seconds`; empty as soon as nothing is."""
    end = time.monotonic() + seconds
    while True:
        left = read_host(own).more_than(before)
        if not left or time.monotonic() >= end:
            return left
        time.sleep(0.5)


def _run(*argv: str) -> str:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    program = shutil.which(argv[0], path=path)
    if program is None:
        return ""
    return subprocess.run([program, *argv[1:]], capture_output=True, text=True, timeout=60, check=False).stdout


class _Foreign:
    """The engine's objects, and which of them are of labs that this session did not make."""

    def __init__(self, own: Path) -> None:
        import docker

        self._own = own
        engine = docker.APIClient(timeout=60)
        try:
            self._containers: list[dict[str, Any]] = engine.containers(all=True)
            self._networks: list[dict[str, Any]] = engine.networks()
            self._volumes: list[dict[str, Any]] = engine.volumes()["Volumes"] or []
        finally:
            engine.close()
        self.bridges = {self._bridge(network) for network in self._networks if self._is_foreign(network)}
        self.subnets = {
            config["Subnet"]
            for network in self._networks
            if self._is_foreign(network)
            for config in (network.get("IPAM") or {}).get("Config") or []
        }
        self.ports = {
            port["PublicPort"]
            for container in self._containers
            if self._is_foreign(container)
            for port in container.get("Ports") or []
            if "PublicPort" in port
        }

    def _is_foreign(self, thing: Mapping[str, Any]) -> bool:
        directory = (thing.get("Labels") or {}).get("labctl.directory")
        return directory is not None and not Path(directory).is_relative_to(self._own)

    @staticmethod
    def _bridge(network: Mapping[str, Any]) -> str:
        named = (network.get("Options") or {}).get("com.docker.network.bridge.name")
        return named or f"br-{network['Id'][:12]}"

    def containers(self) -> Iterable[str]:
        for container in self._containers:
            if not self._is_foreign(container) and not _builds(container):
                yield container["Names"][0].lstrip("/") if container["Names"] else container["Id"][:12]

    def networks(self) -> Iterable[str]:
        return (network["Name"] for network in self._networks if not self._is_foreign(network))

    def volumes(self) -> Iterable[str]:
        return (volume["Name"] for volume in self._volumes if not self._is_foreign(volume))


def _builds(container: Mapping[str, Any]) -> bool:
    """A step of an image's build that is going on: nobody can say whose, and what stays of a dead one has ended."""
    return container["State"] == "running" and (container.get("Labels") or {}).get("labctl.kind") == "baking"


def _loop_devices() -> Iterable[str]:
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        yield f"{backing.parts[3]} {_read(backing).strip()}"


def _mounts(foreign: _Foreign) -> Iterable[str]:
    """Mount points of this namespace but those that the engine keeps for running containers."""
    for line in _read(Path("/proc/self/mountinfo")).splitlines():
        point = line.split()[4]
        if not re.search(r"/(overlay2|containers|netns|vfs)/|/run/docker/|/docker/overlay2|/rootfs", point):
            yield point


def _links(foreign: _Foreign) -> Iterable[str]:
    """Interfaces of the host; those that are of foreign bridges, and their ends, are left out."""
    for link in Path("/sys/class/net").iterdir():
        master = link / "master"
        owner = master.resolve().name if master.exists() else ""
        if link.name in foreign.bridges or owner in foreign.bridges:
            continue
        # labctl puts nothing on the engine's default bridge; steps of image builds are there while they run.
        if owner == "docker0":
            continue
        # An interface that is about to move into a container has no master yet: nobody can say whose it is.
        if link.name.startswith("veth") and not owner:
            continue
        yield link.name


def _rules(foreign: _Foreign) -> Iterable[str]:
    if os.geteuid() != 0:
        return
    for table in ("filter", "nat", "mangle", "raw"):
        for rule in _run("iptables", "-w", "5", "-t", table, "-S").splitlines():
            words = rule.split()
            # The engine's own jumps name no interface and no address; it takes them out and in again as it works.
            if len(words) == 4 and words[3].startswith("DOCKER"):
                continue
            ports = {int(word) for word in re.findall(r"--dport (\d+)", rule)}
            if foreign.bridges.intersection(words) or foreign.subnets.intersection(words) or foreign.ports & ports:
                continue
            if any(_within(word, foreign.subnets) for word in words):
                continue
            yield f"{table}: {rule}"


def _within(word: str, subnets: Iterable[str]) -> bool:
    """Whether `word` (``10.1.2.3/32``, ``10.1.2.3:80``) is an address of one of the subnets."""
    from ipaddress import AddressValueError, IPv4Address, IPv4Network

    try:
        address = IPv4Address(re.split(r"[/:]", word, maxsplit=1)[0])
    except AddressValueError:
        return False
    return any(address in IPv4Network(subnet) for subnet in subnets)


def _listeners(foreign: _Foreign) -> Iterable[str]:
    """Listening TCP sockets of the host as ``address:port``."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _read(Path(table)).splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                address, _, port = words[1].rpartition(":")
                if int(port, 16) not in foreign.ports and not _is_ephemeral(int(port, 16)):
                    yield f"{address}:{int(port, 16)}"


def _is_ephemeral(port: int) -> bool:
    """A port that the kernel gives to whoever asks for any: a browser under test, a test's own server."""
    low, _, high = _read(Path("/proc/sys/net/ipv4/ip_local_port_range")).partition("\t")
    return bool(low and high) and int(low) <= port <= int(high)


def _processes(own: Path) -> Iterable[str]:
    """Processes of this session's labs: labctl itself, or anything that names the session's directories."""
    mine = {str(os.getpid()), str(os.getppid())}
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit() or directory.name in mine:
            continue
        try:
            words = (directory / "cmdline").read_bytes().split(b"\0")
            environment = (directory / "environ").read_bytes()
        except OSError:
            continue
        command = b" ".join(words).decode(errors="replace").strip()
        is_labctl = any(Path(os.fsdecode(word)).name == "labctl" for word in words[:2])
        if is_labctl and str(own).encode() in environment:
            yield f"{directory.name} {command[:120]}"


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def describe(left: Mapping[str, Iterable[str]]) -> str:
    """Leftovers as text for a failure message."""
    return json.dumps({kind: list(names) for kind, names in left.items()}, indent=2)
