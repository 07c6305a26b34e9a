"""Facts that hold in a healthy lab, tried until they hold or their time is over.

Each kind is one small function in `KINDS`, from an attempt to what it found; from inside a node it uses what every box
node has (bash, curl). This module reaches nodes through the `World` that it is given.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol

from labctl.errors import DeadlineError, LabctlError, NotFoundError
from labctl.model.lab import Check
from labctl.providers.base import Result, Shell

State = Literal["passed", "failed", "skipped"]

_OUTPUT = 4000
"""Characters of a probe's output that are kept, from its end."""

_SLACK = 5.0
"""Seconds beyond its own timeout after which an attempt is given up from outside."""


class World(Protocol):
    """The lab as checks see it."""

    def members(self, name: str) -> Sequence[str]:
        """The nodes that a node's or group's name means. Raises `NotFoundError`."""

    def shell(self, node: str) -> Shell:
        """A way into a running node. Raises `LabctlError` when it does not run."""

    def require(self, name: str, *, every: bool) -> None:
        """Raise `LabctlError` when no node of that name runs, with `every` when one of a group does not.

        A name that means no node of the lab is fine.
        """

    def address(self, name: str) -> str | None:
        """The address at which this host reaches the node, by any of its names; None for names of other machines."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one attempt showed. `output` is the probe's own words."""

    holds: bool
    output: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How a check ended. `output` is what its last attempt said; `seconds` is how long it took in all.

    `hint` is what to do first, when that is known.
    """

    name: str
    kind: str
    subject: str
    node: str | None
    state: State
    attempts: int
    seconds: float
    output: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a check: from `node` (None: from this host), in at most `timeout` seconds."""

    check: Check
    node: str | None
    world: World
    timeout: float

    def in_node(self, command: Sequence[str], *, slack: float = 1.0) -> Result:
        """Run a command as root in the node; one that keeps its own time gets `slack` seconds more."""
        assert self.node is not None
        return self.world.shell(self.node).run(command, timeout=self.timeout + slack)


Kind = Callable[[Attempt], Finding]


# ---------------------------------------------------------------- the kinds


def tcp(attempt: Attempt) -> Finding:
    """Something accepts connections at ``NAME:PORT``."""
    name, port = _split_port(str(attempt.check.subject))
    if attempt.node is not None:
        return _of_tool(attempt, attempt.in_node(["sh", "-c", _TCP, "sh", name, str(port), _seconds(attempt.timeout)]))
    import socket

    address = attempt.world.address(name) or name
    where = f"{name}:{port}" if address == name else f"{name}:{port} ({address})"
    try:
        with socket.create_connection((address, port), timeout=attempt.timeout):
            return Finding(holds=True, output=f"connected to {where}")
    except OSError as error:
        return Finding(holds=False, output=f"{where}: {error.strerror or error}")


def http(attempt: Attempt) -> Finding:
    """A URL answers with the status, headers and body that are wanted; without a status, with success."""
    url = str(attempt.check.subject)
    if attempt.node is not None:
        proxy = ["--noproxy", "*"] if _is_of_lab(url, attempt.world) else []
        script = ["sh", "-c", _CURL, "sh", "-sSi", "--max-time", _seconds(attempt.timeout), *proxy, url]
        result = attempt.in_node(script)
        if result.code != 0:
            return _of_tool(attempt, result)
        answer = _parse_answer(result.stdout)
    else:
        try:
            answer = _ask(url, attempt.world, attempt.timeout)
        except (OSError, ValueError) as error:
            return Finding(holds=False, output=f"{url}: {getattr(error, 'strerror', None) or error}")
    return judge(attempt.check, answer)


def run(attempt: Attempt) -> Finding:
    """A command in the node exits 0."""
    subject = attempt.check.subject
    result = attempt.in_node(["sh", "-c", subject] if isinstance(subject, str) else subject, slack=0.0)
    text = _text(result)
    return Finding(holds=result.code == 0, output=text if result.code == 0 else _join(text, f"exit code {result.code}"))


KINDS: Mapping[str, Kind] = MappingProxyType({"tcp": tcp, "http": http, "run": run})


# ---------------------------------------------------------------- running them


def run_checks(
    checks: Sequence[Check],
    world: World,
    *,
    deadline: float | None = None,
    on_result: Callable[[CheckResult], None] = lambda result: None,
) -> list[CheckResult]:
    """Run all checks at once and return their results in the same order.

    `deadline` (of the monotonic clock) ends those that are not over by then. `on_result` is called as each ends, in
    its own thread.
    """
    stop = threading.Event()

    def one(check: Check) -> CheckResult:
        result = run_check(check, world, deadline=deadline, stop=stop)
        on_result(result)
        return result

    if not checks:
        return []
    pool = ThreadPoolExecutor(max_workers=min(len(checks), 32))
    try:
        return list(pool.map(one, checks))
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)


def run_check(
    check: Check, world: World, *, deadline: float | None = None, stop: threading.Event | None = None
) -> CheckResult:
    """Try a check until it holds, its retries are used up, `deadline` is over or `stop` set. Raises no `LabctlError`.

    A check in a group must hold in every copy. One whose nodes do not run is not tried.
    """
    waiting = stop or threading.Event()
    began = time.monotonic()

    def result(state: State, attempts: int, output: str, hint: str | None = None) -> CheckResult:
        took = time.monotonic() - began
        subject = check.subject if isinstance(check.subject, str) else " ".join(check.subject)
        said = output.strip()[-_OUTPUT:]
        return CheckResult(check.name, check.kind, subject, check.node, state, attempts, took, said, hint)

    kind = KINDS.get(check.kind)
    if kind is None:
        return result("skipped", 0, f"checks of kind {check.kind} are not executed by this version")
    try:
        nodes: Sequence[str | None] = [None] if check.node is None else list(world.members(check.node))
        if check.node is not None:
            world.require(check.node, every=True)
        if target := _target(check):
            world.require(target, every=False)
    except LabctlError as error:
        return result("failed", 0, error.message, error.hint)
    last = "no attempt was made before the deadline"
    for count in range(1, max(check.retries, 1) + 1):
        left = check.timeout if deadline is None else min(check.timeout, deadline - time.monotonic())
        if left <= 0:
            return result("failed", count - 1, _join(last, "the deadline of the whole is over"))
        findings = {node: _attempt(kind, Attempt(check, node, world, left)) for node in nodes}
        last = _report(findings)
        if all(finding.holds for finding in findings.values()):
            return result("passed", count, last)
        if count < max(check.retries, 1):
            pause = check.interval if deadline is None else min(check.interval, max(deadline - time.monotonic(), 0.0))
            if waiting.wait(pause):
                break
    return result("failed", max(check.retries, 1), last)


def _target(check: Check) -> str | None:
    """The name of the machine that a check of the kinds tcp and http is about."""
    from urllib.parse import urlsplit

    match check.kind:
        case "tcp":
            return str(check.subject).rpartition(":")[0]
        case "http":
            return urlsplit(str(check.subject)).hostname
        case _:
            return None


def _attempt(kind: Kind, attempt: Attempt) -> Finding:
    """One attempt, given up from outside when it does not keep to its own time."""
    box: list[Finding] = []

    def work() -> None:
        try:
            box.append(kind(attempt))
        except DeadlineError:
            box.append(Finding(holds=False, output=f"no end within {attempt.timeout:g} s"))
        except LabctlError as error:
            box.append(Finding(holds=False, output=_join(error.message, *error.details)))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(attempt.timeout + _SLACK)
    return box[0] if box else Finding(holds=False, output=f"no answer within {attempt.timeout:g} s")


def _report(findings: Mapping[str | None, Finding]) -> str:
    if len(findings) == 1:
        return next(iter(findings.values())).output
    failed = {node: finding for node, finding in findings.items() if not finding.holds}
    return "\n".join(f"{node}: {finding.output}" for node, finding in (failed or findings).items())


# ---------------------------------------------------------------- in a node

_NOTHING = 97
"""The exit code by which a script of ours says that the node lacks the tools; its last line names them."""

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

_CURL = """
command -v curl >/dev/null 2>&1 || { echo "it has no curl" >&2; exit 97; }
exec curl "$@"
"""


def _of_tool(attempt: Attempt, result: Result) -> Finding:
    text = _text(result)
    if result.code == _NOTHING:
        return Finding(
            holds=False,
            output=f"{attempt.node} cannot try {attempt.check.kind}: {text}; try it from a box node (`from:`)",
        )
    if result.code == 126 and "executable file not found" in text:
        return Finding(
            holds=False, output=f"{attempt.node} has no shell to try it from; run it from a box node (`from:`)"
        )
    if result.code == 124 and attempt.check.kind == "tcp":
        return Finding(holds=False, output=_join(text, f"no connection within {attempt.timeout:g} s"))
    return Finding(holds=result.code == 0, output=text or f"exit code {result.code}")


def _text(result: Result) -> str:
    return (result.stdout + result.stderr).decode(errors="replace").strip()


def _join(*texts: str) -> str:
    return "\n".join(text for text in texts if text)


def _seconds(timeout: float) -> str:
    return f"{max(timeout, 1.0):.3f}".rstrip("0").rstrip(".")


# ---------------------------------------------------------------- http


@dataclass(frozen=True, slots=True)
class Answer:
    """The last answer of a server: names of `headers` are lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


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
    return Finding(holds=False, output=_join("; ".join(differences), answer.body.strip()[:500]))


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


def _split_port(subject: str) -> tuple[str, int]:
    name, _, port = subject.rpartition(":")
    if not name or not port.isdigit():
        raise NotFoundError(f"{subject} is not NAME:PORT")
    return name, int(port)
