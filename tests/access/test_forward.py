"""The forward itself, against sockets of this host: ends, half-closes, tunnels, refusals."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from labctl.access.forward import Rule, Way, forward, parse_rule
from labctl.errors import ConflictError, LabctlError, UsageError


@pytest.fixture
def counting() -> Iterator[int]:
    """A server that answers how many bytes it got when the sender has ended; its port."""
    server = socket.create_server(("127.0.0.1", 0), backlog=100)

    def serve(connection: socket.socket) -> None:
        with connection:
            size = 0
            while piece := connection.recv(65536):
                size += len(piece)
            connection.sendall(b"%d" % size)

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


def serving(way: Way, *rules: Rule, then: Callable[[int], None]) -> list[str]:
    """Forward, call `then` with the first local port in a thread, and return what was said."""
    said: list[str] = []
    ready: list[Rule] = []

    async def main() -> None:
        task = asyncio.create_task(forward(way, rules, ready=ready.append, said=said.append))
        while len(ready) < len(rules) and not task.done():
            await asyncio.sleep(0.01)
        if not task.done():
            await asyncio.to_thread(then, ready[0].local)
            task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return

    asyncio.run(main())
    return said


def ask(port: int, size: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"x" * size)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def test_the_end_of_one_direction_leaves_the_other_open(counting: int) -> None:
    answers = []
    said = serving(Way("n", "127.0.0.1"), Rule(counting), then=lambda port: answers.append(ask(port, 1_000_000)))
    assert (answers, said) == ([b"1000000"], [])


def test_connections_survive_the_collector(counting: int) -> None:
    """A connection of which one direction has ended is referenced by nothing but us."""
    answers = []

    def hundred(port: int) -> None:
        held = []
        for _ in range(30):
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            connection.sendall(b"abc")
            held.append(connection)
        gc.collect()
        for connection in held:
            connection.shutdown(socket.SHUT_WR)
            gc.collect()
            answers.append(connection.recv(100))
            connection.close()

    serving(Way("n", "127.0.0.1"), Rule(counting), then=hundred)
    assert answers == [b"3"] * 30


def test_what_refuses_at_the_address_is_reached_through_the_tunnel(counting: int) -> None:
    script = """
import os, socket, sys, threading
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def up():
    while d := os.read(0, 65536): s.sendall(d)
    s.shutdown(1)
threading.Thread(target=up, daemon=True).start()
while d := s.recv(65536): os.write(1, d)
"""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = closed.getsockname()[1]
    way = Way("n", "127.0.0.1", lambda port: (sys.executable, "-c", script, str(counting)))
    answers = []
    serving(way, Rule(refusing), then=lambda port: answers.extend([ask(port, 5), ask(port, 300_000)]))
    assert answers == [b"5", b"300000"]


def test_nobody_there_is_an_error_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = closed.getsockname()[1]
    for tunnel in (None, lambda port: (sys.executable, "-c", "raise SystemExit(255)")):
        with pytest.raises(LabctlError, match=f"nothing listens on port {refusing} of n"):
            serving(Way("n", "127.0.0.1", tunnel), Rule(refusing), then=lambda port: None)


def test_node_without_network() -> None:
    with pytest.raises(LabctlError, match="n is on no network"):
        serving(Way("n", None), Rule(1), then=lambda port: None)


def test_server_that_went_away_is_said_and_the_connection_ends(counting: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def lose(local: int) -> None:
            server.close()
            connection = socket.create_connection(("127.0.0.1", local), timeout=10)
            with connection, contextlib.suppress(ConnectionResetError):
                assert connection.recv(10) == b""

        said = serving(Way("n", "127.0.0.1"), Rule(port), then=lose)
    assert said == [f"n:{port}: nothing listens on port {port} of n"]


def test_local_port_that_is_taken(counting: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConflictError, match="in use already"):
        serving(Way("n", "127.0.0.1"), Rule(counting, taken.getsockname()[1]), then=lambda port: None)


@pytest.mark.parametrize(("text", "rule"), [("80", Rule(80)), ("80:8080", Rule(80, 8080)), ("65535:1", Rule(65535, 1))])
def test_rules(text: str, rule: Rule) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize("text", ["", "0", "65536", "x", "80:", ":80", "80:0", "80:8080:1", "-1", "٣"])
def test_rules_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        parse_rule(text)
