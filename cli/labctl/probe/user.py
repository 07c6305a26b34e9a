"""Who asked: the user behind sudo, whose home directory ``~`` means."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class InvokingUser:
    """The human at the keyboard: under sudo, doas or pkexec the one who called it, else the process's own user."""

    name: str
    uid: int
    gid: int
    home: Path


def invoking_user(environ: Mapping[str, str] = os.environ, *, uid: int | None = None) -> InvokingUser:
    """Who runs labctl. `uid` is the process's own (effective) one unless it is given.

    The variables of sudo are believed of root only: anybody else could have set them. HOME counts for one's own user,
    the password database for the user behind sudo, because sudo leaves HOME as root's, the user's, or unset,
    by configuration.
    """
    own = os.geteuid() if uid is None else uid
    caller = _caller(environ) if own == 0 else None
    if caller is not None:
        return InvokingUser(caller.pw_name, caller.pw_uid, caller.pw_gid, Path(caller.pw_dir))
    try:
        entry = pwd.getpwuid(own)
    except KeyError:  # a number without a name, as in many containers
        home = environ.get("HOME") or "/"
        return InvokingUser(environ.get("USER") or str(own), own, os.getegid(), Path(home))
    return InvokingUser(entry.pw_name, own, entry.pw_gid, Path(environ.get("HOME") or entry.pw_dir))


def _caller(environ: Mapping[str, str]) -> pwd.struct_passwd | None:
    for variable in ("SUDO_UID", "PKEXEC_UID"):
        if (value := environ.get(variable, "")).isdigit() and int(value) != 0:
            try:
                return pwd.getpwuid(int(value))
            except KeyError:
                continue
    if name := environ.get("DOAS_USER"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            return None
        return entry if entry.pw_uid != 0 else None
    return None
