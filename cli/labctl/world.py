"""The running lab as its checks see it: names become nodes, addresses, shells and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labctl.errors import LabctlError

if TYPE_CHECKING:
    from labctl.api import RunningLab
    from labctl.plan.model import ObservedNode
    from labctl.providers.base import Shell

_ALIVE = ("running", "restarting")
"""States in which trying a check makes sense; it may take more than one try."""


def require_running(nodes: Sequence[ObservedNode]) -> None:
    """Raise `LabctlError` when one of the nodes does not run."""
    for node in nodes:
        if node.state == "paused":
            raise LabctlError(f"{node.name} is paused", hint=f"labctl resume {node.name}", code="LAB-NODE-001")
        if node.state != "running":
            raise LabctlError(
                f"{node.name} is not running ({node.state})", hint=f"labctl start {node.name}", code="LAB-NODE-001"
            )


def look_at(lab: RunningLab, node: ObservedNode, *, timeout: float = 10.0) -> tuple[int, int, bytes]:
    """Width, height and pixels (red, green, blue) of the node's desktop, seen with the password that may only look.

    Raises `LabctlError` when it has none, or when the passwords are lost with the lab's directory.
    """
    from labctl import screen

    require_screen(lab, node)
    password = lab.directory.secrets(node.name)[node.name].vnc_view_password
    return screen.pixels(str(lab.address(node)), password, timeout=timeout)


def require_screen(lab: RunningLab, node: ObservedNode) -> None:
    """Raise `LabctlError` when the node has no desktop, does not run, or its password is not known here."""
    require_desktop(lab, node)
    require_secrets(lab)


def require_desktop(lab: RunningLab, node: ObservedNode) -> None:
    """Raise `LabctlError` when the node has no desktop, naming those that have one, or does not run."""
    if node.desktop is None:
        others = [each.name for each in lab.nodes() if each.desktop is not None]
        raise LabctlError(
            f"{node.name} has no desktop",
            details=[f"desktops: {', '.join(others)}"] if others else [],
            hint="`desktop: true` gives it one",
            code="LAB-VNC-001",
        )
    require_running([node])


def require_secrets(lab: RunningLab) -> None:
    """Passwords and tokens lie in the lab's directory; new ones would not fit what the nodes have."""
    if not lab.directory.key.is_file():
        where = next(iter(lab.observed.directories), "")
        repair = f"`labctl up` repairs it (in {where})" if where else "`labctl up` repairs it"
        raise LabctlError(
            f"the passwords of lab {lab.name} are not here: its directory is gone", hint=repair, code="LAB-LAB-005"
        )


class LabWorld:
    """A lab that was opened, for `checks`; see `checks.World`."""

    def __init__(self, lab: RunningLab) -> None:
        self._lab = lab

    def members(self, name: str) -> list[str]:
        """The nodes that a node's or group's name means."""
        return [node.name for node in self._lab.nodes([name])]

    def shell(self, node: str) -> Shell:
        """A way into a running node."""
        found = self._lab.node(node)
        require_running([found])
        return self._lab.shell(found)

    def require(self, name: str, *, every: bool) -> None:
        """Raise `LabctlError` when what the name stands for does not run."""
        short = self._short(name)
        members = self._lab.nodes([short]) if short in self._lab.groups else []
        if not every and any(node.state in _ALIVE for node in members):
            return
        require_running([node for node in members if node.state not in _ALIVE])

    def address(self, name: str) -> str | None:
        """Where this host reaches the machine of that name."""
        short = self._short(name)
        if short in self._lab.groups:
            members = self._lab.nodes([short])
            return str(self._lab.address(next((node for node in members if node.state in _ALIVE), members[0])))
        nodes = self._lab.observed.nodes.values()
        return name if any(name == str(address) for node in nodes for address in node.addresses.values()) else None

    def addresses(self, name: str) -> frozenset[str]:
        """All addresses of the nodes of that name, on any network."""
        short = self._short(name)
        members = self._lab.nodes([short]) if short in self._lab.groups else []
        return frozenset(str(address) for node in members for address in node.addresses.values())

    def screen(self, node: str, *, timeout: float) -> tuple[int, int, bytes]:
        """The pixels of a node's desktop."""
        return look_at(self._lab, self._lab.node(node), timeout=timeout)

    def _short(self, name: str) -> str:
        return name.lower().removesuffix(".").removesuffix(f".{self._lab.name}.internal")
