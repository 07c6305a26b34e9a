"""What every box node has: the tools, its users, the lab file's files, run steps and services."""

from __future__ import annotations

from collections.abc import Iterator

from labctl.assets import tree
from labctl.features.health import services
from labctl.features.shell import ENVIRONMENT, NODE_ENVIRONMENT, assignments, command_line, launcher
from labctl.model.lab import Node
from labctl.recipe import Entry, Facts, Recipe, Service

HOSTS = "/etc/lab/hosts"
"""The names of the lab as lines of /etc/hosts. Without it those hold that the container was made with."""

MOTD = "/etc/motd"

LAB_UID = 1000
"""uid and gid of the user `lab` in every node."""

TOOLS = (
    "ca-certificates",
    "curl",
    "iproute2",
    "iputils-ping",
    "less",
    "nano",
    "netbase",
    "procps",
    "rsync",
    "sudo",
)
"""ss is in iproute2, findmnt in util-linux, which every Debian has; rsync and sudo are what ssh users expect."""


def executable(content: bytes) -> int:
    """The mode of a file that ships with labctl: programs begin with ``#!``."""
    return 0o755 if content.startswith(b"#!") else 0o644


def shipped(*parts: str) -> tuple[Entry, ...]:
    """The files of one template directory, at the places they have there."""
    return tuple(Entry(path, content, executable(content)) for path, content in tree(*parts))


def recipe() -> Recipe:
    """The same for every node: tools, the user `lab`, the programs that configure a node."""
    return Recipe(
        packages=TOOLS,
        files=shipped("node"),
        build=(
            f"useradd --uid {LAB_UID} --user-group --create-home --shell /bin/bash --password '*' lab",
            "echo 'lab ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/lab",
            "chmod 440 /etc/sudoers.d/lab",
            "mkdir -p /etc/lab/apply /etc/lab/services /etc/lab/sv /etc/lab/authorized_keys /var/lib/lab /var/log/lab",
            "install -d -m 1777 /run/lock /tmp/.X11-unix",
            f"install -m 640 -g lab /dev/null {ENVIRONMENT}",
        ),
    )


def seed(node: Node, facts: Facts) -> tuple[Entry, ...]:
    """What the node knows of itself, and what `apply` is to do in it."""
    return (*_identity(node, facts), *files(node), *_apply(node))


def apply_needed(node: Node) -> bool:
    """Whether a new node has anything that can only be done while it runs (by name of user, or by running it)."""
    owners = any(_numeric(file.owner) is None for file in node.files)
    return bool(node.users or node.run or services(node) or owners)


def _identity(node: Node, facts: Facts) -> Iterator[Entry]:
    known = [("LAB_NAME", facts.lab), ("LAB_NODE", facts.node)]
    environment = list(facts.environment)
    if node.desktop:
        known += [("LAB_WIDTH", str(node.desktop.width)), ("LAB_HEIGHT", str(node.desktop.height))]
        if all(name != "DISPLAY" for name, _ in environment):
            environment.append(("DISPLAY", ":1"))
    yield _text(NODE_ENVIRONMENT, assignments(known))
    # For root, who starts services, and for the lab user's shells; sshd gives it to whoever logs in.
    yield Entry(ENVIRONMENT, assignments(environment).encode(), 0o640, 0, LAB_UID)
    yield _text(HOSTS, "".join(f"{line}\n" for line in facts.hosts))
    yield _text(MOTD, f"{facts.node} in lab {facts.lab}\n")
    # sshd gives variables to every session, login shell or not; its file cannot hold a line break.
    pairs = [_sshd_quoted(f"{name}={value}") for name, value in environment if "\n" not in value]
    yield _text(
        "/etc/ssh/sshd_config.d/20-environment.conf", f"SetEnv {' '.join(pairs)}\n" if pairs else "", mode=0o600
    )


def files(node: Node) -> tuple[Entry, ...]:
    """The lab file's files; an owner that only the node knows is set by `apply`."""
    owned = [(file, _numeric(file.owner) or (0, 0)) for file in node.files]
    return tuple(Entry(file.path, file.content, file.mode, uid, gid) for file, (uid, gid) in owned)


def _apply(node: Node) -> Iterator[Entry]:
    """The lists that /usr/lib/lab/apply works off: always all of them, so that an emptied one takes effect too."""
    at = "/etc/lab/apply"
    yield _text(f"{at}/packages", "".join(f"{package}\n" for package in node.packages))
    yield _text(f"{at}/users", "".join(f"{user.name} {'sudo' if user.sudo else '-'}\n" for user in node.users))
    for user in node.users:
        yield _text(f"/etc/lab/authorized_keys/{user.name}", "".join(f"{key}\n" for key in user.ssh_keys))
    passwords = "".join(f"{user.name}:{user.password}\n" for user in node.users if user.password)
    yield _text(f"{at}/passwords", passwords, mode=0o600)
    yield _text(f"{at}/files", "".join(f"{file.path}\n" for file in node.files))
    named = [(file.owner, file.path) for file in node.files if _numeric(file.owner) is None]
    yield _text(f"{at}/owners", "".join(f"{owner} {path}\n" for owner, path in named))
    steps = "".join(f"step {command_line(step)} || return\n" for step in node.run)
    yield _text(f"{at}/run", steps, mode=0o600)
    listed = services(node)
    yield _text(f"{at}/services", "".join(f"{service.name}\n" for service in listed))
    for service in listed:
        program = Service(
            name=service.name,
            command=service.command,
            user=service.user,
            environment=tuple(service.environment.items()),
        )
        yield _text(f"/etc/lab/services/{service.name}", launcher(program), mode=0o700)


def _text(path: str, text: str, *, mode: int = 0o644) -> Entry:
    return Entry(path, text.encode(), mode)


def _numeric(owner: str) -> tuple[int, int] | None:
    """uid and gid of an owner that is known without asking the node; None for the others."""
    known = {"root": 0, "lab": LAB_UID}
    user, _, group = owner.partition(":")
    ids = [known.get(name, int(name) if name.isdecimal() else None) for name in (user, group or user)]
    return (ids[0], ids[1]) if ids[0] is not None and ids[1] is not None else None


def _sshd_quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
