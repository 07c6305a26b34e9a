"""What a host must have so that machines can run on it at all."""

from __future__ import annotations

import shutil

from labctl.errors import HostError
from labctl.providers.vagrant import acceleration, fences, libvirt


def check() -> None:
    """Raise `HostError`, naming what is missing, when this host cannot run machines."""
    libvirt.require()
    for program, package in (("vagrant", "vagrant"), (acceleration.EMULATOR, "qemu-system-x86")):
        if shutil.which(program) is None:
            raise HostError(f"{package} is not installed", hint="labctl doctor --fix", code="LAB-VM-001")
    fences.require()
