"""What keeps the networks of machines apart from all others of the host: a table of the packet filter for each.

The rules of an engine and of libvirt stand in one list of the host, and whoever came last stands first: an engine lets
its containers through to machines, libvirt its machines through to containers. What a table of its own drops is
dropped, whoever lets it through; with its network it is gone whole.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection
from pathlib import Path

from labctl.errors import DeadlineError, HostError, LabctlError

TIMEOUT = 20.0
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
"""An ordinary user's own path may lead past it."""


def require() -> None:
    """Raise `HostError` when there is no packet filter to ask."""
    if shutil.which("nft", path=_PATH) is None:
        raise HostError("nftables is not installed", hint="labctl doctor --fix", code="LAB-VM-001")


def put(name: str, bridge: str, *, lab: str, shut: bool, outward: Collection[str] = ()) -> None:
    """Have the table `name` for the network of `bridge`, anew when it is there.

    Nothing passes between it and another bridge of this host; `outward` are bridges that lead out of the host. Nothing
    at all passes between a `shut` one and the rest of the world.
    """
    _nft(table(name, bridge, lab=lab, shut=shut, outward=outward))


def remove(name: str) -> None:
    """Remove the table; gone is fine."""
    if name in standing(name):
        _nft(f"delete table inet {name}\n")


def standing(prefix: str) -> frozenset[str]:
    """The tables whose names begin with `prefix`."""
    words = (line.split() for line in _nft("list tables inet\n").splitlines())
    return frozenset(name for _, _, name in words if name.startswith(prefix))


def table(name: str, bridge: str, *, lab: str, shut: bool, outward: Collection[str] = ()) -> str:
    """The table as text that replaces one of that name."""
    here = f'"{bridge}"'
    if shut:
        rules = [f"iifname {here} oifname != {here} drop", f"oifname {here} iifname != {here} drop"]
    else:
        passed = ", ".join([here, *(f'"{each}"' for each in sorted(outward) if each != bridge)])
        rules = [  # the kind stands in braces: a single word of it is not understood by all versions
            f'iifname {here} oifname != {{ {passed} }} meta oifkind {{ "bridge" }} drop',
            f'oifname {here} iifname != {{ {passed} }} meta iifkind {{ "bridge" }} drop',
        ]
    lines = [
        f"table inet {name}",  # so that there is one to delete
        f"delete table inet {name}",
        f"table inet {name} {{",
        f'  comment "lab {lab}: gone with its network {bridge}"',
        "  chain forward {",
        "    type filter hook forward priority filter; policy accept;",
        *(f"    {rule}" for rule in rules),
        "  }",
        "}",
    ]
    return "\n".join([*lines, ""])


def outward(routes: Path = Path("/proc/net/route"), devices: Path = Path("/sys/class/net")) -> list[str]:
    """Bridges of this host that lead out of it: those of its default routes."""
    try:
        rows = [line.split() for line in routes.read_text().splitlines()[1:]]
    except OSError:
        return []
    names = {row[0] for row in rows if len(row) > 7 and row[1] == row[7] == "00000000"}
    return sorted(name for name in names if (devices / name / "bridge").is_dir())


def _nft(text: str) -> str:
    # An ordinary user may have machines made by libvirt, and no rules made by anybody.
    nft = shutil.which("nft", path=_PATH) or "nft"
    words = [*(["sudo", "-n"] if os.geteuid() != 0 else []), nft, "-f", "-"]
    try:
        done = subprocess.run(
            words, input=text, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise DeadlineError(f"nft gave no answer within {TIMEOUT:g} s", code="LAB-VM-002") from None
    except OSError as error:
        raise HostError("nftables is not installed", hint="labctl doctor --fix", code="LAB-VM-001") from error
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.splitlines()[:5]
    if os.geteuid() != 0 or "not permitted" in done.stderr:
        raise HostError(
            "no permission to keep the networks of machines apart from others of this host",
            details=said,
            hint="run labctl as root, or let your user run `sudo nft` without a password",
            code="LAB-VM-001",
        )
    raise LabctlError("the packet filter refused the rules of a network", details=said, code="LAB-VM-003")
