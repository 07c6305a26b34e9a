"""The kind `tcp`: something accepts connections."""

from __future__ import annotations

from labctl.checks.attempt import Attempt, Finding, of_tool, seconds
from labctl.errors import NotFoundError

_TCP = """
if command -v bash >/dev/null 2>&1; then
    exec timeout "$3" bash -c 'exec 3<>"/dev/tcp/$0/$1" && echo "connected to $0:$1"' "$1" "$2"
elif command -v nc >/dev/null 2>&1; then
    nc -z -w "${3%.*}" "$1" "$2" && echo "connected to $1:$2"
elif command -v curl >/dev/null 2>&1; then
    curl -sS --connect-timeout "$3" --max-time "$3" "telnet://$1:$2" </dev/null
else
    echo "it has none of bash, nc and curl" >&2; exit 97
fi
"""


def tcp(attempt: Attempt) -> Finding:
    """Something accepts connections at ``NAME:PORT``."""
    name, port = _split_port(str(attempt.check.subject))
    if attempt.node is not None:
        return of_tool(attempt, attempt.in_node(["sh", "-c", _TCP, "sh", name, str(port), seconds(attempt.timeout)]))
    import socket

    address = attempt.world.address(name) or name
    where = f"{name}:{port}" if address == name else f"{name}:{port} ({address})"
    try:
        with socket.create_connection((address, port), timeout=attempt.timeout):
            return Finding(holds=True, output=f"connected to {where}")
    except OSError as error:
        return Finding(holds=False, output=f"{where}: {error.strerror or error}")


def _split_port(subject: str) -> tuple[str, int]:
    name, _, port = subject.rpartition(":")
    if not name or not port.isdigit():
        raise NotFoundError(f"{subject} is not NAME:PORT")
    return name, int(port)
