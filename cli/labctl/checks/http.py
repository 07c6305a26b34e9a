"""The kind `http`: a URL answers as it should."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from labctl.checks.attempt import Attempt, Finding, World, join, of_tool, seconds
from labctl.model.lab import Check

_CURL = """
command -v curl >/dev/null 2>&1 || { echo "it has no curl" >&2; exit 97; }
exec curl "$@"
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """The last answer of a server: names of `headers` are lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


def http(attempt: Attempt) -> Finding:
    """A URL answers with the status, headers and body that are wanted; without a status, with success."""
    url = str(attempt.check.subject)
    if attempt.node is not None:
        proxy = ["--noproxy", "*"] if _is_of_lab(url, attempt.world) else []
        script = ["sh", "-c", _CURL, "sh", "-sSi", "--max-time", seconds(attempt.timeout), *proxy, url]
        result = attempt.in_node(script)
        if result.code != 0:
            return of_tool(attempt, result)
        answer = _parse_answer(result.stdout)
    else:
        try:
            answer = _ask(url, attempt.world, attempt.timeout)
        except (OSError, ValueError) as error:
            return Finding(holds=False, output=f"{url}: {getattr(error, 'strerror', None) or error}")
    return judge(attempt.check, answer)


def judge(check: Check, answer: Answer) -> Finding:
    """Whether an answer is what the check wants, and what is different."""
    differences = []
    if check.status is not None and answer.status != check.status:
        differences.append(f"status {answer.status}, not {check.status}")
    if check.status is None and not 200 <= answer.status < 400:
        differences.append(f"status {answer.status}")
    for name, value in check.header.items():
        got = answer.headers.get(name.lower())
        if got != value:
            differences.append(f"header {name} is {got!r}, not {value!r}" if got is not None else f"no header {name}")
    if check.body is not None and check.body not in answer.body:
        differences.append(f"the body does not contain {check.body!r}")
    if not differences:
        return Finding(holds=True, output=f"status {answer.status}")
    return Finding(holds=False, output=join("; ".join(differences), answer.body.strip()[:500]))


def _parse_answer(data: bytes) -> Answer:
    """What ``curl -i`` printed; answers that only announced another (100, a proxy's own) are passed over."""
    while True:
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        match = re.match(r"HTTP/[\d.]+ (\d{3})", lines[0])
        if not match:
            return Answer(0, body=data.decode(errors="replace"))
        if not body.startswith(b"HTTP/") or not (
            match[1].startswith("1") or "connection established" in lines[0].lower()
        ):
            pairs = (line.partition(":") for line in lines[1:])
            headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
            return Answer(int(match[1]), headers, body.decode(errors="replace"))
        data = body


def _ask(url: str, world: World, timeout: float) -> Answer:
    """GET `url` from this host: a lab's name is asked at its address, under its own name."""
    import http.client
    import socket
    import ssl
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    name = parts.hostname or ""
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    with socket.create_connection((world.address(name) or name, port), timeout=timeout) as plain:
        plain.settimeout(timeout)
        sock = ssl.create_default_context().wrap_socket(plain, server_hostname=name) if secure else plain
        connection = http.client.HTTPConnection(name, port, timeout=timeout)
        connection.sock = sock
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            host = parts.netloc.rpartition("@")[2]
            connection.request("GET", target, headers={"Host": host, "User-Agent": "labctl", "Accept": "*/*"})
            response = connection.getresponse()
            body = response.read(1024 * 1024)
        except http.client.HTTPException as error:
            raise ValueError(f"no valid answer: {error!r}") from error
        headers = {key.lower(): value for key, value in response.getheaders()}
        return Answer(response.status, headers, body.decode(errors="replace"))


def _is_of_lab(url: str, world: World) -> bool:
    from urllib.parse import urlsplit

    name = urlsplit(url).hostname or ""
    return world.address(name) is not None
