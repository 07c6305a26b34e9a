"""A node of a lab file, and what it is made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict, Tag

from labctl.model.scalars import Address, Duration, Name, Size, Text, UserName
from labctl.model.spec import CommandSpec, Flag, Spec, one_of

Positive = Annotated[int, Strict(), Field(ge=1, le=1000)]
Retries = Annotated[int, Strict(), Field(ge=1, le=100_000)]


class VagrantSpec(Spec):
    """What only virtual machines have."""

    provider: Text | None = None
    """Vagrant's own provider, such as libvirt or virtualbox; detected when left out."""


class FileSpec(Spec):
    """A file of the node: either `content` or `source`."""

    content: Text | None = None
    """The text of the file."""
    source: Text | None = None
    """A file of the host to take it from, relative to this file."""
    mode: Text | None = None
    """Permissions in octal and in quotes, such as "0644"."""
    owner: Text | None = None
    """The user it belongs to, or user:group; root when left out."""


class ServiceSpec(Spec):
    """A process that the node's init keeps running."""

    command: CommandSpec
    """What to run in the foreground."""
    user: Text | None = None
    """The user that runs it; root when left out."""
    environment: dict[Text, Text] | None = None
    """Variables for this service alone."""


class HealthcheckSpec(Spec):
    """A command in the node that exits 0 when the node is healthy."""

    test: CommandSpec
    """The command."""
    interval: Duration | None = None
    """Time between two tries; 2s when left out."""
    timeout: Duration | None = None
    """How long one try may take; 5s when left out."""
    retries: Retries | None = None
    """Failed tries in a row that make the node unhealthy; 15 when left out."""
    start_period: Duration | None = None
    """Failures do not count for this long after the start."""


class DesktopSpec(Spec):
    """A desktop that is reached through the browser."""

    wm: Literal["icewm", "openbox", "xfce"] | None = None
    """The window manager; icewm when left out."""
    geometry: Text | None = None
    """Width and height in pixels; 1280x800 when left out."""


class UserSpec(Spec):
    """A further user of the node."""

    ssh_keys: list[Text] | None = None
    """Public keys that may log in: files of the host, or the keys themselves."""
    sudo: Flag | None = None
    """Whether the user may use sudo without a password."""
    password: Text | None = None
    """A password; none when left out."""


class DependencySpec(Spec):
    """What must hold of another node before this one starts."""

    condition: Literal["started", "healthy", "completed"] | None = None
    """started when left out."""


NetworksSpec = Annotated[
    Annotated[list[Name], Tag("<list>")]
    | Annotated[
        dict[
            Name,
            Annotated[
                Annotated[Address, Tag("<text>")]
                | Annotated[list[Address], Tag("<list>")]
                | Annotated[None, Tag("<nothing>")],
                one_of("an address, a list of addresses (with `count`), or null for any"),
            ],
        ],
        Tag("<map>"),
    ],
    one_of("a list of networks, or a mapping of networks to addresses"),
]


class NodeSpec(Spec):
    """One machine, or with `count` several of a kind."""

    provider: Literal["docker", "vagrant"] | None = None
    """docker for a container, vagrant for a virtual machine; docker when left out."""
    box: Text | None = None
    """The operating system; debian-13 when left out."""
    image: Text | None = None
    """An OCI image that is run as it is, instead of a box; containers only."""
    vagrant: VagrantSpec | None = None
    """What only virtual machines have."""
    domain: (
        Annotated[
            Annotated[Name, Tag("<text>")] | Annotated[list[Name], Tag("<list>")],
            one_of("a domain, or a list of domains that the copies take in turn"),
        ]
        | None
    ) = None
    """The failure domain it stands in; a list with `count`: the copies in turn."""
    count: Positive | None = None
    """This many copies, named NAME-1, NAME-2 and so on."""
    cpus: Annotated[float, Strict(), Field(gt=0, le=1024)] | None = None
    """How many processors it may use; all when left out."""
    memory: Size | None = None
    """How much memory it may use."""
    networks: NetworksSpec | None = None
    """The networks it is on; all that are not internal when left out, none when empty."""
    volumes: list[Text] | None = None
    """What is mounted where: NAME:PATH[:ro], or ./HOSTPATH:PATH[:ro] for a path of the host."""
    devices: list[Text] | None = None
    """iSCSI volumes as raw block devices: NAME:PATH."""
    ports: (
        list[
            Annotated[
                Annotated[Text, Tag("<text>")] | Annotated[int, Strict(), Tag("<number>")],
                one_of('a port in quotes, such as "6379", "6379:6379" or "53:53/udp"'),
            ]
        ]
        | None
    ) = None
    """Ports that are published on 127.0.0.1: "6379" (the host's port is chosen), "6379:6379", "53:53/udp"."""
    capabilities: list[Text] | None = None
    """Linux capabilities beyond the default set, such as NET_ADMIN."""
    environment: (
        dict[
            Text,
            Annotated[
                Annotated[Text, Tag("<text>")]
                | Annotated[int, Strict(), Tag("<number>")]
                | Annotated[None, Tag("<nothing>")],
                one_of("a string, or null for the caller's own value"),
            ],
        ]
        | None
    ) = None
    """Variables of all processes; null takes the caller's own value."""
    command: CommandSpec | None = None
    """What an `image` runs instead of its own command."""
    packages: list[Text] | None = None
    """Packages of the box's distribution to install."""
    users: dict[UserName, UserSpec | None] | None = None
    """Users beside `lab`."""
    files: dict[Text, FileSpec] | None = None
    """Files to write, by their absolute path."""
    run: list[CommandSpec] | None = None
    """Commands run once, as root; the whole list again when it changed or failed."""
    services: dict[Text, ServiceSpec] | None = None
    """Processes that are kept running."""
    healthcheck: HealthcheckSpec | None = None
    """How to tell that the node is healthy."""
    depends_on: (
        Annotated[
            Annotated[list[Text], Tag("<list>")] | Annotated[dict[Text, DependencySpec | None], Tag("<map>")],
            one_of("a list of nodes, or a mapping of nodes to conditions"),
        ]
        | None
    ) = None
    """Nodes that must have started, be healthy or have completed before this one starts."""
    desktop: (
        Annotated[
            Annotated[Flag, Tag("<flag>")] | Annotated[DesktopSpec, Tag("<map>")],
            one_of("true, false, or a mapping with wm and geometry"),
        ]
        | None
    ) = None
    """A desktop in the browser; true for the defaults."""
    ide: Flag | None = None
    """A browser IDE on the node's home directory."""
