"""A lab's virtual machines written for somebody else's program, which then needs labctl no more."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from labctl import api, features
from labctl.errors import LabctlError, UsageError
from labctl.features.ssh import AUTHORIZED_KEYS
from labctl.plan.model import MANAGEMENT, Desired, DesiredNode, Observed
from labctl.planning import wanted
from labctl.recipe import Entry, Facts

if TYPE_CHECKING:
    from labctl.model.lab import Lab
    from labctl.providers.vagrant.export import Exported

SEEDED = Entry("/etc/lab/seeded", b"")

_PREPARED = ("/usr/lib/lab/boot", "/usr/lib/lab/apply")
"""What brings a machine of labctl's own box to what its files say."""

_PLAIN = """\
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
xargs -r apt-get install -qq --no-install-recommends < /etc/lab/apply/packages
cat /etc/lab/hosts >> /etc/hosts
while read -r name sudo; do
  id "$name" > /dev/null 2>&1 || useradd --create-home --shell /bin/bash "$name"
  install -d -o "$name" -g "$name" -m 700 "/home/$name/.ssh"
  install -o "$name" -g "$name" -m 600 "/etc/lab/authorized_keys/$name" "/home/$name/.ssh/authorized_keys"
  [ "$sudo" != sudo ] || echo "$name ALL=(ALL:ALL) NOPASSWD: ALL" > "/etc/sudoers.d/lab-$name"
done < /etc/lab/apply/users
chpasswd < /etc/lab/apply/passwords
while read -r owner path; do chown -h "$owner" "$path"; done < /etc/lab/apply/owners
step() { (set -a; . /etc/lab/node.env; . /etc/lab/environment; set +a; cd /root; exec "$@") < /dev/null; }
steps() { . /etc/lab/apply/run; }
steps
while read -r name; do
  { printf '[Unit]\\nAfter=network-online.target\\n[Service]\\nExecStart=/etc/lab/services/%s\\n' "$name"
    printf 'Restart=always\\n[Install]\\nWantedBy=multi-user.target\\n'
  } > "/etc/systemd/system/lab-$name.service"
  systemctl enable -q --now "lab-$name.service"
done < /etc/lab/apply/services
"""
"""The same for a plain system, in the same order."""


@dataclass(frozen=True, slots=True)
class Written:
    """A Vagrantfile as text. `notices` say, a line each, what of the lab is not in it; `boxes` are those it names."""

    text: str
    notices: tuple[str, ...]
    boxes: tuple[str, ...]


def vagrantfile(lab: Lab, *, cache: Path, vagrant_home: Path) -> Written:
    """The Vagrantfile of the lab's machines; addresses are those that it has where it is up.

    Raises `UsageError` for a lab that has no machines.
    """
    from labctl.providers.vagrant import acceleration, machines

    try:
        observed = api.provider(node.provider for node in lab.nodes.values()).observe(lab.name)
    except LabctlError:
        observed = Observed(lab.name)  # a file needs no hypervisor
    desired = wanted(lab, observed)
    boxes = tuple(dict.fromkeys(each.image for each in _machines(desired)))
    known = next((found for tag in boxes if (found := machines.directory_of(tag, vagrant_home))), None)
    if known is not None:
        emulated = acceleration.is_emulated(cache, known / "vmlinuz", known / "initrd")
    else:
        emulated = not os.access("/dev/kvm", os.R_OK | os.W_OK)
    emulator = str(acceleration.bounded(cache)) if emulated else ""
    return Written(rendered(lab, desired, cache, emulated=emulated, emulator=emulator), tuple(_left_out(lab)), boxes)


def rendered(lab: Lab, desired: Desired, cache: Path, *, emulated: bool, emulator: str = "") -> str:
    """The text for the machines of `desired`, whose boxes lie in `cache`. Raises `UsageError` when it has none."""
    from labctl.providers.vagrant.export import Setting, render

    found = [_exported(lab, node, desired, cache) for node in _machines(desired)]
    if not found:
        raise UsageError(f"lab {lab.name} has no virtual machines", hint="`provider: vagrant` makes a node one")
    internal = frozenset(name for name, network in desired.networks.items() if network.internal)
    return render(Setting(lab.name, desired.networks[MANAGEMENT].subnet, emulated, emulator, internal), found)


def _machines(desired: Desired) -> list[DesiredNode]:
    return [node for node in desired.nodes.values() if node.provider == "vagrant"]


def _exported(lab: Lab, node: DesiredNode, desired: Desired, cache: Path) -> Exported:
    from labctl.providers.vagrant import machines
    from labctl.providers.vagrant.export import OURS, Exported
    from labctl.source.boxes import box

    made = machines.machine(node, desired, {}, cache)
    interfaces = tuple(replace(each, network=name) for each, name in zip(made.interfaces, node.addresses, strict=True))
    facts = Facts(lab.name, node.name, hosts=node.hosts, environment=tuple(node.node.environment.items()))
    # A desktop's password is labctl's to make, the machine's key the Vagrantfile's.
    seed = features.seed(replace(node.node, desktop=None), facts)
    files = tuple(each for each in seed if each.path != AUTHORIZED_KEYS)
    provider = node.node.vagrant_provider or OURS
    assert node.node.box is not None
    return Exported(
        replace(made, interfaces=interfaces),
        (*files, SEEDED) if provider == OURS else files,
        _PREPARED if provider == OURS else (_PLAIN,),
        provider,
        box(node.node.box).suite,
    )


def _left_out(lab: Lab) -> Iterator[str]:
    """What plain Vagrant is not told."""
    containers = [node.name for node in lab.nodes.values() if node.provider == "docker"]
    if containers:
        yield f"containers are left out: {', '.join(containers)}"
    parts: Mapping[str, list[str]] = {
        "desktops": [n.name for n in lab.nodes.values() if n.provider == "vagrant" and n.desktop],
        "volumes and disks": [
            n.name for n in lab.nodes.values() if n.provider == "vagrant" and (n.mounts or n.devices)
        ],
        "ports": [n.name for n in lab.nodes.values() if n.provider == "vagrant" and n.ports],
    }
    for what, nodes in parts.items():
        if nodes:
            yield f"{what} are left out: {', '.join(nodes)}"
    untested = sorted({n.vagrant_provider for n in lab.nodes.values() if n.vagrant_provider not in (None, "libvirt")})
    if untested:
        yield f"untested: machines of {', '.join(map(str, untested))}; labctl runs those of libvirt"
