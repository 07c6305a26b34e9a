"""What a machine's services wrote: its journal, in the form of a container's log."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from labctl.providers.session import STDOUT, LogLine

_PLAIN = ("sshd", "boot", "systemd")
"""Who speaks for the machine itself; the lines of other services begin with their names."""


def words(*, follow: bool = False, tail: int | None = None, since: float | None = None) -> tuple[str, ...]:
    """The command that prints what services wrote to their output, one JSON object a line, oldest first."""
    asked = ["journalctl", "--no-pager", "-q", "-o", "json", "-n", "all" if tail is None else str(tail)]
    if follow:
        asked.append("-f")
    if since is not None:
        asked.append(f"--since=@{since:.6f}")
    return (*asked, "_TRANSPORT=stdout", "_SYSTEMD_SLICE=system.slice")


def line(text: bytes) -> LogLine:
    """One line of that as a line of a log."""
    try:
        entry = json.loads(text)
        moment = int(entry["__REALTIME_TIMESTAMP"])
        said = entry.get("MESSAGE") or ""
    except (ValueError, KeyError, TypeError):
        return LogLine(STDOUT, "", text + b"\n")
    data = bytes(said) if isinstance(said, list) else str(said).encode()
    name = str(entry.get("SYSLOG_IDENTIFIER") or "")
    head = b"" if name in _PLAIN or not name else f"{name}: ".encode()
    stamp = datetime.fromtimestamp(moment // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return LogLine(STDOUT, f"{stamp}.{moment % 1_000_000:06d}000Z", head + data + b"\n")
