"""Whether machines can come to the files that they start from: libvirt runs them as a user of its own.

Their kernels lie with Vagrant's boxes, below a home directory that others often may not pass.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path

from labctl.errors import HostError

_CONFIGURATION = Path("/etc/libvirt/qemu.conf")
_ROOT = re.compile(r"""^\s*user\s*=\s*["']\+?(root|0)["']""", re.MULTILINE)


def require(path: Path) -> None:
    """Raise `HostError` when machines may not pass to `path`."""
    if (closed := barrier(path)) is not None:
        raise HostError(
            f"virtual machines, which libvirt runs as a user of its own, may not pass {closed}",
            details=[f"their kernel lies below {path}"],
            hint=f"chmod o+x {closed} (others may then pass through, not list it)",
            code="LAB-VM-001",
        )


def barrier(path: Path, configuration: Path = _CONFIGURATION, top: Path = Path("/")) -> Path | None:
    """The first directory on the way from `top` to `path` that others may not pass; None when machines get there."""
    try:
        if _ROOT.search(configuration.read_text()):
            return None
    except OSError:
        pass  # it is root's; who is not root has not changed it either
    for each in reversed([each for each in (path, *path.parents) if each.is_relative_to(top)]):
        try:
            if not each.stat().st_mode & stat.S_IXOTH:
                return each
        except OSError:
            return None  # not there yet: it will be made for all to pass
    return None
