"""A feature's services for the two inits: runit in a container, systemd in a virtual machine."""

from __future__ import annotations

from collections.abc import Iterable

from labctl.features.shell import launcher
from labctl.recipe import Entry, Service

PROGRAMS = "/etc/lab/sv"
"""Each service's directory lies here; its ``run`` is what either init starts."""


UNITS = "/etc/systemd/system"

FIRST = "sshd"
"""The service that does not wait until the machine knows what it is; its log goes to the console too."""


def runit(services: Iterable[Service]) -> tuple[Entry, ...]:
    """Service directories for runsvdir."""
    return tuple(Entry(f"{PROGRAMS}/{each.name}/run", launcher(each).encode(), 0o755) for each in services)


def systemd(services: Iterable[Service]) -> tuple[Entry, ...]:
    """The same programs, each with a unit that keeps it running, and a target that all but sshd belong to.

    sshd is how a new machine is told what it is, on which the others wait.
    """
    services = tuple(services)
    units = tuple(Entry(f"{UNITS}/lab-{each.name}.service", _unit(each).encode()) for each in services)
    return runit(services) + units + (Entry(f"{UNITS}/lab.target", _target(services).encode()),)


def _target(services: Iterable[Service]) -> str:
    wanted = " ".join(f"lab-{each.name}.service" for each in services if each.name != FIRST)
    return f"[Unit]\nDescription=labctl: services of a machine that knows what it is\nWants={wanted}\n"


def _unit(service: Service) -> str:
    after = " ".join(("network.target", *(f"lab-{name}.service" for name in service.after)))
    first = service.name == FIRST
    lines = [
        "[Unit]",
        f"Description=labctl: {service.name}",
        f"After={after}",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        f"ExecStart={PROGRAMS}/{service.name}/run",
        "Restart=always",
        "RestartSec=500ms",
        f"SyslogIdentifier={service.name}",
    ]
    if first:
        # Sessions outlive a restart of the server.
        lines += ["KillMode=process", "RuntimeDirectory=sshd", "RuntimeDirectoryPreserve=yes"]
        lines += ["StandardOutput=journal+console", "", "[Install]", "WantedBy=multi-user.target"]
    return "\n".join(lines) + "\n"
