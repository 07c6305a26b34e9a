"""Questions about libvirt: that it runs, that it can start a machine, and that it has room for its disk."""

from __future__ import annotations

import grp
import os
from pathlib import Path

from labctl.probe.finding import Argv, Finding
from labctl.probe.host import Host

_SOCKETS = ("/run/libvirt/libvirt-sock", "/var/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock")
_PROGRAMS = {
    "virsh": "libvirt-clients",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "dnsmasq": "dnsmasq-base",
    "iptables": "iptables",
    "nft": "nftables",
    "ip": "iproute2",
}
"""What libvirt, Vagrant and labctl call for machines and their networks, and Debian's package of each."""

_ROOM, _ENOUGH = 1 << 30, 5 << 30
"""Bytes without which no machine is made, and with which a small lab is."""

_VIRSH = ("virsh", "-q", "-c", "qemu:///system")
_TRIAL = """\
<domain type='qemu'><name>labctl-doctor-{pid}</name><memory unit='MiB'>64</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>
"""
"""A machine without disk or network. libvirt removes it when the command ends that made it."""

_SETTINGS = """\
# labctl: this host has no systemd, whose control groups and mounts libvirt counts on otherwise.
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
"""
_CONFIGURATION = "/etc/libvirt/qemu.conf"
_WHO = """\
# labctl: without a system bus there is no polkit to ask; whoever is in the group may.
auth_unix_rw = "none"
unix_sock_group = "libvirt"
unix_sock_rw_perms = "0770"
"""
_DAEMON = "/etc/libvirt/libvirtd.conf"
_POOL_PLACE = "/var/lib/libvirt/images"

_START = (
    "mkdir -p /run/libvirt; virtlogd -d; libvirtd -d; "
    "for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do "
    "virsh -q -c qemu:///system version > /dev/null 2>&1 && exit 0; sleep 1; done; "
    'echo "libvirtd does not answer" >&2; exit 1'
)

_AGAIN: Argv = ("sh", "-c", f'kill "$(cat /run/libvirtd.pid)"; sleep 2; {_START}')


def hypervisor_findings(host: Host) -> list[Finding]:
    """One line for libvirt, and where it answers one for its disks."""
    title = "hypervisor"
    lacking = {program: package for program, package in _PROGRAMS.items() if not host.find(program)}
    if not (host.find("libvirtd") or host.find("virtqemud")):
        lacking = {"libvirtd": "libvirt-daemon-system", **lacking}
    if lacking:
        packages = tuple(lacking.values())
        evidence = f"not installed: {', '.join(lacking)}"
        return [
            Finding(
                "hypervisor", title, "missing", evidence, f"install {' '.join(packages)}",
                packages=packages, fix=_join_group(host),
            )
        ]  # fmt: skip
    if not any(host.path(path).exists() for path in _SOCKETS):
        return [_down(host, "libvirt is installed and does not run")]
    asked = host.run([*_VIRSH, "version"], 20)
    if asked.code != 0:
        return [_refusing(host, asked.output)]
    tried = host.run(["sh", "-c", 'printf %s "$0" | "$@"', _TRIAL.format(pid=os.getpid()), *_trying()], 40)
    if tried.code != 0:
        return [_failing(host, _last(tried.output))]
    version = next((line.rpartition(": ")[2] for line in asked.output.splitlines() if "hypervisor" in line), "libvirt")
    return [Finding("hypervisor", title, "ok", f"{version}, a machine starts"), _pool(host), *_reach(host)]


def _trying() -> Argv:
    return (*_VIRSH, "create", "--paused", "--autodestroy", "/dev/stdin")


def _down(host: Host, evidence: str) -> Finding:
    start: Argv = ("systemctl", "enable", "--now", "libvirtd") if host.has_systemd else ("sh", "-c", _START)
    return Finding("hypervisor", "hypervisor", "missing", evidence, "start it", fix=(*_join_group(host), start))


def _refusing(host: Host, said: str) -> Finding:
    """libvirt is there and does not speak to this user, or to nobody."""
    if "system bus" in said and not host.has_systemd:
        evidence = "libvirt asks polkit who may use it, which does not run without systemd"
        write: Argv = ("sh", "-c", f'printf %s "$0" >> {_DAEMON}', _WHO)
        remedy = f"let the members of the group libvirt use it ({_DAEMON}), and start it again"
        steps = (*_join_group(host), write, _AGAIN)
        return Finding("hypervisor", "hypervisor", "missing", evidence, remedy, fix=steps)
    if "Permission denied" not in said and "authentication" not in said:
        return _down(host, f"libvirt does not answer: {_last(said)}")
    name = host.user.name
    if name in _members():
        evidence, remedy = f"{name} joined the group libvirt after this session began", "log in again"
        return Finding("hypervisor", "hypervisor", "missing", evidence, remedy)
    evidence = f"no permission: {name} is not in the group libvirt"
    remedy = f"usermod -aG libvirt {name} (whoever is in that group is as good as root), then log in again"
    return Finding("hypervisor", "hypervisor", "missing", evidence, remedy, fix=_join_group(host))


def _failing(host: Host, why: str) -> Finding:
    """libvirt answers, and starts no machine. Without systemd that is a matter of its settings."""
    evidence = f"libvirt starts no machine: {why}"
    if host.has_systemd or "# labctl" in host.text(_CONFIGURATION):
        return Finding("hypervisor", "hypervisor", "missing", evidence, "look at /var/log/libvirt/qemu")
    write: Argv = ("sh", "-c", f'printf %s "$0" >> {_CONFIGURATION}', _SETTINGS)
    remedy = f"let it do without systemd ({_CONFIGURATION}), and start it again"
    return Finding("hypervisor", "hypervisor", "missing", evidence, remedy, fix=(write, _AGAIN))


def _pool(host: Host) -> Finding:
    """Where disks lie, and the room there."""
    title = "disks of machines"
    asked = host.run([*_VIRSH, "pool-info", "--bytes", "default"], 20)
    if asked.code != 0:
        define = (*_VIRSH, "pool-define-as", "default", "dir", "--target", _POOL_PLACE)
        steps: tuple[Argv, ...] = (define, (*_VIRSH, "pool-build", "default"), *_begin())
        return Finding("pool", title, "missing", "libvirt has no storage pool `default`", "make it", fix=steps)
    facts = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in asked.output.splitlines())
    }
    if facts.get("State") != "running":
        return Finding("pool", title, "missing", "the storage pool `default` is not active", "start it", fix=_begin())
    free = int(facts["Available"]) if facts.get("Available", "").isdigit() else None
    if free is None:
        return Finding("pool", title, "unknown", "the room in the storage pool `default` is not known")
    evidence = f"{free / 1e9:.0f} GB free in the storage pool `default`"
    if free >= _ENOUGH:
        return Finding("pool", title, "ok", evidence)
    return Finding("pool", title, "missing" if free < _ROOM else "limited", evidence, "make room: labctl box prune")


def _reach(host: Host) -> list[Finding]:
    """Whether machines, which run as a user of libvirt's, come to their kernels below the home directory."""
    from labctl.providers.vagrant import reach

    home = Path(host.environ.get("VAGRANT_HOME") or host.user.home / ".vagrant.d")
    closed = reach.barrier(home, host.path(_CONFIGURATION))
    if closed is None:
        return []
    evidence = f"machines run as a user of libvirt's, who may not pass {closed}"
    step = ("chmod", "o+x", str(closed))
    remedy = f"{' '.join(step)} (others may then pass through, not list it)"
    return [Finding("reach", "boxes of machines", "missing", evidence, remedy, fix=(step,))]


def _begin() -> tuple[Argv, ...]:
    return (*_VIRSH, "pool-start", "default"), (*_VIRSH, "pool-autostart", "default")


def _join_group(host: Host) -> tuple[Argv, ...]:
    """Whoever asked may use libvirt without being root, once it is there."""
    name = host.user.name
    return () if host.user.uid == 0 or name in _members() else (("usermod", "-aG", "libvirt", name),)


def _members() -> frozenset[str]:
    try:
        return frozenset(grp.getgrnam("libvirt").gr_mem)
    except KeyError:
        return frozenset()


def _last(said: str) -> str:
    lines = [line.removeprefix("error: ") for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"
