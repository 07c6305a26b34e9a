"""What the system refuses and is no mistake of labctl: output that cannot be written, a home that cannot be used."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Mapping
from pathlib import Path

from labctl.errors import HostError, LabctlError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (*_FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST)
_PRINTING = ("labctl.ui", "labctl.commands", "labctl.app")


def explained(error: OSError, environ: Mapping[str, str] = os.environ) -> LabctlError | None:
    """The error in words when the system refused labctl its output or its own files; None for all others."""
    from labctl.lab import cache, home

    homes = (home(environ), cache(environ))
    if error.filename is None:
        # A write to what is open names no path: displays and commands write output, all others below labctl's home.
        if error.errno not in (*_FULL, errno.EROFS, errno.EIO):
            return None
        return unwritten(error) if _raised_in(error).startswith(_PRINTING) else _home_error(homes[0], error)
    paths = [Path(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    for path in paths:
        below = any(path.is_relative_to(each) for each in homes)
        above = any(each.is_relative_to(path) for each in homes)
        if (below and error.errno in _REFUSED) or (above and error.errno in (*_REFUSED, errno.ENOENT)):
            return _home_error(path, error)
        if error.errno in (*_FULL, errno.EROFS):
            return HostError(
                f"cannot write {path}: {error.strerror}",
                hint="labctl doctor shows the host's space",
                code="LAB-USE-003",
            )
    return None


def unwritten(error: OSError) -> LabctlError:
    """The error of a command whose output could not be written."""
    return LabctlError(f"cannot write the output: {error.strerror}", code="LAB-USE-003")


def _raised_in(error: BaseException) -> str:
    """The module of labctl that was at work last."""
    modules = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
    return next((name for name in reversed(list(modules)) if name.startswith("labctl")), "")


def _home_error(path: Path, error: OSError) -> HostError:
    if error.errno in _FULL:
        return HostError(
            f"cannot write {path}: {error.strerror}",
            hint="free some space, or name another directory for labctl's files in LABCTL_HOME",
            code="LAB-USE-003",
        )
    return HostError(
        f"cannot use {path}: {error.strerror}",
        hint="name another directory for labctl's files in LABCTL_HOME",
        code="LAB-USE-003",
    )
