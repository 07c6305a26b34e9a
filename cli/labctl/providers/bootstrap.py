"""A plain operating system made from its distribution's packages, where no registry gives an image.

mmdebstrap runs in namespaces of its own and dies with labctl, whatever ends labctl: its mounts go with the namespace,
and what it had written lies in a directory that the next run removes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from labctl.errors import HostError, LabctlError
from labctl.plan.model import BaseImage
from labctl.providers.base import Line

TOOLS = {"mmdebstrap": "mmdebstrap", "setpriv": "util-linux", "unshare": "util-linux"}
"""The commands that are needed, and Debian's package of each."""

_PREFIX = "bootstrap-"
_LOCK = "in-use"
_KEEP_LINES = 15
_AS_ROOT = ["--user", "--map-root-user", "--map-auto"]
"""What makes a user root of a namespace that has this user's further ids (/etc/subuid)."""


@contextmanager
def bootstrapped(base: BaseImage, cache: Path, proxies: Mapping[str, str], on_line: Line | None) -> Iterator[Path]:
    """The operating system as a tar, which is gone afterwards. Raises `HostError` or `LabctlError`."""
    require(TOOLS, "no registry answers, and what is needed to make the base image from packages is not installed")
    with workplace(cache) as directory:
        tar = directory / "root.tar"
        run(as_root(_argv(base, tar)), {**os.environ, **proxies, "TMPDIR": str(directory)}, base.box, on_line)
        yield tar


def clean(cache: Path) -> None:
    """Remove what bootstraps left that were killed. Those that run now are left alone."""
    for directory in sorted(_place(cache).glob(f"{_PREFIX}*")):
        try:
            lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(directory)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)


def dying_with_parent(argv: Sequence[str]) -> list[str]:
    """`argv` so that the kernel kills it when the thread that started it is gone."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *argv]


def as_root(command: Sequence[str]) -> list[str]:
    """`command` as root in namespaces of its own, so that nothing of it outlives its first process.

    Who is not root is so in a user namespace.
    """
    own = [] if os.geteuid() == 0 else _AS_ROOT
    return dying_with_parent(["unshare", *own, "--mount", "--pid", "--fork", "--kill-child", "--", *command])


def _argv(base: BaseImage, tar: Path) -> list[str]:
    command = [
        "mmdebstrap",
        "--mode=root",
        f"--variant={base.variant}",
        "--aptopt=Acquire::Retries 3",
    ]
    if base.include:
        command.append(f"--include={','.join(base.include)}")
    return [*command, base.suite, str(tar)]


@contextmanager
def workplace(cache: Path) -> Iterator[Path]:
    """A directory for half-made things, held by a lock that the kernel drops when this process ends."""
    root = os.geteuid() == 0
    clean(cache)
    place = _place(cache)
    place.mkdir(parents=True, exist_ok=True, mode=0o700 if root else 0o711)
    if place.is_symlink() or place.stat().st_uid != os.geteuid():
        raise HostError(f"{place} belongs to another user", hint=f"sudo rm -rf {place}", code="LAB-IMG-005")
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root:
            directory.chmod(0o711)  # the other ids of this user's namespace pass through it
        yield directory
    finally:
        _remove(directory)
        os.close(lock)


def _place(cache: Path) -> Path:
    """Where a bootstrap works: root in labctl's cache; others where the further ids of their namespace may pass."""
    return cache if os.geteuid() == 0 else Path("/var/tmp") / f"labctl-{os.geteuid()}"


def _remove(directory: Path) -> None:
    if os.geteuid() != 0:
        # Files of the user's further ids can only be removed in a namespace that has these ids.
        helper = ["unshare", *_AS_ROOT, "--", "rm", "-rf", str(directory)]
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(helper, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120, check=False)
    shutil.rmtree(directory, ignore_errors=True)
    if os.geteuid() != 0:
        with suppress(OSError):
            directory.parent.rmdir()  # ours too; it goes with the last of them


def require(tools: Mapping[str, str], message: str) -> None:
    """Raise `HostError` with `message` when one of the commands is not there; `tools` has Debian's package of each."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    missing = sorted({package for tool, package in tools.items() if shutil.which(tool, path=path) is None})
    if missing:
        raise HostError(
            message,
            details=[f"missing: {', '.join(missing)}"],
            hint=f"sudo apt-get install {' '.join(missing)}, or labctl doctor --fix",
            code="LAB-IMG-005",
        )


def run(argv: Sequence[str], environment: Mapping[str, str], box: str, on_line: Line | None) -> None:
    """Run a step of making `box`, a line at a time. Raises `HostError` or `LabctlError` with its last words."""
    last: deque[str] = deque(maxlen=_KEEP_LINES)
    process = subprocess.Popen(
        argv,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            last.append(line.rstrip())
            if on_line is not None and line.strip():
                on_line(line.rstrip())
        code = process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code != 0:
        raise _failed(box, list(last))


def _failed(box: str, last: list[str]) -> LabctlError:
    text = "\n".join(last)
    if "No space left" in text:
        return HostError(
            "the disk is full: no room to make the base system",
            details=last,
            hint="free some space",
            code="LAB-HOST-005",
        )
    if "newuidmap" in text or "subuid" in text or "unshare" in text:
        return HostError(
            "this user may not make a base system from packages",
            details=last,
            hint=f"sudo labctl box build {box} once, or sudo apt-get install uidmap",
            code="LAB-IMG-005",
        )
    return LabctlError(
        f"the base system of {box} could not be made from packages",
        details=last,
        hint="check that this host reaches its package mirror: sudo apt-get update",
        code="LAB-IMG-001",
    )
