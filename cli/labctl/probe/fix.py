"""From findings to the commands that help, and running them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping

from labctl.errors import HostError
from labctl.probe.engine import ENGINE_LOG, start_engine
from labctl.probe.engine_api import endpoint, wait_for_engine
from labctl.probe.finding import Argv, Finding
from labctl.probe.host import Host

_LISTS_AGE = 24 * 3600.0
_APT = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=120", "-o", "DPkg::Use-Pty=0")
START_DEADLINE = 60.0
"""Seconds that a started engine has until it must answer."""

_NAMES: Mapping[str, str] = {
    "fedora": "dnf install moby-engine mmdebstrap openssh-clients",
    "alpine": "apk add docker openssh-client, then rc-update add docker && service docker start",
    "arch": "pacman -S docker openssh",
    "suse": "zypper install docker mmdebstrap openssh-clients",
}


def repair(findings: Iterable[Finding], host: Host, *, now: float) -> tuple[Argv, ...]:
    """The commands for all findings that have a remedy a program can carry out: packages in one go, then the rest.

    Raises `HostError` on a distribution whose packages labctl does not know, saying what to install.
    """
    open_ = [finding for finding in findings if finding.status != "ok"]
    packages = tuple(dict.fromkeys(name for finding in open_ for name in finding.packages))
    steps = tuple(dict.fromkeys(step for finding in open_ for step in finding.fix))
    if packages and host.system.family != "debian":
        raise HostError(
            f"labctl does not install packages on {host.system.name}",
            details=[f"{finding.title}: {finding.evidence}" for finding in open_ if finding.packages],
            hint=_NAMES.get(host.system.family, "install Docker Engine 20.10 or later, mmdebstrap and an ssh client"),
        )
    install: tuple[Argv, ...] = ()
    if packages:
        update = () if _lists_are_fresh(host, now=now) else ((*_APT, "update"),)
        install = (*update, (*_APT, "install", "-y", "--no-install-recommends", *packages))
    start = start_engine(host)
    # The engine starts last: with its firewall backend, control groups and profiles as they shall be.
    rest = [step for step in steps if step != start]
    return (*install, *rest, *((start,) if start in steps else ()))


def _lists_are_fresh(host: Host, *, now: float) -> bool:
    directory = host.path("/var/lib/apt/lists")
    times = [path.stat().st_mtime for path in directory.glob("*_Packages*")] if directory.is_dir() else []
    if not times:
        return False
    return now - directory.stat().st_mtime < _LISTS_AGE


def as_root(command: Argv, host: Host) -> Argv:
    """The command as this user has to type it. Raises `HostError` when there is no sudo."""
    if host.uid == 0:
        return command
    if not host.find("sudo"):
        raise HostError("this needs root, and sudo is not there", hint="run labctl doctor --fix as root")
    return ("sudo", *command)


def carry_out(command: Argv, host: Host, *, say: Callable[[str], None]) -> None:
    """Run one command; its output goes where labctl's errors go. Raises `HostError` when it fails.

    A command that starts the engine is done when the engine answers.
    """
    full = as_root(command, host)
    try:
        # sudo asks for its password on the terminal itself; package managers must not ask anything.
        code = subprocess.run(full, stdin=subprocess.DEVNULL, stdout=2, check=False).returncode
    except OSError as error:
        raise HostError(f"{full[0]}: {error.strerror}", code="LAB-HOST-009") from error
    starts = command == start_engine(host)
    if code != 0:
        hint = "systemctl status docker; journalctl -u docker" if starts else None
        raise HostError(f"{' '.join(command)} failed with exit code {code}", hint=hint)
    if starts:
        say("waiting for the engine to answer")
        unreachable = wait_for_engine(endpoint(host), timeout=START_DEADLINE)
        if unreachable is not None and unreachable.reason != "permission":
            lines = [] if host.has_systemd else host.text(ENGINE_LOG).splitlines()[-8:]
            where = "journalctl -u docker" if host.has_systemd else f"the whole log is {ENGINE_LOG}"
            raise HostError(
                f"the engine did not start within {START_DEADLINE:g} s: {unreachable}",
                details=lines,
                hint=where,
                code="LAB-HOST-002",
            )
