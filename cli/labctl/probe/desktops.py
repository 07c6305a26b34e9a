"""Questions about desktops of virtual machines: a lab without containers shows them by programs of the host."""

from __future__ import annotations

from labctl.features.gateway import ON_HOST
from labctl.probe.finding import Finding
from labctl.probe.host import Host


def desktop_findings(host: Host, *, needed: bool) -> list[Finding]:
    """Whether noVNC and websockify are there. Where they are not `needed` that is told, and nothing is installed."""
    title = "desktops of VMs"
    lacking = tuple(package for package, file in ON_HOST.items() if not host.path(file).is_file())
    if not lacking:
        return [Finding("vm-desktops", title, "ok", "noVNC and websockify are there")]
    evidence, remedy = f"not there: {', '.join(lacking)}", f"install {' '.join(lacking)}"
    if needed:
        return [Finding("vm-desktops", title, "missing", evidence, remedy, packages=lacking)]
    evidence += "; labs without containers need them for desktops"
    return [Finding("vm-desktops", title, "limited", evidence, "labctl doctor --fix -f FILE, with such a lab's file")]
