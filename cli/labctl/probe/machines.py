"""Questions about virtual machines: Vagrant, what boxes are made with, and whether the processor helps."""

from __future__ import annotations

import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labctl.probe.finding import Finding
from labctl.probe.host import Host

_PLUGIN = re.compile(r"^vagrant-libvirt \((?P<version>[^,)]+)", re.MULTILINE)


def vagrant_findings(host: Host) -> list[Finding]:
    """Vagrant itself, and its way to libvirt. One call answers for both: each takes a second of Ruby."""
    if not host.find("vagrant"):
        packages = ("vagrant", "vagrant-libvirt")
        return [
            Finding(
                "vagrant", "Vagrant", "missing", "not installed", f"install {' '.join(packages)}", packages=packages
            )
        ]
    tried = host.run(["vagrant", "plugin", "list"], 30)
    last = tried.output.splitlines()[-1] if tried.output else "fails without a word"
    if tried.code != 0:
        return [Finding("vagrant", "Vagrant", "missing", last, "reinstall vagrant")]
    found = _PLUGIN.search(tried.output)
    if found is None:
        return [
            Finding("vagrant", "Vagrant", "ok", "installed"),
            Finding(
                "vagrant-libvirt", "vagrant-libvirt", "missing", "not among Vagrant's plugins",
                "install vagrant-libvirt", packages=("vagrant-libvirt",),
            ),
        ]  # fmt: skip
    return [Finding("vagrant", "Vagrant", "ok", f"with vagrant-libvirt {found['version']}")]


def box_findings(host: Host) -> list[Finding]:
    """What makes a machine's disk from packages."""
    from labctl.providers.vagrant.boxes import TOOLS

    title = "making boxes"
    lacking = {program: package for program, package in TOOLS.items() if not host.find(program)}
    if not lacking:
        return [Finding("boxes", title, "ok", "from packages, by mmdebstrap")]
    packages = tuple(dict.fromkeys(lacking.values()))
    evidence = f"not there: {', '.join(lacking)}"
    return [Finding("boxes", title, "missing", evidence, f"install {' '.join(packages)}", packages=packages)]


def acceleration_findings(host: Host, *, cache: Path | None = None) -> list[Finding]:
    """Whether machines run with the processor's help: a kernel is really started, with that of a box or of the host.

    `cache` is where boxes lie; without it, or any kernel, nothing can be started.
    """
    from labctl.providers.vagrant import acceleration

    title = "acceleration"
    device = host.path("/dev/kvm")
    found = acceleration.without_trying(device) or (acceleration.known(cache) if cache is not None else None)
    if found is None and cache is not None and host.find(acceleration.EMULATOR):
        with _kernel(host, cache) as (kernel, initrd):
            if kernel is not None:
                found = acceleration.judge(cache, kernel, initrd)
    if found is None:
        evidence = "/dev/kvm can be opened; it is tried when there is a box"
        return [Finding("kvm", title, "unknown", evidence, "labctl box build debian-13 --for vagrant")]
    if not found.emulated:
        return [Finding("kvm", title, "ok", found.why)]
    evidence = f"{found.why}: machines are emulated, with the same results and several times slower"
    if not device.exists():
        return [Finding("kvm", title, "limited", evidence, "switch virtualization on, in the firmware or by your host")]
    if not found.tried:
        name = host.user.name
        step = ("usermod", "-aG", "kvm", name)
        return [Finding("kvm", title, "limited", evidence, f"{' '.join(step)}, then log in again", fix=(step,))]
    return [
        Finding("kvm", title, "limited", evidence, "nothing to do on this host; one with a KVM that works is faster")
    ]


@contextmanager
def _kernel(host: Host, cache: Path) -> Iterator[tuple[Path | None, Path | None]]:
    """A kernel to start, and its first file system: those of a box, else this host's own kernel; None without both."""
    box = next(iter(sorted((cache / "boxes").glob("*.box"))), None)
    if box is not None:
        with tempfile.TemporaryDirectory(prefix="labctl-") as directory:
            place = Path(directory)
            with tarfile.open(box) as tar:
                for name in ("vmlinuz", "initrd"):
                    stored = tar.extractfile(name)
                    (place / name).write_bytes(stored.read() if stored is not None else b"")
            yield place / "vmlinuz", place / "initrd"
        return
    own = host.path(f"/boot/vmlinuz-{os.uname().release}")
    yield (own if os.access(own, os.R_OK) else None), None
