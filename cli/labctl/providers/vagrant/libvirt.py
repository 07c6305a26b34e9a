"""libvirt, asked and told through its own command: what is there of a lab, and the plain life of a machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import DeadlineError, HostError, LabctlError
from labctl.providers.vagrant import causes

URI = "qemu:///system"
TIMEOUT = 60.0

_SOCKETS = ("/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock")

_STARTING = ("start", "resume", "restore", "net-start")
"""What can fail for reasons of the host."""

_STATES = {"running": "running", "idle": "running", "paused": "paused", "shut off": "exited", "crashed": "dead"}


@dataclass(frozen=True, slots=True)
class Domain:
    """A machine as libvirt has it. `state` is the plan's word, `labels` what it was made with, as text."""

    name: str
    uuid: str
    state: str
    description: str


@dataclass(frozen=True, slots=True)
class Network:
    """A network as libvirt has it. `labels` is the text of its metadata."""

    name: str
    uuid: str
    active: bool
    bridge: str
    address: str
    prefix: int
    forward: str
    labels: str


def is_there() -> bool:
    """Whether libvirt can be asked at all: its command is installed and its service listens."""
    return shutil.which("virsh") is not None and any(Path(path).exists() for path in _SOCKETS)


def require() -> None:
    """Raise `HostError`, in one sentence, when libvirt is not installed or does not run."""
    if shutil.which("virsh") is None:
        raise HostError("libvirt is not installed", hint="labctl doctor --fix", code="LAB-VM-001")
    if not is_there():
        raise HostError("libvirt does not run", hint="labctl doctor --fix", code="LAB-VM-001")


def virsh(*argv: str, stdin: str | None = None, timeout: float = TIMEOUT) -> str:
    """What `virsh` says. Raises `DeadlineError`, `HostError`, or `LabctlError` with its own words."""
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["virsh", "-q", "-c", URI, *argv],
            env=environment,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DeadlineError(
            f"libvirt gave no answer within {timeout:g} s: {argv[0]}",
            hint="look at its log, then try again",
            code="LAB-VM-002",
        ) from None
    except OSError as error:
        raise HostError("libvirt is not installed", hint="labctl doctor --fix", code="LAB-VM-001") from error
    if done.returncode != 0:
        raise _refused(argv[0], done.stderr)
    return done.stdout


def domains(prefix: str) -> list[Domain]:
    """The machines whose names begin with `prefix`."""
    listed = [line for line in virsh("list", "--all", "--name").split() if line.startswith(prefix)]
    if not listed:
        return []
    asked = "; ".join(f"domstate {name}; dumpxml --inactive {name}" for name in listed)
    return list(_domains(virsh(asked)))


def networks(prefix: str) -> list[Network]:
    """The networks whose names begin with `prefix`."""
    listed = [line for line in virsh("net-list", "--all", "--name").split() if line.startswith(prefix)]
    if not listed:
        return []
    active = set(virsh("net-list", "--name").split())
    found = []
    for text in re.findall(r"<network\b.*?</network>", virsh("; ".join(f"net-dumpxml {n}" for n in listed)), re.DOTALL):
        root = ElementTree.fromstring(text)
        address = root.find("ip")
        forward = root.find("forward")
        bridge = root.find("bridge")
        name = root.findtext("name", "")
        found.append(
            Network(
                name=name,
                uuid=root.findtext("uuid", ""),
                active=name in active,
                bridge=bridge.get("name", "") if bridge is not None else "",
                address=address.get("address", "") if address is not None else "",
                prefix=_prefix(address),
                forward=forward.get("mode", "nat") if forward is not None else "",
                labels=root.findtext("metadata/{urn:labctl:labels}labels", ""),
            )
        )
    return found


def _prefix(address: ElementTree.Element | None) -> int:
    if address is None:
        return 32
    if (prefix := address.get("prefix")) is not None:
        return int(prefix)
    mask = [int(part) for part in address.get("netmask", "255.255.255.255").split(".")]
    return sum(part.bit_count() for part in mask)


def _domains(said: str) -> Iterator[Domain]:
    for state, text in re.findall(r"^(\w[\w ]*)\n+(<domain\b.*?</domain>)", said, re.DOTALL | re.MULTILINE):
        root = ElementTree.fromstring(text)
        yield Domain(
            name=root.findtext("name", ""),
            uuid=root.findtext("uuid", ""),
            state=_STATES.get(state.strip(), "exited"),
            description=root.findtext("description", ""),
        )


def _refused(doing: str, stderr: str) -> LabctlError:
    text = [line.removeprefix("error: ") for line in stderr.splitlines() if line.strip()]
    said = " ".join(text)
    if "Permission denied" in said or "authentication unavailable" in said:
        return HostError(
            "no permission to use libvirt",
            details=text,
            hint="sudo usermod -aG libvirt $USER, then log in again",
            code="LAB-VM-001",
        )
    if "system bus" in said:
        return HostError(
            "libvirt asks polkit who may use it, and polkit does not run",
            details=text,
            hint="labctl doctor --fix --for vagrant",
            code="LAB-VM-001",
        )
    if "failed to connect to the hypervisor" in said.lower() or "Failed to connect socket" in said:
        return HostError("libvirt does not run", details=text, hint="labctl doctor --fix", code="LAB-VM-001")
    known = causes.of(text) if doing in _STARTING else None
    return known or LabctlError(f"libvirt refused: {doing}", details=text, code="LAB-VM-003")


def gone(error: LabctlError) -> bool:
    """Whether libvirt refused because the thing is not there (any more)."""
    return any(re.search(r"not found|no domain with|no network with", line, re.IGNORECASE) for line in error.details)
