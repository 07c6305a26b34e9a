"""The resolved lab: what a lab file means once defaults are merged, counts expanded and short forms spelled out.

Everything below the language (plan, features, providers, checks) reads these classes and never the YAML. They hold
plain values only and are frozen; a lab file that leads here has passed all cross-checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Literal

from labctl.errors import KeyPath

ProviderName = Literal["docker", "vagrant"]
Condition = Literal["started", "healthy", "completed"]
WindowManager = Literal["icewm", "openbox", "xfce"]
Command = str | tuple[str, ...]
"""A string is run by ``sh -c``; a tuple is run as it is."""


@dataclass(frozen=True, slots=True)
class Network:
    """A layer-2 segment. `subnet` is None when it is to be taken from the pool; `internal` has no way out."""

    name: str
    subnet: IPv4Network | None = None
    internal: bool = False


@dataclass(frozen=True, slots=True)
class Volume:
    """Storage that outlives a container. `size` is in bytes (iscsi only); `path` is absolute on `server`."""

    name: str
    type: Literal["local", "nfs", "iscsi"]
    reclaim: Literal["Retain", "Delete"] = "Retain"
    server: str | None = None
    path: str | None = None
    access: Literal["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"] = "ReadWriteMany"
    squash: Literal["root", "none", "all"] = "root"
    version: Literal["3", "4"] = "4"
    size: int | None = None
    fs: str = "ext4"
    chap: bool = True
    chap_user: str | None = None
    chap_password: str | None = field(default=None, repr=False)
    networks: tuple[str, ...] = ()
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume (`volume`) or a directory or file of the host (`source`, absolute) at `target` in the node."""

    target: str
    volume: str | None = None
    source: Path | None = None
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """A raw iSCSI volume that appears as the block device `target` in the node."""

    volume: str
    target: str


@dataclass(frozen=True, slots=True)
class File:
    """A file of the node: `content` is the bytes to write; `mode` e.g. 0o644; `owner` a user or ``user:group``."""

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o644
    owner: str = "root"


@dataclass(frozen=True, slots=True)
class NodeService:
    """A process that the node's init keeps running, from the lab file's `services`."""

    name: str
    command: Command
    user: str = "root"
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """A command in the node that exits 0 when it is healthy. Times are in seconds."""

    test: Command
    interval: float
    timeout: float
    retries: int
    start_period: float = 0.0


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the node published on `address` of the host. `host` is None when labctl is to choose it."""

    container: int
    host: int | None = None
    protocol: Literal["tcp", "udp"] = "tcp"
    address: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Desktop:
    """A TigerVNC desktop; `width` and `height` are in pixels."""

    wm: WindowManager = "icewm"
    width: int = 1280
    height: int = 800


@dataclass(frozen=True, slots=True)
class User:
    """A further user of the node. `ssh_keys` are public keys, one line each, already read from their files."""

    name: str
    ssh_keys: tuple[str, ...] = ()
    sudo: bool = False
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Dependency:
    """`node` (one node, groups are expanded) must have reached `condition` before the owner starts."""

    node: str
    condition: Condition


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of the lab: a copy of a group has its own number in `name`.

    `interfaces` maps each network to the address that the file gives, or None when one is to be chosen; its order is
    that of the file. `environment` values are secret to displays. `source` is where the node stands in the file.
    """

    name: str
    group: str
    provider: ProviderName = "docker"
    box: str | None = "debian-13"
    image: str | None = None
    vagrant_provider: str | None = None
    domain: str | None = None
    cpus: float | None = None
    memory: int | None = None
    interfaces: Mapping[str, IPv4Address | None] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    ports: tuple[Port, ...] = ()
    capabilities: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    command: Command | None = None
    packages: tuple[str, ...] = ()
    users: tuple[User, ...] = ()
    files: tuple[File, ...] = ()
    run: tuple[Command, ...] = ()
    services: tuple[NodeService, ...] = ()
    healthcheck: Healthcheck | None = None
    depends_on: tuple[Dependency, ...] = ()
    desktop: Desktop | None = None
    ide: bool = False
    source: KeyPath = ()


@dataclass(frozen=True, slots=True)
class Check:
    """A fact that holds in a healthy lab. Exactly one of the kinds; times in seconds.

    `kind` is tcp, http, run, dns, mount or desktop and `subject` what stands behind it (``db:5432``, a URL, a name, a
    path, a node; for run a command). `node` is where it runs from (`from`/`on`), None for the host; `on` may name a
    group, and then the check must hold on each of `nodes`.
    """

    name: str
    kind: Literal["tcp", "http", "run", "dns", "mount", "desktop"]
    subject: Command
    node: str | None = None
    interval: float = 1.0
    timeout: float = 5.0
    retries: int = 10
    status: int | None = None
    header: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    nodes: tuple[str, ...] = ()
    read_only: frozenset[str] = frozenset()
    """Of the kind mount: the nodes in which the lab file has it read-only, so that nothing is written there."""


@dataclass(frozen=True, slots=True)
class Domain:
    """A failure domain; `parent` is the domain it lies in."""

    name: str
    kind: str | None = None
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Lab:
    """The whole lab. `directory` is where its file lies; `ttl` is in seconds.

    `nodes`, `networks` and `volumes` are in the order of the file. `groups` maps every name that stands for nodes (a
    node's own, and a group's) to the nodes it means. `notices` are one-line remarks on what the file asks for and this
    version does not execute yet.
    """

    name: str
    directory: Path
    nodes: Mapping[str, Node]
    networks: Mapping[str, Network] = field(default_factory=dict)
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    domains: Mapping[str, Domain] = field(default_factory=dict)
    checks: Mapping[str, Check] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ttl: float | None = None
    message: str | None = None
    notices: tuple[str, ...] = ()
