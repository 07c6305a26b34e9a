"""The kind `dns`: a name resolves, a name of the lab to the lab's own addresses."""

from __future__ import annotations

from labctl.checks.attempt import Attempt, Finding, of_tool

_RESOLVE = """
if command -v getent >/dev/null 2>&1; then
    found=$(getent ahostsv4 "$1" 2>/dev/null) || found=$(getent hosts "$1") || found=
elif command -v ping >/dev/null 2>&1; then
    # What answers does not matter: the first line has the address, whether or not that machine runs.
    found=$(ping -c 1 -w 1 "$1" 2>/dev/null | sed -n '1s/^PING [^(]*(\\([0-9.]*\\)).*/\\1/p')
else
    echo "it has neither getent nor ping" >&2; exit 97
fi
[ -n "$found" ] || { echo "$1 does not resolve" >&2; exit 1; }
printf '%s\\n' "$found" | cut -d ' ' -f 1 | sort -u
"""


def dns(attempt: Attempt) -> Finding:
    """The name resolves; one of the lab's own to an address that a node of that name has."""
    name = str(attempt.check.subject)
    own = attempt.world.addresses(name)
    if attempt.node is None:
        return _from_host(name, own)
    result = attempt.in_node(["sh", "-c", _RESOLVE, "sh", name])
    if result.code != 0:
        return of_tool(attempt, result)
    found = set(result.stdout.decode(errors="replace").split())
    return _judged(name, found, own)


def _judged(name: str, found: set[str], own: frozenset[str]) -> Finding:
    said = f"{name} is {', '.join(sorted(found))}"
    if own and not found <= own:
        return Finding(holds=False, output=f"{said}; in this lab it is {', '.join(sorted(own))}")
    return Finding(holds=True, output=said)


def _from_host(name: str, own: frozenset[str]) -> Finding:
    """Names of the lab are translated by labctl itself on this host: its resolver does not know them."""
    import socket

    if own:
        return Finding(holds=True, output=f"{name} is {', '.join(sorted(own))}")
    try:
        found = {str(each[4][0]) for each in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    except OSError as error:
        return Finding(holds=False, output=f"{name} does not resolve: {error.strerror or error}")
    return _judged(name, found, own)
