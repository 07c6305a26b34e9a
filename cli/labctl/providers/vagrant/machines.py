"""One machine: what it is made with, and its life. Vagrant makes and removes it; the rest is libvirt and ssh."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from labctl.errors import DeadlineError, LabctlError
from labctl.plan.model import JOINT, Desired, DesiredNetwork, DesiredNode, DesiredVolume, MachineBox
from labctl.providers import hosttables, labels
from labctl.providers.vagrant import boxes, libvirt, taps, volumes
from labctl.providers.vagrant.vagrantfile import Disk, Interface, Machine

MEMORY, DESKTOP_MEMORY = 512, 768
"""MiB of a machine whose lab file does not say."""

HEALTH = "labctl.health"
"""The label of a machine that has a healthcheck."""

LOOK_EVERY = 5.0
"""Seconds after which it is looked whether a machine that does not answer still runs."""

SYSTEM_DISK = "vda"

BOOT_TIMEOUT = 300.0
"""Seconds from the start of a machine to its ssh."""

_PHASES = (
    (r"Kernel panic - not syncing: ?(.*)", "its kernel stopped: {0}"),
    (r"Out of memory: Killed process \d+ \((\S+)\)", "it has too little memory, {0} was killed: give it more `memory`"),
    (r"lab: no root file system", "its kernel started, and its disk holds no file system: labctl box verify"),
    (r"ssh host key: ", "its ssh server started, and is not reached: look at its networks"),
    (r"emergency mode|Dependency failed for", "systemd started, and gave up before its services"),
    (r"lab: disk is mounted", "systemd started, and its ssh server did not"),
    (r"lab: kernel is up", "its kernel started, and its disk was not found"),
    (r"", "its kernel did not start"),
)
"""What a console says, what means most first, and what that means."""

_FIRST = re.compile(r"SeaBIOS \(|lab: kernel is up")
"""What a start begins with."""

_CONTROL = re.compile(r"\x1b(\[[0-9;?!]*[A-Za-z]|[a-zA-Z])|[\x00-\x08\x0b-\x1f]")


def machine(node: DesiredNode, desired: Desired, identity: Mapping[str, str], cache: Path) -> Machine:
    """What Vagrant is to make for `node`."""
    outside = next((name for name in node.addresses if not desired.networks[name].internal), None)
    interfaces = tuple(
        Interface(
            network=desired.networks[JOINT + name if JOINT + name in desired.networks else name].engine_name,
            address=str(address),
            prefix=desired.networks[name].subnet.prefixlen,
            mac="525400" + _digest(desired.lab, node.name, name)[:6],
            tap=taps.name(desired.lab, node.name, name),
            gateway=str(desired.networks[name].gateway) if name == outside else "",
        )
        for name, address in node.addresses.items()
    )
    memory = node.node.memory
    return Machine(
        name=node.name,
        box=node.image,
        box_file=str(boxes.path_of(cache, node.image)),
        memory=math.ceil(memory / (1 << 20)) if memory else DESKTOP_MEMORY if node.node.desktop else MEMORY,
        cpus=math.ceil(node.node.cpus or 1),
        labels=_labels(node, desired),
        key=_key(identity.get("LAB_KEY", "")),
        interfaces=interfaces,
        dns=_resolvers(desired.networks[outside]) if outside else (),
        disks=tuple(_disk(desired.volumes[name]) for name in node.volumes),
    )


def serial(engine_name: str) -> str:
    """The serial number of a volume's disk: 20 characters are what a disk of this kind can have."""
    return _digest(engine_name)[:20]


def _disk(volume: DesiredVolume) -> Disk:
    file = volumes.file_of(volume.engine_name)
    return Disk(file, volumes.capacity(volume) >> 30, serial(volume.engine_name))


def _resolvers(outside: DesiredNetwork) -> tuple[str, ...]:
    """Who answers questions about names beyond the lab: libvirt on its own networks, on others whom the host asks."""
    return (str(outside.gateway),) if outside.provider == "vagrant" else hosttables.resolvers()


def is_here(box: MachineBox | str, home: Path) -> bool:
    """Whether Vagrant, whose files are at `home`, has the box."""
    return directory_of(box, home) is not None


def directory_of(box: MachineBox | str, home: Path) -> Path | None:
    """Where Vagrant has unpacked the box; None when it has not."""
    tag = box if isinstance(box, str) else box.tag
    found = sorted((home / "boxes" / tag.replace("/", "-VAGRANTSLASH-")).glob("*/*libvirt*"))
    return next((each for path in found for each in (path, *path.glob("amd64")) if (each / "box.img").exists()), None)


def state(domain: str) -> str | None:
    """The plan's word for the state of the machine; None when there is none."""
    found = next((each for each in libvirt.domains(domain) if each.name == domain), None)
    return found.state if found is not None else None


def ended(name: str, console: Path) -> LabctlError:
    """The error of a machine that ended while it started."""
    return LabctlError(
        f"{name} ended while it started: {phase(console)}",
        details=tail(console, 12),
        hint=f"all that it said: labctl logs {name}",
        code="LAB-VM-005",
    )


def wait(name: str, domain: str, console: Path, answers: Callable[[], bool], check: Callable[[], None] | None) -> None:
    """Until the machine lets us in. Raises `LabctlError` with the console's last lines and how far it came."""
    end = time.monotonic() + BOOT_TIMEOUT
    looked = time.monotonic()
    while not answers():
        if check is not None:
            check()
        now = time.monotonic()
        if now - looked > LOOK_EVERY:
            looked = now
            if state(domain) not in ("running", "paused"):
                raise ended(name, console)
        if now > end:
            raise DeadlineError(
                f"{name} did not answer over ssh within {BOOT_TIMEOUT:g} s: {phase(console)}",
                details=tail(console, 12),
                hint=f"see what it said: labctl logs {name}",
                code="LAB-VM-005",
            )
        time.sleep(0.25)


def shut_down(domain: str, ask: Callable[[], None], *, timeout: float) -> None:
    """End a machine in order by `ask`; switch it off when it has not ended in time."""
    if state(domain) in (None, "exited"):
        return
    end = time.monotonic() + timeout
    with suppress(LabctlError):
        ask()
    while time.monotonic() < end:
        if state(domain) in (None, "exited"):
            return
        time.sleep(0.25)
    switch_off(domain)


def switch_off(domain: str) -> None:
    """End a machine at once; gone or ended is fine."""
    try:
        libvirt.virsh("destroy", domain)
    except LabctlError as error:
        if not libvirt.gone(error) and "not running" not in " ".join(error.details):
            raise


def undefine(domain: str) -> None:
    """Remove a machine that Vagrant no longer knows, with its system's disk; gone is fine. Volumes outlive it."""
    switch_off(domain)
    try:
        libvirt.virsh("undefine", domain, "--storage", SYSTEM_DISK, "--snapshots-metadata", "--managed-save")
    except LabctlError as error:
        if not libvirt.gone(error):
            raise


def phase(console: Path) -> str:
    """How far a machine came in its start, by what it said."""
    said = "\n".join(_last_start(tail(console, 400)))
    for pattern, meaning in _PHASES:
        if (found := re.search(pattern, said)) is not None:
            return meaning.format(*found.groups())
    raise AssertionError


def _last_start(lines: list[str]) -> list[str]:
    """What was said since the machine last began: a console is written on from start to start."""
    first = max((number for number, line in enumerate(lines) if _FIRST.search(line)), default=0)
    return lines[first:]


def tail(console: Path, lines: int) -> list[str]:
    """The last lines that hold something, without what steers a terminal."""
    try:
        text = console.read_bytes()[-65536:].decode(errors="replace")
    except OSError:
        return []
    cleaned = (_CONTROL.sub("", line).strip() for line in text.splitlines())
    return [line for line in cleaned if line][-lines:]


def label(node: DesiredNode) -> None:
    """Have the machine known for what can change while it runs: whether it has a healthcheck."""
    domain = node.engine_name
    found = next((each for each in libvirt.domains(domain) if each.name == domain), None)
    if found is None:
        return
    known = json.loads(found.description or "{}")
    if known.get(HEALTH, "") != _checked(node):
        libvirt.virsh("desc", domain, "--config", "--new-desc", _text({**known, HEALTH: _checked(node)}))


def _labels(node: DesiredNode, desired: Desired) -> str:
    """As for a container, and what else cannot be seen."""
    given = labels.of_node(desired, node) | {"labctl.image-tag": node.image, "labctl.created": f"{time.time():.0f}"}
    return _text({**given, HEALTH: _checked(node)})


def _checked(node: DesiredNode) -> str:
    return "yes" if node.node.healthcheck else ""


def _text(given: Mapping[str, str]) -> str:
    """Labels as text with nothing in it that XML would read as its own."""
    return json.dumps(given).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _digest(*words: str) -> str:
    return sha256("/".join(words).encode()).hexdigest()


def _key(line: str) -> str:
    words = line.split()
    return words[1] if len(words) > 1 else ""
