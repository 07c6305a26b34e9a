"""What planning reads and writes: the desired lab, the observed lab, and the steps between them. No I/O, no engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from typing import ClassVar, Literal

from labctl.model.lab import Node, Port, ProviderName
from labctl.recipe import Entry, Recipe

GATEWAY = "_gateway"
"""The gateway's name among the nodes of a lab; no node of a lab file can have it (it is not a DNS label)."""

PORTS = "_ports"
"""The process that brings the ports of a lab's virtual machines to ports of the host."""

MANAGEMENT = "_machines"
"""The network over which Vagrant finds the virtual machines of a lab; nothing of the lab itself goes over it."""

JOINT = f"{MANAGEMENT}-"
"""Name prefix of what libvirt knows an engine's network as, so that machines can be on it."""

KEEPER, STORAGE, DISK = "_keeper", "_storage-", "_disk-"
"""Names of the containers that bring shared storage to the nodes: one keeper; one storage container for each node with
mounts and one disk container for each raw disk, with the node's or volume's name behind the prefix."""

Role = Literal["node", "gateway", "ports", "storage", "keeper"]
STORING: tuple[Role, ...] = ("storage", "keeper")
"""The roles of labctl's own containers for shared storage."""

Kind = ProviderName | Literal["host"]
"""Who runs a thing: a provider of the lab file's, or this host itself, for labctl's own beside machines."""

State = Literal["created", "running", "paused", "restarting", "exited", "dead"]


class Verb(StrEnum):
    """What a step does to the thing it is about."""

    BUILD = "build"
    CREATE = "create"
    START = "start"
    CONFIGURE = "configure"
    VERIFY = "verify"
    STOP = "stop"
    REMOVE = "remove"
    SUSPEND = "suspend"
    RESUME = "resume"
    SAVE = "save"
    RESTORE = "restore"


# ---------------------------------------------------------------- desired


@dataclass(frozen=True, slots=True)
class BaseImage:
    """The unmodified operating system of a box: pulled as `pull` where a registry answers, else bootstrapped.

    `tag` is where it lies in the engine. `suite`, `include` and `variant` are what mmdebstrap is asked for.
    """

    tag: str
    box: str
    pull: str
    suite: str
    include: tuple[str, ...] = ()
    variant: str = "minbase"
    provider: ClassVar[ProviderName] = "docker"


@dataclass(frozen=True, slots=True)
class BakedImage:
    """A box with packages and features installed. `tag` is its content address, `context` its whole build context.

    `base` is None when the image is somebody else's (`image:` in the lab file): it is then pulled, never built.
    """

    tag: str
    base: BaseImage | None = None
    context: tuple[Entry, ...] = ()
    provider: ClassVar[Kind] = "docker"


@dataclass(frozen=True, slots=True)
class HostProgram(BakedImage):
    """A program that runs on this host itself; `context` are its files, at the places that they have in a container."""

    PREFIX: ClassVar[str] = "host/"
    """Begins the tags of all of them: they need not be made."""
    provider: ClassVar[Kind] = "host"


@dataclass(frozen=True, slots=True)
class MachineBox(BakedImage):
    """A box of Vagrant's with packages and features installed: an operating system with a kernel of its own.

    `tag` is its content address and Vagrant's name for it. `suite`, `variant` and `packages` are what mmdebstrap is
    asked for; `system` are files that lie there before any package, `files` those that come last; `prepare` and `build`
    are shell lines run before the packages and after the files.
    """

    box: str = ""
    suite: str = ""
    variant: str = "minbase"
    kernel: str = ""
    packages: tuple[str, ...] = ()
    prepare: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    system: tuple[Entry, ...] = ()
    files: tuple[Entry, ...] = ()
    provider: ClassVar[Kind] = "vagrant"


@dataclass(frozen=True, slots=True)
class DesiredNetwork:
    """`name` is the lab's name, `engine_name` the engine's, `bridge` the host's interface (at most 15 bytes)."""

    name: str
    engine_name: str
    bridge: str
    subnet: IPv4Network
    gateway: IPv4Address
    internal: bool
    chosen: bool
    """The subnet was taken from the pool, so another may be taken when it clashes."""
    provider: ProviderName = "docker"
    """Who owns it: an engine whose containers are on it, with or without machines beside them, else libvirt."""
    spare: IPv4Network | None = None
    """Where the engine may take addresses for containers that are not the lab's; anywhere when None."""
    reserved: frozenset[IPv4Address] = frozenset()
    """The addresses of machines, which the engine gives to no container."""


@dataclass(frozen=True, slots=True)
class DesiredVolume:
    """A local volume, or the data of a served one: the engine's own of a container, a disk of a machine.

    `size` is in bytes.
    """

    name: str
    engine_name: str
    reclaim: Literal["Retain", "Delete"]
    type: str = "local"
    size: int | None = None
    target: str | None = None
    """The name of the iSCSI target that a disk belongs to."""
    provider: ProviderName = "docker"


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a container is given beyond, or instead of, what the engine gives to all of them.

    With `capabilities` it has these alone. `network_of` is the container whose network it shares; `host_processes` sees
    the host's processes; `device_rules` are the engine's (``b 7:4242 rw``), `security` its security options; `command`
    replaces the image's.
    """

    capabilities: tuple[str, ...] = ()
    network_of: str | None = None
    host_processes: bool = False
    devices: tuple[str, ...] = ()
    device_rules: tuple[str, ...] = ()
    security: tuple[str, ...] = field(default=(), repr=False)
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attached:
    """A served volume that a machine brings to itself: mounted at `target`, or there as a `raw` disk."""

    volume: str
    target: str
    read_only: bool = False
    raw: bool = False


@dataclass(frozen=True, slots=True)
class DesiredNode:
    """A node as it shall be. `shape` and `content` are digests (see `plan.digests`).

    `addresses` has every network of the node in attach order; `hosts` are lines for /etc/hosts; `aliases` are the names
    it answers to in the engine's own DNS; `ports` all have a host port; `volumes` maps a volume's lab name to the
    engine's. `hostname` is also its name for ssh.
    """

    name: str
    engine_name: str
    hostname: str
    node: Node
    image: str
    shape: str
    content: str
    addresses: Mapping[str, IPv4Address]
    networks: Mapping[str, str]
    hosts: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    chosen_ports: frozenset[int] = frozenset()
    volumes: Mapping[str, str] = field(default_factory=dict)
    recipe: Recipe = field(default_factory=Recipe)
    role: Role = "node"
    serves: tuple[tuple[str, str], ...] = ()
    """The volumes whose data it serves, each with the directory that it is at."""
    mounts: tuple[str, ...] = ()
    """Where other nodes' volumes are mounted in it while it runs."""
    raw: tuple[tuple[str, int, int], ...] = ()
    """The raw disks of a container: path, major and minor number."""
    attached: tuple[Attached, ...] = ()
    """What a machine mounts of other nodes: it has a kernel of its own to do it with."""
    waits_for: frozenset[str] = frozenset()
    """Servers that must be ready before it starts; a machine starts beside them, and mounts later."""
    confined: Confinement = field(default_factory=Confinement)

    @property
    def mounting(self) -> bool:
        """It has something of what other nodes serve."""
        return bool(self.mounts or self.raw or self.attached)

    @property
    def provider(self) -> Kind:
        """What kind of machine it is; labctl's own beside machines are processes of the host."""
        return self.node.provider if self.role == "node" or self.node.provider == "docker" else "host"

    @property
    def lab(self) -> str:
        """The lab that it is a node of."""
        return self.engine_name.removeprefix("labctl-").removesuffix(f"-{self.name}")


@dataclass(frozen=True, slots=True)
class Desired:
    """A whole lab as it shall be; `directory` is the lab file's, kept on the engine's objects to tell labs apart."""

    lab: str
    directory: str
    networks: Mapping[str, DesiredNetwork]
    volumes: Mapping[str, DesiredVolume]
    images: Mapping[str, BakedImage]
    nodes: Mapping[str, DesiredNode]
    owner: str = ""
    """Who makes it, for those who share the host."""


# ---------------------------------------------------------------- observed


@dataclass(frozen=True, slots=True)
class ObservedNode:
    """A node as the engine has it. `health` is the engine's own word, None without a healthcheck.

    `content` is what was last put into it (from the lab's journal; the label of its creation when that is lost).
    `started` is false when it was created and never started: a previous `up` died there.
    """

    name: str
    id: str
    state: State
    image: str
    shape: str
    content: str
    addresses: Mapping[str, IPv4Address]
    ports: tuple[Port, ...] = ()
    health: Literal["healthy", "unhealthy", "starting"] | None = None
    exit_code: int | None = None
    started: bool = True
    role: Role = "node"
    group: str = ""
    provider: str = "docker"
    kind: Literal["box", "image"] = "box"
    desktop: str | None = None
    """Geometry of its desktop (``1280x800``), None without one."""
    volumes: tuple[str, ...] = ()
    packages: frozenset[str] = frozenset()
    """Those of the lab file that were ever installed in it: one that is no longer wanted makes the node anew."""
    created: float = 0.0
    status: str = ""
    """The engine's own words, e.g. ``Up 3 minutes (healthy)``."""
    lab: str = ""
    """The lab that it is a node of, where the engine's `id` does not lead to it by itself."""
    attached: tuple[Attached, ...] = ()


@dataclass(frozen=True, slots=True)
class ObservedNetwork:
    """A network of the lab on the engine. `name` is the lab's name for it, `id` the engine's."""

    name: str
    id: str
    engine_name: str
    subnet: IPv4Network
    internal: bool
    provider: str = "docker"
    reserved: frozenset[IPv4Address] = frozenset()
    """Addresses that it was made to keep for machines."""
    whole: bool = True
    """False when it does not run, or something that was made with it is gone: making it again completes it."""


@dataclass(frozen=True, slots=True)
class ObservedVolume:
    """A volume of the lab on the engine."""

    name: str
    engine_name: str
    type: str
    reclaim: Literal["Retain", "Delete"]
    size: int | None = None
    """In bytes, as it was made; a disk may have grown since."""
    target: str | None = None
    provider: ProviderName = "docker"


@dataclass(frozen=True, slots=True)
class Observed:
    """All that is known of one lab on this host, and what others have taken.

    `directories` are those that the lab's objects were made from (more than one means a clash). `images` are those
    of the tags asked for that are in the engine.
    `taken_subnets` are routes of the host and networks of the engine that are not this lab's; `taken_ports` are
    (port, protocol) pairs that something else listens on.
    """

    lab: str
    nodes: Mapping[str, ObservedNode] = field(default_factory=dict)
    networks: Mapping[str, ObservedNetwork] = field(default_factory=dict)
    volumes: Mapping[str, ObservedVolume] = field(default_factory=dict)
    images: frozenset[str] = frozenset()
    taken_subnets: tuple[IPv4Network, ...] = ()
    taken_ports: frozenset[tuple[int, str]] = frozenset()
    directories: frozenset[str] = frozenset()
    expires: float | None = None
    """When the lab ends (seconds since the epoch); None when it has no end."""


@dataclass(frozen=True, slots=True)
class ObservedLab:
    """One lab among all that are on the host: counts only. `created` is in seconds since the epoch, 0.0 if unknown.

    `expires` is when it ends, None when it has no end. `containers` are the engine's ids of those that run; `disk` is
    the bytes that its nodes have written, None when that was not asked for.

    A lab without nodes is one whose `up` or `down` was ended half way, or that has only volumes left to keep.
    """

    name: str
    directories: frozenset[str]
    nodes: int = 0
    running: int = 0
    networks: int = 0
    volumes: int = 0
    created: float = 0.0
    providers: frozenset[str] = frozenset({"docker"})
    owner: str = ""
    expires: float | None = None
    containers: tuple[str, ...] = ()
    disk: int | None = None


# ---------------------------------------------------------------- steps

Wanted = BaseImage | BakedImage | DesiredNetwork | DesiredVolume | DesiredNode
Target = Wanted | ObservedNetwork | ObservedVolume | ObservedNode


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `id` is ``verb ref``; `because` says why in a few words; `after` are ids that must be done.

    `destroys` is set when something of the user's is lost by it (a container's own files): such a plan is confirmed.
    """

    verb: Verb
    ref: str
    because: str
    target: Target
    after: frozenset[str] = frozenset()
    destroys: bool = False

    @property
    def id(self) -> str:
        return f"{self.verb} {self.ref}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps in a valid order; empty when the lab is already as desired."""

    lab: str
    steps: tuple[Step, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)
