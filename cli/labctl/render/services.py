"""A feature's services for the two inits: runit in a container, systemd in a virtual machine."""

from __future__ import annotations

from collections.abc import Iterable

from labctl.features.shell import launcher
from labctl.recipe import Entry, Service

PROGRAMS = "/etc/lab/sv"
"""Each service's directory lies here; its ``run`` is what either init starts."""


def runit(services: Iterable[Service]) -> tuple[Entry, ...]:
    """Service directories for runsvdir."""
    return tuple(Entry(f"{PROGRAMS}/{each.name}/run", launcher(each).encode(), 0o755) for each in services)


def systemd(services: Iterable[Service]) -> tuple[Entry, ...]:
    """The same programs, each with a unit that keeps it running."""
    services = tuple(services)
    units = tuple(Entry(f"/etc/systemd/system/lab-{each.name}.service", _unit(each).encode()) for each in services)
    return runit(services) + units


def _unit(service: Service) -> str:
    after = " ".join(("network-online.target", *(f"lab-{name}.service" for name in service.after)))
    return "\n".join(
        (
            "[Unit]",
            f"Description=labctl: {service.name}",
            f"After={after}",
            "Wants=network-online.target",
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            f"ExecStart={PROGRAMS}/{service.name}/run",
            "Restart=always",
            "RestartSec=500ms",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        )
    )
