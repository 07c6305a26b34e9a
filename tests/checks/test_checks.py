"""Checks from this host against real servers, their retries and deadlines, and what they say."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Literal

import pytest

from labctl.checks import CheckResult, run_check, run_checks, running
from labctl.errors import DeadlineError, LabctlError, NotFoundError
from labctl.model.lab import Check
from labctl.providers.base import Line, Result
from labctl.recipe import Entry


class FakeShell:
    """A node whose commands end as they are told."""

    def __init__(self, *results: Result | LabctlError) -> None:
        self.results = list(results)
        self.commands: list[Sequence[str]] = []

    def run(
        self,
        command: Sequence[str],
        *,
        user: str = "root",
        stdin: bytes = b"",
        timeout: float,
        environment: dict[str, str] | None = None,
        on_line: Line | None = None,
        check: Callable[[], None] | None = None,
    ) -> Result:
        self.commands.append(command)
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, LabctlError):
            raise result
        return result

    def put(self, entries: Collection[Entry]) -> None:
        raise NotImplementedError

    def get(self, path: str) -> bytes:
        raise NotImplementedError


class World:
    """A lab of one group `web` with two nodes, at 127.0.0.1."""

    def __init__(self, *, stopped: Collection[str] = (), **shells: FakeShell) -> None:
        self.shells, self.stopped, self.pixels = shells, stopped, b""

    def members(self, name: str) -> list[str]:
        if name == "web":
            return ["web-1", "web-2"]
        if name not in self.shells:
            raise NotFoundError(f"lab x has no node {name}")
        return [name]

    def shell(self, node: str) -> FakeShell:
        return self.shells[node.replace("-", "_")]

    def require(self, name: str, *, every: bool) -> None:
        members = self.members(name) if name == "web" else [name]
        asleep = [node for node in members if node in self.stopped]
        if asleep and (every or len(asleep) == len(members)):
            raise LabctlError(f"{asleep[0]} is not running (exited)", hint=f"labctl start {asleep[0]}")

    def address(self, name: str) -> str | None:
        return "127.0.0.1" if name in ("web-1", "web-1.shop.internal") else None

    def addresses(self, name: str) -> frozenset[str]:
        return frozenset({"10.1.0.2", "10.2.0.2"} if name == "web-1" else ())

    def screen(self, node: str, *, timeout: float) -> tuple[int, int, bytes]:
        return 4, 2, self.pixels


def host_check(kind: str, subject: str, **fields: object) -> CheckResult:
    """Run a check from this host, once unless told otherwise."""
    settings = {"retries": 1, "interval": 0.01, "timeout": 2.0} | fields
    return run_check(Check("c", kind, subject, **settings), World())  # type: ignore[arg-type]


def node_check(shell: FakeShell, kind: str, subject: object, **fields: object) -> CheckResult:
    settings = {"retries": 1, "interval": 0.01, "timeout": 2.0, "node": "dev"} | fields
    return run_check(Check("c", kind, subject, **settings), World(dev=shell))  # type: ignore[arg-type]


@pytest.fixture
def closed() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Answers(http.server.BaseHTTPRequestHandler):
    """/N answers with status N; everything tells the Host header it was asked for."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.split("?")[0].strip("/") or 200))
        body = f"asked {self.headers['Host']} for {self.path}".encode()
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Kind", "test")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def web() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


# ---------------------------------------------------------------- from this host


def test_tcp_translates_names_of_the_lab(web: int) -> None:
    assert host_check("tcp", f"web-1:{web}").state == "passed"
    assert (
        host_check("tcp", f"web-1.shop.internal:{web}").output == f"connected to web-1.shop.internal:{web} (127.0.0.1)"
    )


def test_tcp_where_nothing_listens(closed: int) -> None:
    result = host_check("tcp", f"web-1:{closed}", retries=3)
    assert (result.state, result.attempts) == ("failed", 3)
    assert result.output == f"web-1:{closed} (127.0.0.1): Connection refused"


@pytest.mark.parametrize(
    ("path", "status", "state", "output"),
    [
        ("/", None, "passed", "status 200"),
        ("/", 200, "passed", "status 200"),
        ("/302", None, "passed", "status 302"),
        ("/404", 404, "passed", "status 404"),
        ("/404", None, "failed", "status 404\nasked web-1:PORT for /404"),
        ("/500", 200, "failed", "status 500, not 200\nasked web-1:PORT for /500"),
    ],
)
def test_http_by_status(web: int, path: str, status: int | None, state: str, output: str) -> None:
    result = host_check("http", f"http://web-1:{web}{path}", status=status)
    assert (result.state, result.output) == (state, output.replace("PORT", str(web)))


def test_http_header_and_body(web: int) -> None:
    url = f"http://web-1:{web}/200?q=1"
    assert host_check("http", url, header={"x-kind": "test"}, body="for /200?q=1").state == "passed"
    wrong = host_check("http", url, header={"X-Kind": "other", "X-No": "1"}, body="absent")
    assert wrong.output.splitlines()[0] == (
        "header X-Kind is 'test', not 'other'; no header X-No; the body does not contain 'absent'"
    )


def test_http_of_what_does_not_speak_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"SSH-2.0-x\r\n")
                time.sleep(0.2)

        threading.Thread(target=greet, daemon=True).start()
        result = host_check("http", f"http://127.0.0.1:{server.getsockname()[1]}/")
    assert result.state == "failed"
    assert "no valid answer" in result.output


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        result = host_check("http", f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=0.3, retries=2)
        assert (result.state, result.attempts) == ("failed", 2)
        assert time.monotonic() - began < 3


# ---------------------------------------------------------------- from a node


def test_run_passes_a_string_to_sh_and_a_list_as_it_is() -> None:
    shell = FakeShell(Result(0, b"fine\n", b""))
    assert node_check(shell, "run", "test -d /x").output == "fine"
    node_check(shell, "run", ("test", "-d", "/x y"))
    assert shell.commands == [["sh", "-c", "test -d /x"], ("test", "-d", "/x y")]


def test_run_that_fails_says_what_it_printed_and_its_code() -> None:
    result = node_check(FakeShell(Result(3, b"out\n", b"err\n")), "run", "x")
    assert (result.state, result.output) == ("failed", "out\nerr\nexit code 3")


def test_retries_until_it_holds() -> None:
    bad = Result(1, b"", b"not yet")
    result = node_check(FakeShell(bad, bad, Result(0, b"now", b"")), "run", "x", retries=10)
    assert (result.state, result.attempts, result.output) == ("passed", 3, "now")


def test_missing_tools_of_an_image_node_are_said() -> None:
    lacking = Result(97, b"", b"it has none of bash, nc and curl\n")
    assert node_check(FakeShell(lacking), "tcp", "db:1").output == (
        "dev cannot try tcp: it has none of bash, nc and curl; try it from a box node (`from:`)"
    )
    text = b'OCI runtime exec failed: exec: "sh": executable file not found in $PATH\r\n'
    assert "no shell" in node_check(FakeShell(Result(126, text, b"")), "http", "http://db/").output


def test_answer_that_curl_printed() -> None:
    printed = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-Kind: a:b\r\n\r\nHTTP/1.1 is a protocol"
    shell = FakeShell(Result(0, printed, b""))
    result = node_check(shell, "http", "http://db/", header={"X-Kind": "a:b"}, body="is a protocol")
    assert result.state == "passed", result
    failed = node_check(FakeShell(Result(7, b"", b"curl: (7) Failed to connect\n")), "http", "http://db/")
    assert failed.output == "curl: (7) Failed to connect"


def test_names_of_the_lab_never_go_through_a_proxy() -> None:
    shell = FakeShell(Result(0, b"HTTP/1.1 200 OK\r\n\r\n", b""))
    node_check(shell, "http", "http://web-1:80/")
    node_check(shell, "http", "http://example.invalid/")
    assert ["--noproxy" in command for command in shell.commands] == [True, False]


def test_a_group_must_hold_in_every_copy() -> None:
    good, bad = FakeShell(Result(0, b"yes", b"")), FakeShell(Result(1, b"no", b""))
    check = Check("c", "run", "x", node="web", retries=2, interval=0.01)
    result = run_check(check, World(web_1=good, web_2=bad))
    assert (result.state, result.output) == ("failed", "web-2: no\nexit code 1")
    assert run_check(check, World(web_1=good, web_2=good)).state == "passed"


def test_errors_of_a_node_are_the_checks_output() -> None:
    stopped = LabctlError("dev is not running (exited)")
    assert node_check(FakeShell(stopped), "run", "x").output == "dev is not running (exited)"
    assert node_check(FakeShell(DeadlineError("late")), "run", "x").output == "no end within 2 s"
    assert node_check(FakeShell(stopped), "run", "x", node="nosuch").output == "lab x has no node nosuch"


# ---------------------------------------------------------------- all of them


def test_all_run_at_once_and_keep_their_order() -> None:
    class Slow(FakeShell):
        def run(self, *args: object, **fields: object) -> Result:
            time.sleep(0.4)
            return Result(0, b"", b"")

    many = [Check(f"c{n}", "run", "x", node="dev") for n in range(10)]
    began = time.monotonic()
    results = run_checks(many, World(dev=Slow()))
    assert [result.name for result in results] == [check.name for check in many]
    assert time.monotonic() - began < 2


def test_the_whole_has_a_deadline() -> None:
    began = time.monotonic()
    check = Check("c", "run", "x", node="dev", retries=1000, interval=0.05)
    (result,) = run_checks([check], World(dev=FakeShell(Result(1, b"no", b""))), deadline=began + 0.5)
    assert result.state == "failed"
    assert "the deadline of the whole is over" in result.output
    assert time.monotonic() - began < 2


def test_an_attempt_that_does_not_keep_its_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(FakeShell):
        def run(self, *args: object, **fields: object) -> Result:
            time.sleep(30)
            raise AssertionError

    monkeypatch.setattr(running, "_SLACK", 0.2)
    began = time.monotonic()
    result = node_check(Hanging(), "run", "x", timeout=0.2)
    assert (result.state, result.output) == ("failed", "no answer within 0.2 s")
    assert time.monotonic() - began < 5


def test_output_is_bounded() -> None:
    result = node_check(FakeShell(Result(1, b"x" * 1_000_000, b"")), "run", "x")
    assert len(result.output) < 5000
    assert result.output.endswith("exit code 1")


# ---------------------------------------------------------------- nodes that do not run


@pytest.mark.parametrize(
    ("kind", "subject", "node", "stopped"),
    [
        ("tcp", "web-1:22", "dev", "dev"),
        ("tcp", "web-1:22", "dev", "web-1"),
        ("http", "http://web-1:80/x", None, "web-1"),
        ("run", "true", "web", "web-2"),
    ],
)
def test_what_does_not_run_is_not_asked(
    kind: Literal["tcp", "http", "run"], subject: str, node: str | None, stopped: str
) -> None:
    shell = FakeShell(Result(0, b"", b""))
    world = World(stopped=(stopped,), dev=shell, web_1=shell, web_2=shell)
    result = run_check(Check("c", kind, subject, node, interval=0.5), world)
    assert (result.state, result.attempts) == ("failed", 0)
    assert result.output == f"{stopped} is not running (exited)"
    assert result.hint == f"labctl start {stopped}"
    assert shell.commands == []


def test_a_group_is_reached_as_long_as_one_copy_runs() -> None:
    shell = FakeShell(Result(0, b"connected", b""))
    world = World(stopped=("web-1",), dev=shell)
    assert run_check(Check("c", "tcp", "web:22", "dev"), world).state == "passed"
    world = World(stopped=("web-1", "web-2"), dev=shell)
    assert run_check(Check("c", "tcp", "web:22", "dev"), world).attempts == 0
