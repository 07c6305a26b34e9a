"""Questions about virtual machines: Vagrant, its hypervisor, and what accelerates it."""

from __future__ import annotations

import os

from labctl.probe.finding import Finding
from labctl.probe.host import Host

_SOCKETS = ("/run/libvirt/libvirt-sock", "/var/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock")


def machine_findings(host: Host) -> list[Finding]:
    """What labs with ``provider: vagrant`` need."""
    return [_vagrant(host), _hypervisor(host), _acceleration(host)]


def _vagrant(host: Host) -> Finding:
    if not host.find("vagrant"):
        return Finding(
            "vagrant", "Vagrant", "missing", "not installed", "install vagrant and vagrant-libvirt",
            packages=("vagrant", "vagrant-libvirt"),
        )  # fmt: skip
    tried = host.run(["vagrant", "--version"], 20)
    if tried.code != 0:
        return Finding(
            "vagrant",
            "Vagrant",
            "missing",
            tried.output.splitlines()[-1] if tried.output else "fails",
            "reinstall vagrant",
        )
    return Finding("vagrant", "Vagrant", "ok", tried.output.splitlines()[-1])


def _hypervisor(host: Host) -> Finding:
    title = "hypervisor"
    if host.find("VBoxManage"):
        return Finding("hypervisor", title, "unknown", "VirtualBox, not tested with labctl", "use libvirt")
    if not (host.find("libvirtd") or host.find("virtqemud")):
        packages = ("dnsmasq-base", "libvirt-clients", "libvirt-daemon-system", "qemu-system-x86", "qemu-utils")
        return Finding(
            "hypervisor",
            title,
            "missing",
            "libvirt is not installed",
            f"install {' '.join(packages)}",
            packages=packages,
        )
    if not any(host.path(path).exists() for path in _SOCKETS):
        start = (
            ("systemctl", "enable", "--now", "libvirtd")
            if host.has_systemd
            else ("sh", "-c", "virtlogd -d; libvirtd -d")
        )
        return Finding(
            "hypervisor", title, "missing", "libvirt is installed and does not run", "start it", fix=(start,)
        )
    return Finding("hypervisor", title, "ok", "libvirt runs")


def _acceleration(host: Host) -> Finding:
    """Only whether the device can be opened. Whether a guest really runs on it is another question (some hang)."""
    title = "acceleration"
    try:
        os.close(os.open(host.path("/dev/kvm"), os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return Finding("kvm", title, "limited", f"/dev/kvm: {error.strerror}: machines are emulated, and slow")
    return Finding("kvm", title, "unknown", "/dev/kvm can be opened; whether a guest runs on it was not tried")
