"""What a node needs in order to do something, as data: the same for a container and a virtual machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from labctl.model.lab import Command

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file to place into a node: absolute `path`, numeric owner, `mode` such as 0o644. `content` never prints."""

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """A process kept running by the node's init: a runit ``run`` script in a container, a systemd unit in a VM.

    `after` names services that must have been started before; `wait_for` is a shell condition that must hold before
    the command is executed; `user` runs it with that user's groups and HOME.
    """

    name: str
    command: Command
    user: str = "root"
    after: tuple[str, ...] = ()
    wait_for: str | None = None
    prepare: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """What must hold before a feature counts as ready.

    `port` and `banner`: a TCP connection to the node gives a greeting that begins with these bytes (cheap, reads
    only); `farewell` is what then ends the conversation politely.
    `script`: run in the node as root, exit 0 when it holds; it is asked only for nodes that were just started.
    `description` completes the sentence "waiting for …"; `hint` is what to do when it never holds.
    """

    name: str
    description: str
    hint: str
    port: int | None = None
    banner: bytes = b""
    farewell: bytes = b""
    script: str | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one feature adds to a node. Recipes join with `+`; order is kept, duplicates go.

    `packages`, `files`, `build` (shell lines run as root, after packages and files) and `services` are the same for
    all nodes that have the feature: they are baked into the image or box. `capabilities` are Linux capabilities that a
    container needs beyond the engine's default set, `seccomp` the profile (JSON) that it needs instead of the engine's
    default. `prepare` are shell lines run before the packages are installed;
    `requested` are the lab file's own packages, installed after those of the features.
    """

    packages: tuple[str, ...] = ()
    files: tuple[Entry, ...] = ()
    build: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    probes: tuple[Probe, ...] = ()
    capabilities: tuple[str, ...] = ()
    prepare: tuple[str, ...] = ()
    requested: tuple[str, ...] = ()
    seccomp: str = field(default="", repr=False)

    def __add__(self, other: Recipe) -> Recipe:
        return Recipe(
            packages=_join(self.packages, other.packages),
            files=_join(self.files, other.files),
            build=_join(self.build, other.build),
            services=_join(self.services, other.services),
            probes=_join(self.probes, other.probes),
            capabilities=_join(self.capabilities, other.capabilities),
            prepare=_join(self.prepare, other.prepare),
            requested=_join(self.requested, other.requested),
            seccomp=other.seccomp or self.seccomp,
        )


@dataclass(frozen=True, slots=True)
class Facts:
    """What only one node has, known when it is created; the secret fields never print.

    `hosts` are the lines for /etc/hosts, `authorized_keys` the public keys that may log in as `lab`.
    """

    lab: str
    node: str
    hosts: tuple[str, ...] = ()
    authorized_keys: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    vnc_password: str = field(default="", repr=False)
    vnc_view_password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Trust:
    """What the host needs to reach the outside, and its builds and nodes therefore too.

    `certificates` are the CA certificates that an administrator added to the host's own, PEM, one each, sorted.
    `proxies` maps variables in lower case (``http_proxy``, ``no_proxy``) to their values, which may hold a password.
    """

    certificates: tuple[bytes, ...] = ()
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)


def _join(first: tuple[T, ...], second: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(first + second))
