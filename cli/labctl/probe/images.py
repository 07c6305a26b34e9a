"""Questions about where a box's base image can come from, and what the host gives to builds."""

from __future__ import annotations

from labctl.probe.engine_api import UnreachableError, ask_engine, endpoint
from labctl.probe.finding import Finding
from labctl.probe.host import Host
from labctl.probe.trust import extra_certificates, loopback_proxies, proxy_variables, without_password

_ASKED = "debian:stable-slim"
_TITLE = "base images"


def image_findings(host: Host) -> list[Finding]:
    """Whether a registry answers; if none does, whether a base image can be bootstrapped on this host.

    The engine itself is asked to ask the registry it is set up for: its mirrors, proxies and logins count.
    """
    answers, why = _registry(host)
    bootstrap, lacking = _bootstrap(host)
    if answers:
        return [
            Finding("images", _TITLE, "ok", "a registry answers" + (", mmdebstrap is there too" if bootstrap else ""))
        ]
    if bootstrap:
        return [Finding("images", _TITLE, "ok", f"bootstrapped by mmdebstrap (no registry: {why})")]
    return [
        Finding(
            "images",
            _TITLE,
            "missing",
            f"no registry answers ({why}), and {lacking[0]} is not there to bootstrap one",
            f"install {' '.join(lacking)}",
            packages=lacking,
        )
    ]


def _registry(host: Host) -> tuple[bool, str]:
    try:
        answer = ask_engine(endpoint(host), f"/distribution/{_ASKED}/json", timeout=8)
    except UnreachableError as error:
        return False, "the engine does not answer" if error.reason != "silent" else "no answer within 8 s"
    if answer.status == 200:
        return True, ""
    message = answer.body.get("message", "") if isinstance(answer.body, dict) else str(answer.body)
    return False, _last_words(message) or f"status {answer.status}"


def _last_words(message: str) -> str:
    """The end of Go's chain of errors, which is its cause: ``… dial tcp: lookup …: no such host``."""
    return message.strip().rsplit(": ", 1)[-1][:120]


def _bootstrap(host: Host) -> tuple[bool, tuple[str, ...]]:
    """Whether mmdebstrap can work here; else Debian's packages that it needs."""
    needed = [] if host.find("mmdebstrap") else ["mmdebstrap"]
    if host.system.id != "debian" and not host.path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        needed.append("debian-archive-keyring")
    if host.uid != 0 and not host.find("newuidmap"):
        needed.append("uidmap")
    return not needed, tuple(needed)


def certificate_findings(host: Host) -> list[Finding]:
    """Further CA certificates of the host, which builds and nodes get too."""
    count = len(extra_certificates(host.root))
    evidence = f"{count} added to this host: builds and nodes trust them too" if count else "none added to this host"
    return [Finding("certificates", "CA certificates", "ok", evidence)]


def proxy_findings(host: Host) -> list[Finding]:
    """Proxy variables of the caller, which builds and nodes get too unless only the host itself can reach the proxy."""
    proxies = proxy_variables(host.environ)
    local = loopback_proxies(proxies)
    title = "proxies"
    if local:
        shown = ", ".join(f"{name}={without_password(value)}" for name, value in sorted(local.items()))
        remedy = "let the proxy listen on an address that nodes can reach, and set the variables to it"
        return [
            Finding(
                "proxies", title, "limited", f"{shown}: from a node that is the node itself, so it is left out", remedy
            )
        ]
    names = [name for name in proxies if name != "no_proxy"]
    if not names:
        return [Finding("proxies", title, "ok", "none set")]
    shown = ", ".join(f"{name}={without_password(proxies[name])}" for name in names)
    return [Finding("proxies", title, "ok", f"{shown}: builds and nodes use them too")]
