"""What is done in the mount namespaces of nodes and storage containers, each in a process of its own with a deadline.

A process that waits for a dead disk cannot be ended: then it is left behind, and the keeper goes on.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_OPEN_TREE = 428
_MOVE_MOUNT = 429
_CLONE = 1 | os.O_CLOEXEC
_FROM_DESCRIPTOR = 4
_DETACH = 2
_SHUTDOWN = 0x8004587D
_WITHOUT_LOG = struct.pack("I", 2)
_DEADLINE = 10.0
_WRITE = 60.0
_SILENT = 3.0
_FENCED = ("ext2", "ext3", "ext4", "xfs")

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Mount:
    """A line of mountinfo: the device as MAJOR:MINOR, and the type."""

    device: str
    kind: str


def mounts(pid: int) -> dict[str, Mount]:
    """What is mounted in the namespace of a process, by place, the uppermost of each; reads nothing of the mounts."""
    found = {}
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            words = before.split()
            found[_plain(words[4])] = Mount(words[2], after.split()[0])
    return found


def move(source_pid: int, source: str, target_pid: int, target: str) -> None:
    """Move the mount at `source` of one namespace to `target` of another, in place of what is there. Raises OSError."""

    def work() -> None:
        source_space, target_space = _space(source_pid), _space(target_pid)
        os.setns(source_space, os.CLONE_NEWNS)
        tree = _check(_libc.syscall(_OPEN_TREE, -100, source.encode(), _CLONE))
        os.setns(target_space, os.CLONE_NEWNS)
        _take_off(target)
        os.makedirs(target, exist_ok=True)
        _check(_libc.syscall(_MOVE_MOUNT, tree, b"", -100, target.encode(), _FROM_DESCRIPTOR))
        os.setns(source_space, os.CLONE_NEWNS)
        _check(_libc.umount2(source.encode(), _DETACH))

    _apart(work)


def take_off(pid: int, target: str) -> None:
    """Take what is mounted at `target` out of a namespace, whether it is in use or dead. Raises OSError."""

    def work() -> None:
        os.setns(_space(pid), os.CLONE_NEWNS)
        _take_off(target)

    _apart(work)


def write_out(pid: int, target: str, answers: Callable[[], bool]) -> None:
    """Have what is mounted there written to the server. Raises OSError, also when that takes too long: a minute, or
    some seconds in which the server does not answer.
    """

    def work() -> None:
        os.setns(_space(pid), os.CLONE_NEWNS)
        fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
        _check(_libc.syncfs(fd))

    _apart(work, seconds=_WRITE, hope=answers)


def fence(pid: int, targets: list[str]) -> None:
    """Let everything on these mounts fail from now on: their disk is dead, what they still show is only a memory."""
    standing = mounts(pid)
    for target in targets:
        if target not in standing or standing[target].kind not in _FENCED:
            continue

        def work(target: str = target) -> None:
            os.setns(_space(pid), os.CLONE_NEWNS)
            fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.ioctl(fd, _SHUTDOWN, _WITHOUT_LOG)

        with suppress(OSError):
            _apart(work)


def services(pid: int, order: str) -> None:
    """``sv ORDER`` for the lab file's services of a node (those that have a log); a node without any is fine."""

    def work() -> None:
        os.setns(_space(pid), os.CLONE_NEWNS)
        os.chdir("/")
        known = [str(log.parent) for log in Path("/run/lab/sv").glob("*/log") if not (log.parent / "down").exists()]
        if known:
            words = ["sv", "-w", "7", order, *known]
            subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False, timeout=_DEADLINE)

    with suppress(OSError):
        _apart(work, seconds=_DEADLINE + 2)


def _space(pid: int) -> int:
    return os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _take_off(target: str) -> None:
    while _libc.umount2(target.encode(), _DETACH) == 0:
        pass


def _apart(work: Callable[[], None], *, seconds: float = _DEADLINE, hope: Callable[[], bool] = lambda: True) -> None:
    """Do it in a child; its OSError is raised here, and TimeoutError when it does not end, or without `hope`."""
    child = os.fork()
    if child == 0:
        code = errno.EIO
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            work()
            code = 0
        except OSError as error:
            code = min(error.errno or errno.EIO, 250)
        except BaseException:  # noqa: BLE001  (nothing of the parent may run on in the child)
            code = errno.EIO
        finally:
            os._exit(code)
    deadline = time.monotonic() + seconds
    pause = 0.001
    hoped = time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if hope():
            hoped = time.monotonic()
        if time.monotonic() > min(deadline, hoped + _SILENT):
            os.kill(child, signal.SIGKILL)
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise OSError(abs(code), os.strerror(abs(code)))


def reap() -> None:
    """Take note of children that ended late."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _plain(word: str) -> str:
    r"""A path of mountinfo, in which spaces are ``\040``."""
    if "\\" not in word:
        return word
    return word.encode().decode("unicode_escape").encode("latin-1").decode()
