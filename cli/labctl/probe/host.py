"""The host as probes see it: its files, variables and programs. Tests put a made-up one in its place."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labctl.probe.user import InvokingUser, invoking_user

_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
"""Debian leaves these out of an ordinary user's PATH, but what labctl asks for lies there."""

Family = Literal["debian", "fedora", "alpine", "arch", "suse", "other"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A command that was tried. `code` is None when it did not start, or not end in time; `output` has both streams."""

    code: int | None
    output: str = ""


Run = Callable[[Sequence[str], float], Attempt]


def attempt(argv: Sequence[str], timeout: float) -> Attempt:
    """Run `argv` without input and wait at most `timeout` seconds; then its whole process group is killed."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "LC_ALL": "C", "PATH": f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATH}"},
        )
    except OSError as error:
        return Attempt(None, str(error))
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # A process in state D does not die: its pipe is not waited for.
        return Attempt(None, f"no answer within {timeout:g} s")
    return Attempt(process.returncode, output.decode(errors="replace").strip())


def find_program(name: str) -> str | None:
    """The program's path, the system administrator's directories included."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATH}")


@dataclass(frozen=True, slots=True)
class OperatingSystem:
    """What /etc/os-release says. `version` is e.g. ``13``, empty on rolling releases."""

    id: str
    name: str
    version: str
    family: Family


@dataclass(frozen=True, slots=True)
class Host:
    """Where probes look. `root` is ``/`` on a real host; `uid` and `home` are those of this process."""

    environ: Mapping[str, str]
    user: InvokingUser
    uid: int
    home: Path = Path("/")
    root: Path = Path("/")
    run: Run = attempt
    find: Callable[[str], str | None] = find_program

    def path(self, absolute: str) -> Path:
        """The file that `absolute` means on this host."""
        return self.root / absolute.lstrip("/")

    def text(self, absolute: str) -> str:
        """The content of a file, empty when it is not there or cannot be read."""
        try:
            return self.path(absolute).read_text(errors="replace")
        except OSError:
            return ""

    @property
    def has_systemd(self) -> bool:
        """systemd runs as this host's init (the test that sd_booted(3) makes)."""
        return self.path("/run/systemd/system").is_dir()

    @property
    def system(self) -> OperatingSystem:
        values: dict[str, str] = {}
        for line in (self.text("/etc/os-release") or self.text("/usr/lib/os-release")).splitlines():
            key, found, value = line.partition("=")
            if found:
                values[key.strip()] = value.strip().strip("\"'")
        name = values.get("ID", "unknown")
        return OperatingSystem(
            id=name,
            name=values.get("PRETTY_NAME", name),
            version=values.get("VERSION_ID", ""),
            family=_family([name, *values.get("ID_LIKE", "").split()]),
        )


def this_host(environ: Mapping[str, str] = os.environ) -> Host:
    """The host that this process runs on."""
    return Host(environ=environ, user=invoking_user(environ), uid=os.geteuid(), home=Path(os.path.expanduser("~")))


def _family(names: Sequence[str]) -> Family:
    known: dict[str, Family] = {
        "debian": "debian",
        "ubuntu": "debian",
        "fedora": "fedora",
        "rhel": "fedora",
        "alpine": "alpine",
        "arch": "arch",
        "suse": "suse",
        "opensuse": "suse",
    }
    return next((known[name] for name in names if name in known), "other")
