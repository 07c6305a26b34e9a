"""What Vagrant and libvirt mean: their last words as one sentence with one thing to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from labctl.errors import BusyError, ConflictError, HostError, LabctlError

_Make = Callable[[re.Match[str], Sequence[str]], LabctlError]


def of(said: Sequence[str]) -> LabctlError | None:
    """The error that the last words of a failed call stand for; None when they say nothing that is known."""
    text = "\n".join(said)
    for pattern, make in _KNOWN:
        if (found := pattern.search(text)) is not None:
            return make(found, said)
    return None


def _host(message: str, hint: str, code: str = "LAB-VM-001") -> _Make:
    """An error of the host: ``{0}`` in the message is what the pattern's first group found."""

    def make(found: re.Match[str], said: Sequence[str]) -> LabctlError:
        return HostError(message.format(_first(found)), details=said, hint=hint, code=code)

    return make


def _busy(_: re.Match[str], said: Sequence[str]) -> LabctlError:
    return BusyError("another Vagrant works on these machines", details=said, hint="wait until it is done")


def _first(found: re.Match[str]) -> str:
    return next((group for group in found.groups() if group), "")


def _taken(found: re.Match[str], said: Sequence[str]) -> LabctlError:
    name = _first(found)
    return ConflictError(
        f"libvirt has a machine {name} already, and it is not labctl's",
        taken=f"machine {name}",
        retry=False,
        details=said,
        hint=f"give the lab another `name`, or remove that one: virsh undefine {name}",
        code="LAB-HOST-008",
    )


_DOCTOR = "labctl doctor --for vagrant"
_TABLE: tuple[tuple[str, _Make], ...] = (
    (
        r"No space left on device|Disk quota exceeded",
        _host("the disk is full where machines' disks or boxes lie", "labctl box prune", "LAB-HOST-005"),
    ),
    (
        r"annot allocate memory|cannot set up guest memory",
        _host("this host has no memory left for another machine", "give nodes less `memory`, or stop some"),
    ),
    (
        r"failed to set MSR|Could not access KVM kernel module|failed to initialize kvm|KVM is not available",
        _host("a machine cannot run with KVM on this host", _DOCTOR),
    ),
    (
        r"authentication unavailable|libvirt-sock': Permission denied|polkit",
        _host("no permission to use libvirt", "sudo usermod -aG libvirt $USER, then log in again"),
    ),
    (
        r"(/[^\s'\"]+)['\"]?:? (?:is not accessible|Permission denied)"
        r"|[Uu]nable to (?:open|access)[^/]*(/[^\s'\"]+).*denied",
        _host(
            "libvirt may not read {0}",
            "let it pass through your home directory: chmod o+x ~ (libvirt runs machines as a user of its own)",
        ),
    ),
    (
        r"[Ff]ailed to connect (?:to the hypervisor|socket)|Unable to connect to libvirt|reading data: Input/output",
        _host("libvirt does not run, or ended just now", "labctl doctor --fix --for vagrant"),
    ),
    (
        r"provider '?libvirt'? could not be found|[Uu]nknown provider|plugin.*vagrant-libvirt.*not installed",
        _host("Vagrant has no way to libvirt: vagrant-libvirt is not installed", "labctl doctor --fix --for vagrant"),
    ),
    (
        r"(?:could not|cannot|failed to) (?:open|find)[^\n]*?(/\S*?(?:vmlinuz|initrd|box\.img|qemu-emulated))",
        _host("a part of the box is gone: {0}", "labctl box remove BOX makes room for a new one, then labctl up"),
    ),
    (
        r"Image is not in qcow2 format|invalid qcow2|Image is corrupt|[Uu]nexpected end of (?:file|data)|Truncated tar",
        _host("a box is damaged", "labctl box verify says which", "LAB-IMG-007"),
    ),
    (
        r"The box '([^']+)' could not be found|Couldn't open file (\S+\.box)",
        _host("box {0} is not there", "labctl up again: it is made anew", "LAB-IMG-007"),
    ),
    (r"already executing an action|locked by another process|is locked", _busy),
    (r"domain '?([\w.-]+)'? already exists|Name `([\w.-]+)` of domain about to create is already taken", _taken),
    (
        r"[Nn]etwork not found: no network with matching name '([^']+)'|Network (\S+) is not available",
        _host("network {0} of the lab is gone", "labctl up again: it is made anew", "LAB-NET-007"),
    ),
    (
        r"Cannot get interface MTU on '([^']+)'|bridge (\S+): No such device",
        _host("bridge {0}, which machines are to be on, is gone", "labctl up again: it is made anew", "LAB-NET-007"),
    ),
)
_KNOWN = tuple((re.compile(pattern), make) for pattern, make in _TABLE)
