"""The host's ends of the interfaces of machines: known by their names, and put back where they belong."""

from __future__ import annotations

import subprocess
from hashlib import sha256
from pathlib import Path

from labctl.errors import LabctlError

_DEVICES = Path("/sys/class/net")


def name(lab: str, node: str, network: str) -> str:
    """What the host calls that end, of a node on a network: 13 bytes, the same every time."""
    return "lv" + sha256(f"{lab}/{node}/{network}".encode()).hexdigest()[:11]


def astray(tap: str, bridge: str, devices: Path = _DEVICES) -> bool:
    """Whether the end is there, and not on the bridge: that was made anew under a running machine."""
    if not (devices / tap).exists():
        return False
    try:
        return (devices / tap / "master").readlink().name != bridge
    except OSError:
        return True


def put_back(tap: str, bridge: str) -> None:
    """Put the end on the bridge."""
    if not astray(tap, bridge):
        return
    done = subprocess.run(
        ["ip", "link", "set", tap, "master", bridge], capture_output=True, text=True, timeout=20.0, check=False
    )
    if done.returncode != 0 and astray(tap, bridge):
        raise LabctlError(
            f"interface {tap} of a machine cannot be put on its network {bridge}",
            details=done.stderr.splitlines()[:5],
            hint="stop the machine and start it again: labctl stop NODE, labctl start NODE",
            code="LAB-VM-003",
        )
