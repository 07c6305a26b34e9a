"""Whether the processor helps: found out by really starting a kernel, because a device file alone promises nothing.

The answer of a kernel holds until the host is started again.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

EMULATOR = "qemu-system-x86_64"
DEADLINE = 15.0
"""Seconds that a kernel has to say its first word; with the processor's help it takes one."""

SIGN = b"lab: kernel is up"
"""What the first program of every box prints."""

ROOTLESS = b"VFS: "
"""What a kernel prints that has come all the way to its disk, and was given none."""

_KVM = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Acceleration:
    """Whether machines are emulated, and what that was seen by. Not `tried`: it follows from the device alone."""

    emulated: bool
    why: str
    tried: bool = True


def is_emulated(cache: Path, kernel: Path, initrd: Path) -> bool:
    """Whether machines of this host run without the processor's help; asked once for each start of the host."""
    return judge(cache, kernel, initrd).emulated


def judge(cache: Path, kernel: Path, initrd: Path | None) -> Acceleration:
    """What machines of this host run with. `kernel` is tried, with the `initrd` of a box or, as other kernels, none."""
    found = without_trying() or known(cache)
    if found is not None:
        return found
    failure = failure_of(kernel, initrd)
    found = Acceleration(bool(failure), failure or "a kernel comes up with KVM")
    with suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        _kept(cache).write_text(json.dumps({"boot": _boot(), "found": asdict(found)}))
    return found


def without_trying(device: Path = _KVM) -> Acceleration | None:
    """What can be said without starting anything: that the device is not there, or not for this user."""
    if not device.exists():
        return Acceleration(emulated=True, why="there is no /dev/kvm", tried=False)
    if not os.access(device, os.R_OK | os.W_OK):
        return Acceleration(emulated=True, why="/dev/kvm is not for this user", tried=False)
    return None


def known(cache: Path) -> Acceleration | None:
    """What was found out since the host was started; None when nothing was."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(_kept(cache).read_text())
        if kept["boot"] == _boot():
            return Acceleration(**kept["found"])
    return None


def _kept(cache: Path) -> Path:
    return cache / "acceleration.json"


def _boot() -> str:
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""


def failure_of(
    kernel: Path, initrd: Path | None, *, accelerator: str = "kvm", deadline: float = DEADLINE
) -> str | None:
    """Why a machine with this accelerator does not come up within `deadline` seconds; None when it does."""
    argv = [EMULATOR, "-accel", accelerator, "-M", "q35", "-m", "256", "-display", "none", "-nodefaults", "-no-reboot"]
    argv += ["-cpu", "host" if accelerator == "kvm" else "qemu64", "-serial", "stdio"]
    argv += ["-kernel", str(kernel), "-append", "console=ttyS0" + (" quiet" if initrd else "")]
    if initrd is not None:
        argv += ["-initrd", str(initrd)]
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
        except OSError as error:
            return f"{EMULATOR}: {error.strerror}"
        try:
            came = _says(process, SIGN if initrd else ROOTLESS, time.monotonic() + deadline)
            if came:
                return None
            # It closes its output just before it ends.
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1)
            hangs = process.poll() is None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
            if process.stdout is not None:
                process.stdout.close()
        if hangs:
            return f"/dev/kvm is there, but a kernel does not come up with it within {deadline:g} s"
        errors.seek(0)
        said = errors.read().decode(errors="replace").splitlines()
        reason = next((line.partition("error: ")[2] for line in said if "error: " in line), "")
        reason = reason or (said[-1] if said else "qemu ended without a word")
        return f"/dev/kvm is there, but a kernel does not come up with it: {reason}"


def _says(process: subprocess.Popen[bytes], sign: bytes, end: float) -> bool:
    import select

    assert process.stdout is not None
    said = b""
    while (left := end - time.monotonic()) > 0:
        if select.select([process.stdout], [], [], left)[0]:
            data = os.read(process.stdout.fileno(), 4096)
            said += data
            if sign in said:
                return True
            if not data:
                return False
    return False


def bounded(cache: Path) -> Path:
    """A program to name as the emulator: qemu with a bound to the memory in which it keeps translated code.

    Without one each machine takes a gigabyte of the host for it. libvirt cannot say it; it is written where it is not.
    """
    path = cache / "qemu-emulated"
    text = _WRAPPER.format(emulator=shutil.which(EMULATOR) or f"/usr/bin/{EMULATOR}")
    if not path.is_file() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(text)
        temporary.chmod(0o755)
        temporary.replace(path)
    return path


_WRAPPER = """\
#!/bin/bash
# Written by labctl: what libvirt starts for machines whose processor is emulated, with bounded memory for translations.
words=()
for word in "$@"; do
    [ "$before" = -accel ] && [ "$word" = tcg ] && word="tcg,tb-size=128"
    words+=("$word")
    before=$word
done
exec {emulator} "${{words[@]}}"
"""
