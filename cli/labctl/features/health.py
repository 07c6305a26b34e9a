"""Healthchecks of virtual machines: no engine tries these, so that a service of the machine's own does."""

from __future__ import annotations

from labctl.model.lab import Node, NodeService

PROGRAM = "/usr/lib/lab/healthcheck"
STATE = "/run/lab/health"
"""A machine's own word: ``healthy``, ``unhealthy`` or ``starting`` and an exit code, then what the last try printed."""

_NAME = "_healthcheck"
"""No service of a lab file can have this name."""


def services(node: Node) -> tuple[NodeService, ...]:
    """The services of the lab file and, where nobody else tries it, the node's healthcheck, which comes last."""
    check = node.healthcheck
    if check is None or node.provider != "vagrant":
        return node.services
    times = (f"{check.interval:g}", f"{check.timeout:g}", str(check.retries), f"{check.start_period * 100:.0f}")
    test = ("sh", "-c", check.test) if isinstance(check.test, str) else tuple(check.test)
    return (*node.services, NodeService(_NAME, (PROGRAM, *times, *test), "root"))
