"""Questions about the container engine: is it there, may this user use it, and is it one that labs can run on."""

from __future__ import annotations

import grp
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.probe.engine_api import UnreachableError, ask_engine, endpoint
from labctl.probe.finding import Argv, Finding
from labctl.probe.host import Host
from labctl.providers.docker.endpoint import SOCKET, Endpoint

MINIMUM_API = (1, 41)
"""Docker Engine 20.10, what Debian 11 and Ubuntu 20.04 and everything since have."""

ENGINE_LOG = "/var/log/dockerd.log"
"""Where the engine writes when no service manager starts it."""

_GIB = 1 << 30
_START_BY_HAND = f'PATH="$PATH:/usr/sbin:/sbin" setsid dockerd >>{ENGINE_LOG} 2>&1 </dev/null &'
_OTHER_ENGINE = "run Docker Engine on this host as root's service; unset DOCKER_HOST, docker context use default"


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What a running engine says of itself (``GET /version`` and ``GET /info``)."""

    address: Endpoint
    version: Mapping[str, Any]
    info: Mapping[str, Any]


def start_engine(host: Host) -> Argv:
    """The command that starts an installed engine: by systemd, or detached with a log where there is none."""
    if host.has_systemd:
        return ("systemctl", "enable", "--now", "docker")
    return ("sh", "-c", _START_BY_HAND)


def engine_findings(host: Host) -> list[Finding]:
    """Whether labs of containers can run on the engine that labctl would use, and how well."""
    try:
        address = endpoint(host)
        version = _object(address, "/version", "Version")
        facts = EngineFacts(address, version, _object(address, "/info", "ServerVersion"))
    except UnreachableError as error:
        return [_unreachable(host, error)]
    return [_version(facts), _locality(facts), *permission_findings(host), *_quality(host, facts)]


def _object(address: Endpoint, path: str, key: str) -> Mapping[str, Any]:
    answer = ask_engine(address, path, timeout=5)
    if answer.status != 200 or not isinstance(answer.body, dict) or not answer.body.get(key):
        text = answer.body.get("message") if isinstance(answer.body, dict) else answer.body
        raise UnreachableError("strange", f"{address.url} answered {answer.status} to {path}: {str(text)[:200]}")
    return answer.body


def _unreachable(host: Host, error: UnreachableError) -> Finding:
    title, evidence = "container engine", str(error)
    if error.reason == "remote":
        return Finding("engine", title, "missing", evidence, _OTHER_ENGINE)
    if error.reason == "permission":
        return _no_permission(host, title, evidence)
    if endpoint(host).url != SOCKET:
        evidence = f"{evidence} ({endpoint(host).origin})"
        return Finding("engine", title, "missing", evidence, f"start that engine, or {_OTHER_ENGINE}")
    start = start_engine(host)
    if error.reason in ("silent", "strange"):
        remedy = "systemctl restart docker" if host.has_systemd else f"look into {ENGINE_LOG}, restart dockerd"
        return Finding("engine", title, "missing", evidence, remedy)
    if host.find("dockerd"):
        evidence = f"Docker Engine is installed and does not run: {evidence}"
        return Finding("engine", title, "missing", evidence, " ".join(start), fix=(start,))
    if (host.home / ".docker/desktop").is_dir():
        evidence = "Docker Desktop keeps its nodes in a virtual machine, where labctl cannot reach their addresses"
    else:
        evidence = "Docker Engine is not installed"
    packages = _engine_packages(host)
    remedy = f"install {' '.join(packages)}" if host.system.family == "debian" else "install Docker Engine"
    return Finding("engine", title, "missing", evidence, remedy, packages=packages, fix=(*_join_group(host), start))


def _engine_packages(host: Host) -> tuple[str, ...]:
    """Debian's packages for an engine. From Debian 13 on the command line tool is a package of its own."""
    system = host.system
    split = system.id == "debian" and (not system.version.isdigit() or int(system.version) >= 13)
    client = ("docker-cli",) if split and not host.find("docker") else ()
    return ("docker.io", *client, "iptables", "ca-certificates")


def _no_permission(host: Host, title: str, evidence: str) -> Finding:
    name = host.user.name
    if name in _docker_group():
        return Finding(
            "engine", title, "missing", f"{evidence}: {name} joined the group docker after this session began",
            "log in again, or run labctl by: sg docker -c 'labctl …'",
        )  # fmt: skip
    return Finding(
        "engine",
        title,
        "missing",
        f"{evidence}: {name} is not in the group docker",
        f"usermod -aG docker {name} (whoever is in that group is as good as root), then log in again",
        fix=(("usermod", "-aG", "docker", name),),
    )


def permission_findings(host: Host) -> list[Finding]:
    """Under sudo: whether the user behind it could use the engine without."""
    if host.uid != 0 or host.user.uid == 0:
        return []
    name = host.user.name
    title = "permission"
    if name in _docker_group():
        return [Finding("permission", title, "ok", f"{name} is in the group docker: sudo is not needed")]
    return [
        Finding(
            "permission",
            title,
            "limited",
            f"{name} is not in the group docker: labctl works through sudo only",
            f"usermod -aG docker {name} (whoever is in that group is as good as root), then log in again",
            fix=(("usermod", "-aG", "docker", name),),
        )
    ]


def _join_group(host: Host) -> tuple[Argv, ...]:
    """Whoever asked may use the engine without being root, once it is there."""
    name = host.user.name
    return () if host.user.uid == 0 or name in _docker_group() else (("usermod", "-aG", "docker", name),)


def _docker_group() -> frozenset[str]:
    try:
        return frozenset(grp.getgrnam("docker").gr_mem)
    except KeyError:
        return frozenset()


def _version(facts: EngineFacts) -> Finding:
    title = "container engine"
    api = str(facts.version.get("ApiVersion", "0.0"))
    number = tuple(int(part) for part in api.split(".") if part.isdigit())
    names = [str(part.get("Name")) for part in facts.version.get("Components") or [] if isinstance(part, dict)]
    product = next((name for name in names if "podman" in name.lower()), "Docker Engine")
    evidence = f"{product} {facts.version['Version']} (API {api}) at {facts.address.url}"
    if "podman" in product.lower():
        return Finding("engine", title, "unknown", f"{evidence}: not tested with labctl", "use Docker Engine")
    if number < MINIMUM_API:
        wanted = ".".join(map(str, MINIMUM_API))
        return Finding(
            "engine", title, "missing", f"{evidence}: too old", f"install Docker Engine 20.10 (API {wanted}) or later"
        )
    return Finding("engine", title, "ok", evidence)


def _locality(facts: EngineFacts) -> Finding:
    """Nodes are reached at their own addresses: the engine's bridges must be interfaces of this host."""
    title = "engine's place"
    options = [str(option) for option in facts.info.get("SecurityOptions") or []]
    system = str(facts.info.get("OperatingSystem", ""))
    if any(option.startswith("name=rootless") for option in options):
        why = "a rootless engine keeps its networks in a namespace of its own: nodes cannot be reached"
        return Finding("engine-local", title, "missing", why, _OTHER_ENGINE)
    if "docker desktop" in system.lower():
        why = "Docker Desktop keeps its networks in a virtual machine: nodes cannot be reached"
        return Finding("engine-local", title, "missing", why, _OTHER_ENGINE)
    if str(facts.info.get("OSType", "linux")) != "linux":
        return Finding(
            "engine-local", title, "missing", f"the engine runs {facts.info['OSType']} containers", "use a Linux engine"
        )
    return Finding("engine-local", title, "ok", f"on this host ({system})")


def _quality(host: Host, facts: EngineFacts) -> list[Finding]:
    return [
        _storage(facts),
        _disk(facts),
        _memory(host),
        _cgroups(facts),
        _forwarding(facts),
    ]


def _storage(facts: EngineFacts) -> Finding:
    driver = str(facts.info.get("Driver", "unknown"))
    if driver == "vfs":
        remedy = "put the engine's data on a file system that overlay2 can use (ext4, xfs with ftype=1)"
        return Finding("storage", "storage driver", "limited", "vfs copies the whole image for every node", remedy)
    return Finding("storage", "storage driver", "ok", driver)


def _disk(facts: EngineFacts) -> Finding:
    title, place = "disk", str(facts.info.get("DockerRootDir", "/var/lib/docker"))
    directory = Path(place)
    while not directory.exists() and directory != directory.parent:  # it may be closed to this user
        directory = directory.parent
    try:
        free = shutil.disk_usage(directory).free
    except OSError as error:
        return Finding("disk", title, "unknown", f"{place}: {error.strerror}")
    evidence = f"{free / _GIB:.1f} GiB free in {place}"
    remedy = "make room: labctl gc, docker system df"
    if free < _GIB:
        return Finding("disk", title, "missing", f"{evidence}: too little for an image", remedy)
    if free < 5 * _GIB:
        return Finding("disk", title, "limited", f"{evidence}: little for several images", remedy)
    return Finding("disk", title, "ok", evidence)


def _memory(host: Host) -> Finding:
    values = {}
    for line in host.text("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if rest.split()[:1] and rest.split()[0].isdigit():
            values[name] = int(rest.split()[0]) << 10
    if "MemAvailable" not in values:
        return Finding("memory", "memory", "unknown", "/proc/meminfo does not say")
    free, total = values["MemAvailable"], values.get("MemTotal", 0)
    evidence = f"{free / _GIB:.1f} of {total / _GIB:.1f} GiB available, {os.cpu_count() or 1} processors"
    if free < _GIB // 2:
        return Finding(
            "memory", "memory", "limited", evidence, "a node with a desktop takes about 50 MiB: stop what is not needed"
        )
    return Finding("memory", "memory", "ok", evidence)


def _cgroups(facts: EngineFacts) -> Finding:
    kind = f"cgroup v{facts.info.get('CgroupVersion', '1')} ({facts.info.get('CgroupDriver', 'unknown driver')})"
    lacking = [
        word for word, key in (("memory", "MemoryLimit"), ("cpus", "CpuCfsQuota")) if facts.info.get(key) is False
    ]
    if lacking:
        evidence = f"{kind}: the limits {' and '.join(lacking)} of a lab file have no effect"
        return Finding(
            "cgroups", "resource limits", "limited", evidence, "enable these controllers in the kernel's command line"
        )
    return Finding("cgroups", "resource limits", "ok", kind)


def _forwarding(facts: EngineFacts) -> Finding:
    if facts.info.get("IPv4Forwarding") is False:
        evidence = "net.ipv4.ip_forward is 0: nodes have no way out"
        fix = (("sysctl", "-w", "net.ipv4.ip_forward=1"),)
        return Finding("forwarding", "ip forwarding", "limited", evidence, "sysctl -w net.ipv4.ip_forward=1", fix=fix)
    return Finding("forwarding", "ip forwarding", "ok", "on")
