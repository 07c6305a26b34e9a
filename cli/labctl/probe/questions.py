"""Which questions are asked for which kind of lab."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path

from labctl.model.lab import Lab, ProviderName
from labctl.probe.desktops import desktop_findings
from labctl.probe.engine import engine_findings
from labctl.probe.finding import Finding, Probe
from labctl.probe.hypervisor import hypervisor_findings
from labctl.probe.images import certificate_findings, image_findings, proxy_findings
from labctl.probe.kernel import kernel_findings, netem_findings
from labctl.probe.machines import acceleration_findings, box_findings, vagrant_findings
from labctl.probe.subnets import subnet_findings
from labctl.probe.surroundings import (
    apparmor_findings,
    cgroup_mount_findings,
    firewall_findings,
    program_findings,
    resolver_findings,
    user_findings,
)

_EVERYWHERE = (
    Probe("user", "user", user_findings),
    Probe("ssh", "programs", program_findings),
    Probe("certificates", "CA certificates", certificate_findings),
    Probe("proxies", "proxies", proxy_findings),
    Probe("dns", "name resolution", resolver_findings),
)
_CONTAINERS = (
    Probe("cgroup-mount", "control groups", cgroup_mount_findings),
    Probe("iptables", "iptables", firewall_findings, deadline=12),
    Probe("apparmor", "AppArmor", apparmor_findings),
    Probe("engine", "container engine", engine_findings, deadline=12, essential=True),
    Probe("subnets", "subnets", subnet_findings),
)
_BOXES = (Probe("images", "base images", image_findings, deadline=10),)
_MACHINES = (
    Probe("vagrant", "Vagrant", vagrant_findings, deadline=40, essential=True),
    Probe("hypervisor", "hypervisor", hypervisor_findings, deadline=60, essential=True),
    Probe("boxes", "making boxes", box_findings),
)
_KERNEL = (
    Probe("kernel", "kernel", kernel_findings),
    Probe("netem", "netem", netem_findings),
)


def kinds_of(lab: Lab) -> frozenset[ProviderName]:
    """The kinds of machines that the lab's nodes are."""
    return frozenset(node.provider for node in lab.nodes.values())


def has_boxes(lab: Lab) -> bool:
    """Whether a container of the lab is made from a box, so that a base image is needed."""
    return any(node.provider == "docker" and node.box is not None for node in lab.nodes.values())


def has_desktops_here(lab: Lab) -> bool:
    """Whether this host itself has to show the lab's desktops: it has some, and no containers."""
    return "docker" not in kinds_of(lab) and any(node.desktop for node in lab.nodes.values())


def questions(
    kinds: Collection[ProviderName], *, boxes: bool, cache: Path | None = None, desktops: bool = False
) -> tuple[Probe, ...]:
    """What to ask of a host that is to run `kinds` of machines; `boxes`: containers are made from boxes of labctl.

    `cache` is where the boxes of virtual machines lie, one of which is tried; `desktops`: they are shown by this host.
    """
    containers = _CONTAINERS + (_BOXES if boxes else ()) if "docker" in kinds else ()
    kvm = Probe("kvm", "acceleration", partial(acceleration_findings, cache=cache), deadline=40)
    shown = Probe("vm-desktops", "desktops of VMs", partial(desktop_findings, needed=desktops))
    return (*containers, *((*_MACHINES, kvm, shown) if "vagrant" in kinds else ()), *_EVERYWHERE, *_KERNEL)


def able(findings: Collection[Finding]) -> bool:
    """Whether the labs that were asked about can run on the host."""
    return not any(finding.status == "missing" for finding in findings)
