"""What must not be left of a lab of machines."""

from __future__ import annotations

from labctl.providers.vagrant import libvirt


def left(name: str) -> list[str]:
    """What libvirt has of a lab: machines, networks and disks."""
    volumes = [line.split()[0] for line in libvirt.virsh("vol-list", "default").splitlines() if line.strip()]
    return [
        *(each.name for each in libvirt.domains(f"labctl-{name}-")),
        *(each.name for each in libvirt.networks(f"labctl-{name}-")),
        *(each for each in volumes if each.startswith(f"labctl-{name}-")),
    ]
