"""Questions about the kernel: which ways it has for what labs do. What it lacks is information, not an error."""

from __future__ import annotations

import os

from labctl.probe.finding import Finding
from labctl.probe.host import Host


def kernel_findings(host: Host) -> list[Finding]:
    """File systems, devices and queueing disciplines; where a module would bring one, that is said."""
    in_user_space = "nothing to do: containers mount in user space, virtual machines have a kernel of their own"
    return [
        _module(host, "nfs", "NFS client", "nfs", in_user_space, filesystem="nfs4"),
        _module(host, "iscsi", "iSCSI initiator", "iscsi_tcp", in_user_space),
        _device(host, "fuse", "FUSE", "/dev/fuse", "modprobe fuse, for shared storage in containers"),
        _device(host, "loop", "loop devices", "/dev/loop-control", "modprobe loop, for shared storage in containers"),
    ]


def netem_findings(host: Host) -> list[Finding]:
    """Delay and loss by the kernel, really tried in a network namespace that goes with the command."""
    title = "netem"
    if not (host.find("unshare") and host.find("tc")):
        return [Finding("netem", title, "unknown", "iproute2 or unshare is not there to try")]
    namespace = ["unshare", "--net"] if host.uid == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    tried = host.run([*namespace, "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"], 3)
    if tried.code == 0:
        return [Finding("netem", title, "ok", "delay and loss between nodes are possible")]
    last = tried.output.splitlines()[-1] if tried.output else "refused"
    return [Finding("netem", title, "limited", f"no delay between nodes: {last}", "a kernel with sch_netem has it")]


def _module(host: Host, key: str, title: str, module: str, remedy: str, *, filesystem: str = "") -> Finding:
    if filesystem and filesystem in host.text("/proc/filesystems").split():
        return Finding(key, title, "ok", "in the kernel")
    if host.path(f"/sys/module/{module}").is_dir():
        return Finding(key, title, "ok", "in the kernel")
    release = host.text("/proc/sys/kernel/osrelease").strip()
    for listing in ("modules.dep", "modules.builtin"):
        for base in ("/lib/modules", "/usr/lib/modules"):
            if f"/{module}.ko" in host.text(f"{base}/{release}/{listing}"):
                return Finding(key, title, "ok", f"as a module ({module})")
    return Finding(key, title, "limited", "not in this kernel", remedy)


def _device(host: Host, key: str, title: str, device: str, remedy: str) -> Finding:
    try:
        descriptor = os.open(host.path(device), os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except PermissionError:
        # The engine runs as root and hands it to a helper: that this user may not open it does not matter.
        return Finding(key, title, "ok", f"{device} (root only)")
    except OSError as error:
        return Finding(key, title, "limited", f"{device}: {error.strerror}", remedy)
    os.close(descriptor)
    return Finding(key, title, "ok", device)
