"""Whether the processor helps: found out by really starting a kernel, because a device file alone promises nothing.

The answer holds until the host is started again.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

EMULATOR = "qemu-system-x86_64"
DEADLINE = 15.0
"""Seconds that a kernel has to say its first word; with the processor's help it takes one."""

SIGN = b"lab: kernel is up"
"""What the first program of every box prints."""

_KVM = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def is_emulated(cache: Path, kernel: Path, initrd: Path) -> bool:
    """Whether machines of this host run without the processor's help; asked once for each start of the host."""
    kept = cache / "acceleration.json"
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(kept.read_text())
        if known["boot"] == boot:
            return bool(known["emulated"])
    emulated = not (os.access(_KVM, os.R_OK | os.W_OK) and starts(kernel, initrd))
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"boot": boot, "emulated": emulated}))
    return emulated


def starts(kernel: Path, initrd: Path, *, accelerator: str = "kvm", deadline: float = DEADLINE) -> bool:
    """Whether a machine with this accelerator gets as far as the first program within `deadline` seconds."""
    argv = [EMULATOR, "-accel", accelerator, "-M", "q35", "-m", "256", "-display", "none", "-nodefaults", "-no-reboot"]
    argv += ["-cpu", "host" if accelerator == "kvm" else "qemu64", "-serial", "stdio", "-append", "console=ttyS0 quiet"]
    try:
        process = subprocess.Popen(
            [*argv, "-kernel", str(kernel), "-initrd", str(initrd)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return False
    try:
        return _says(process, time.monotonic() + deadline)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
        if process.stdout is not None:
            process.stdout.close()


def _says(process: subprocess.Popen[bytes], end: float) -> bool:
    import select

    assert process.stdout is not None
    said = b""
    while (left := end - time.monotonic()) > 0:
        if select.select([process.stdout], [], [], left)[0]:
            data = os.read(process.stdout.fileno(), 4096)
            said += data
            if SIGN in said:
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
