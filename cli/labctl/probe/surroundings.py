"""Questions about the rest of the host: firewall, names, the user's own programs, where state lies."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from labctl.probe.finding import Finding
from labctl.probe.host import Host
from labctl.probe.trust import proxy_variables

_BROWSERS = (
    "xdg-open", "chromium", "google-chrome", "firefox", "firefox-esr", "epiphany-browser", "falkon", "brave-browser",
)  # fmt: skip
_LEGACY = "/usr/sbin/iptables-legacy"


def firewall_findings(host: Host) -> list[Finding]:
    """Whether the engine can write its NAT rules: the program is there, and this kernel understands its backend."""
    title = "iptables"
    if not host.find("iptables"):
        return [
            Finding(
                "iptables", title, "missing", "iptables is not installed", "install iptables", packages=("iptables",)
            )
        ]
    version = host.run(["iptables", "--version"], 3).output or "version unknown"
    if host.uid != 0:
        return [Finding("iptables", title, "ok", version)]
    tried = host.run(["iptables", "-w", "3", "-t", "nat", "-S"], 5)
    if tried.code == 0:
        return [Finding("iptables", title, "ok", version)]
    last = tried.output.splitlines()[-1] if tried.output else "no rules can be read"
    if host.find("iptables-legacy") and host.run(["iptables-legacy", "-w", "3", "-t", "nat", "-S"], 5).code == 0:
        step = ("update-alternatives", "--set", "iptables", _LEGACY)
        evidence = f"{version}: this kernel has only the legacy backend ({last})"
        return [Finding("iptables", title, "missing", evidence, " ".join(step), fix=(step,))]
    return [
        Finding(
            "iptables", title, "limited", f"{version}: {last}", "load the kernel's NAT modules: modprobe iptable_nat"
        )
    ]


def cgroup_mount_findings(host: Host) -> list[Finding]:
    """Without systemd nobody may have mounted the control groups, and the engine does not start."""
    if host.has_systemd:
        return []
    place = host.path("/sys/fs/cgroup")
    if not place.is_dir() or any(place.iterdir()):
        return []
    step = ("mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup")
    return [
        Finding(
            "cgroup-mount", "control groups", "missing", "not mounted: no engine can start", " ".join(step), fix=(step,)
        )
    ]


def apparmor_findings(host: Host) -> list[Finding]:
    """A kernel with AppArmor, but without its parser: the engine cannot start a container."""
    if host.text("/sys/module/apparmor/parameters/enabled").strip() != "Y" or host.find("apparmor_parser"):
        return []
    evidence = "the kernel enforces profiles that nothing can load: containers do not start"
    return [Finding("apparmor", "AppArmor", "missing", evidence, "install apparmor", packages=("apparmor",))]


def resolver_findings(host: Host) -> list[Finding]:
    """Whether names of the outside can be resolved, by the host and (through the engine) by nodes."""
    title = "name resolution"
    servers = [
        words[1]
        for words in (line.split() for line in host.text("/etc/resolv.conf").splitlines())
        if len(words) > 1 and words[0] == "nameserver"
    ]
    if not servers:
        return [Finding("dns", title, "limited", "/etc/resolv.conf names no server", "add a nameserver line to it")]
    upstream = host.text("/run/systemd/resolve/resolv.conf")
    if all(server.startswith("127.") or server == "::1" for server in servers) and "nameserver" not in upstream:
        evidence = f"{' '.join(servers)} is this host itself: from a node it cannot be reached"
        return [
            Finding(
                "dns", title, "limited", evidence, 'name a reachable server in /etc/docker/daemon.json ("dns": […])'
            )
        ]
    source = _package_source(host)
    if source is None or proxy_variables(host.environ):
        return [Finding("dns", title, "ok", f"asked: {' '.join(servers)}")]
    try:
        socket.getaddrinfo(source, 80, type=socket.SOCK_STREAM)
    except OSError as error:
        evidence = f"{source}, where packages come from: {error.strerror or error}"
        return [
            Finding("dns", title, "limited", evidence, "without it nothing new can be built: repair /etc/resolv.conf")
        ]
    return [Finding("dns", title, "ok", f"{source} is known to {' '.join(servers)}")]


def _package_source(host: Host) -> str | None:
    """The host that the distribution's packages come from, as apt is set up."""
    directory = host.path("/etc/apt/sources.list.d")
    files = [host.path("/etc/apt/sources.list"), *(sorted(directory.iterdir()) if directory.is_dir() else [])]
    for file in files:
        for line in host.text(str(file.relative_to(host.root))).splitlines():
            words = line.split()
            if words[:1] in (["deb"], ["URIs:"]):
                for word in words[1:]:
                    parts = urlsplit(word)
                    if parts.scheme in ("http", "https") and parts.hostname:
                        return parts.hostname
    return None


def program_findings(host: Host) -> list[Finding]:
    """The user's own programs that labctl makes use of."""
    ssh, browser = host.find("ssh"), host.environ.get("BROWSER") or next(filter(None, map(host.find, _BROWSERS)), None)
    graphical = any(host.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    found = [
        Finding("ssh", "ssh client", "ok", ssh)
        if ssh
        else Finding(
            "ssh", "ssh client", "limited", "not there: labctl ssh and ssh -F need it", "install openssh-client",
            packages=("openssh-client",),
        )
    ]  # fmt: skip
    if browser and graphical:
        found.append(Finding("browser", "browser", "ok", browser))
    else:
        why = "no screen here" if browser else "none found"
        found.append(Finding("browser", "browser", "ok", f"{why}: labctl vnc prints the address to open elsewhere"))
    return found


def user_findings(host: Host) -> list[Finding]:
    """As whom labctl works, and whose directories it uses."""
    title, caller = "user", host.user
    if host.uid == 0 and caller.uid != 0:
        evidence = f"root, called by {caller.name}: ~ in a lab file is {caller.home}, state lies with root's"
        return [Finding("user", title, "ok", evidence)]
    return [Finding("user", title, "ok", f"{caller.name}, home directory {caller.home}")]
