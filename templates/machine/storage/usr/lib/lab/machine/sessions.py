"""Logins to iSCSI targets, by open-iscsi: what is told to it, and what the kernel says of them."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from storage.failure import CHAP, DEVICE, LOGIN, NETWORK, PORTAL, Failure
from storage.processes import Stuck, run

_SESSIONS = Path("/sys/class/iscsi_session")
_CONNECTIONS = Path("/sys/class/iscsi_connection")
_RECORDS = (Path("/var/lib/iscsi/nodes"), Path("/etc/iscsi/nodes"))
_NAME = Path("/etc/iscsi/initiatorname.iscsi")
_GROUP = 1
"""The portal group that targets of labs have."""

_LOGIN = 20.0
_EXISTS = 15
_REFUSED = {
    24: (CHAP, "the target refuses the password"),
    19: (LOGIN, "the target is not there, or does not know this machine"),
    8: (NETWORK, "no answer"),
    4: (PORTAL, "the connection is refused"),
}
"""iscsiadm's exit codes, and what they mean here."""

_changing = threading.Lock()
_users: dict[str, set[str]] = {}


def prepare(name: str, *, multipath: bool) -> None:
    """Have the initiator, called `name`, and where it is wanted what makes one device of several paths."""
    with _changing:
        line = f"InitiatorName={name}\n"
        if not _NAME.exists() or _NAME.read_text() != line:
            _NAME.write_text(line)
            _NAME.chmod(0o600)
            _must("systemctl", "restart", "iscsid.service")
        _must("modprobe", "-a", "iscsi_tcp", *(["dm_multipath"] if multipath else []))
        _must("systemctl", "start", "iscsid.service", *(["multipathd.service"] if multipath else []))


def log_in(volume: str, wanted: Mapping[str, Any], portal: str) -> None:
    """Log in over one portal; being logged in is fine. Raises `Failure` with the layer that refuses."""
    iqn = wanted["iqn"]
    with _changing:
        _users.setdefault(iqn, set()).add(volume)
        if portal in states(iqn):
            return
        at = ("-m", "node", "-T", iqn, "-p", f"{portal},{_GROUP}")
        _must("iscsiadm", *at, "-o", "new")
        _tell(iqn, portal, wanted.get("user"), wanted.get("password"))
        try:
            done = run("iscsiadm", *at, "--login", seconds=_LOGIN)
        except Stuck as error:
            raise Failure(LOGIN, f"{portal}: {error}") from error
    if done.returncode not in (0, _EXISTS):
        last = done.stdout.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        layer, words = _REFUSED.get(done.returncode, (LOGIN, last[0].removeprefix("iscsiadm: ")))
        raise Failure(layer, f"{portal}: {words}")


def log_out(volume: str, iqn: str) -> None:
    """Leave the target, unless another volume of this machine is on it."""
    with _changing:
        users = _users.get(iqn, set())
        users.discard(volume)
        if users:
            return
        for words in (("--logout",), ("-o", "delete")):
            with suppress(Stuck):
                run("iscsiadm", "-m", "node", "-T", iqn, *words, seconds=5.0)


def states(iqn: str) -> dict[str, str]:
    """The portals over which the machine is logged in to a target, each with the kernel's word (``LOGGED_IN``)."""
    found = {}
    for session in _of(iqn):
        with suppress(OSError):
            found[_portal(session)] = (session / "state").read_text().strip()
    return found


def disks(iqn: str, lun: int) -> dict[str, str]:
    """The device of the disk (``sda``) over each portal."""
    found = {}
    for session in _of(iqn):
        with suppress(OSError):
            for block in session.glob(f"device/target*/*:*:*:{lun}/block/*"):
                found[_portal(session)] = block.name
    return found


def find(iqn: str, lun: int, seconds: float) -> str:
    """A device of the disk, once there is one. Raises `Failure`."""
    end = time.monotonic() + seconds
    while not (there := disks(iqn, lun)):
        if time.monotonic() > end:
            raise Failure(DEVICE, f"the target has no disk {lun}")
        with suppress(Stuck):
            run("iscsiadm", "-m", "node", "-T", iqn, "--rescan", seconds=5.0)
        time.sleep(0.2)
    return next(iter(there.values()))


def _of(iqn: str) -> list[Path]:
    found = []
    for session in sorted(_SESSIONS.glob("session*")):
        with suppress(OSError):
            if (session / "targetname").read_text().strip() == iqn:
                found.append(session)
    return found


def _portal(session: Path) -> str:
    connection = _CONNECTIONS / f"connection{session.name.removeprefix('session')}:0"
    words = [(connection / f"persistent_{word}").read_text().strip() for word in ("address", "port")]
    return ":".join(words)


def _tell(iqn: str, portal: str, user: str | None, password: str | None) -> None:
    """Write the credentials into open-iscsi's own record: in a command's arguments everybody would see them."""
    address, _, port = portal.partition(":")
    record = next(
        path
        for root in _RECORDS
        if (path := root / iqn / f"{address},{port},{_GROUP}" / "default").exists()
    )
    auth = "node.session.auth."
    lines = [line for line in record.read_text().splitlines() if not line.startswith(auth)]
    if user is not None:
        told = {"authmethod": "CHAP", "username": user, "password": password}
        lines[-1:-1] = [f"{auth}{key} = {value}" for key, value in told.items()]
    record.chmod(0o600)
    record.write_text("".join(f"{line}\n" for line in lines))


def _must(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        done = run(*words, seconds=30.0)
    except Stuck as error:
        raise Failure(DEVICE, str(error)) from error
    if done.returncode:
        last = done.stdout.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise Failure(DEVICE, f"{words[0]}: {last[0]}")
    return done
