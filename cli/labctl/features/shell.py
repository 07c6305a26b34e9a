"""Services and lab-file values as POSIX sh: what init starts, in a container and in a virtual machine alike."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from labctl.model.lab import Command
from labctl.recipe import Service

NODE_ENVIRONMENT = "/etc/lab/node.env"
"""What a node knows of itself: LAB_NAME, LAB_NODE and, with a desktop, LAB_WIDTH and LAB_HEIGHT."""

ENVIRONMENT = "/etc/lab/environment"
"""The lab file's `environment` of the node, as sh assignments."""


def command_line(command: Command) -> str:
    """A command of the lab file as words for sh: a string goes through ``sh -c``, a list stays as it is."""
    return shlex.join(("sh", "-c", command)) if isinstance(command, str) else shlex.join(command)


def assignments(environment: Iterable[tuple[str, str]]) -> str:
    """Variables as sh lines, quoted, one each."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in environment)


def launcher(service: Service) -> str:
    """The program that init runs and keeps running for `service`: it ends by becoming the service's command.

    Its output is the init's own, stderr included. `prepare` lines run as root before the user changes.
    """
    lines = [
        "#!/bin/sh",
        f"# {service.name}, written by labctl",
        "exec 2>&1",
        "set -a",
        f"[ ! -r {NODE_ENVIRONMENT} ] || . {NODE_ENVIRONMENT}",
        f"[ ! -r {ENVIRONMENT} ] || . {ENVIRONMENT}",
        *assignments(service.environment).splitlines(),
    ]
    if service.user == "root":
        lines += ["HOME=/root", "USER=root"]
    else:
        user = shlex.quote(service.user)
        lines += [f"USER={user}", f"HOME=$(getent passwd {user} | cut -d: -f6)", ': "${HOME:=/}"']
    lines += ["LOGNAME=$USER", "set +a"]
    if service.wait_for:
        lines.append(f"until {service.wait_for}; do sleep 0.02; done")
    lines += service.prepare
    lines.append('cd "$HOME" 2>/dev/null || cd /')
    command = command_line(service.command)
    if service.user != "root":
        command = f'setpriv --reuid="$USER" --regid="$(id -g "$USER")" --init-groups -- {command}'
    lines.append(f"exec {command}")
    return "\n".join(lines) + "\n"
