"""Processes of the host that belong to a lab: started, asked, killed and ended; what the one for ports carries."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.errors import ConflictError, LabctlError
from labctl.features import ports
from labctl.model.lab import Port
from labctl.plan.model import PORTS, Desired, DesiredNode, Observed, ObservedNode
from labctl.plan.processes import ports as node_of_ports
from labctl.providers.host import process
from labctl.providers.host.provider import Host
from labctl.recipe import Entry
from labctl.render.process import bake

pytestmark = pytest.mark.skipif(not Path(process.PYTHON).exists(), reason="no Python of the distribution's")


class Lab:
    """A lab that has nothing but the process for its ports."""

    def __init__(self, directory: Path) -> None:
        self.name = f"b-p-{secrets.token_hex(3)}"
        self.host = Host(lambda lab: directory / lab / "processes")
        program = bake("ports")
        self.node = DesiredNode(
            PORTS, f"labctl-{self.name}-{PORTS}", "ports", node_of_ports(), program.tag, "shape", "content", {}, {},
            role="ports",
        )  # fmt: skip
        self.desired = Desired(self.name, str(directory), {}, {}, {program.tag: program}, {PORTS: self.node})

    def up(self, *published: Port) -> None:
        """Make and start the process; it publishes these ports of 127.0.0.1, as of a node `db`."""
        self.host.create(self.node, self.desired, seed=self.seed(*published))
        self.host.start(self.node)

    def seed(self, *published: Port) -> tuple[Entry, ...]:
        return ports.seed(("db", "127.0.0.1", port) for port in published)

    def observed(self) -> Observed:
        plain = ObservedNode("db", "1", "running", "", "", "", {}, provider="vagrant")
        return self.host.added(Observed(self.name, nodes={"db": plain}))

    def state(self) -> str | None:
        found = self.observed().nodes.get(PORTS)
        return found.state if found is not None else None

    def pid(self) -> int:
        """Which process has the name."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(f"\0labctl/{self.name}/ports")
            return int.from_bytes(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4), "little")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    made.host.remove(made.node)
    assert made.state() is None


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.fixture
def machine() -> Iterator[int]:
    """The port of a server that sends back what it got once its client has said all."""
    server = socket.create_server(("127.0.0.1", 0))

    def one(connection: socket.socket) -> None:
        with connection:
            said = b"".join(iter(lambda: connection.recv(65536), b""))
            connection.sendall(said[::-1])

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def exchange(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_bytes_go_through_whole_and_halves_end_by_themselves(lab: Lab, machine: int) -> None:
    port = free_port()
    lab.up(Port(machine, port))
    data = os.urandom(3_000_000)
    assert exchange(port, data) == data[::-1]
    assert lab.observed().nodes["db"].ports == (Port(machine, port),)


def test_datagrams_find_back_to_who_sent_them(lab: Lab) -> None:
    port = free_port(socket.SOCK_DGRAM)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        there.bind(("127.0.0.1", 0))
        there.settimeout(10)
        lab.up(Port(there.getsockname()[1], port, "udp"))
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
        ):
            for number, each in enumerate((one, two, one)):
                each.settimeout(10)
                each.sendto(b"ask %d" % number, ("127.0.0.1", port))
                said, sender = there.recvfrom(100)
                there.sendto(b"answer to " + said, sender)
                assert each.recv(100) == b"answer to ask %d" % number


def test_what_it_publishes_changes_while_it_runs(lab: Lab, machine: int) -> None:
    old, new = free_port(), free_port()
    lab.up(Port(machine, old))
    pid = lab.pid()
    lab.host.shell(lab.node).put(lab.seed(Port(machine, new)))
    assert exchange(new, b"abc") == b"cba"
    with pytest.raises(ConnectionRefusedError):
        exchange(old, b"abc")
    assert lab.pid() == pid


def test_a_port_that_is_taken_is_a_conflict_and_the_others_work(lab: Lab, machine: int) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(ConflictError, match=f"port 127.0.0.1:{taken} of this host is in use") as caught:
            lab.up(Port(machine, taken), Port(machine, port))
        assert not caught.value.retry
        assert exchange(port, b"abc") == b"cba"
    chosen = replace(lab.node, chosen_ports=frozenset({taken}))
    with socket.create_server(("127.0.0.1", taken)), pytest.raises(ConflictError) as caught:
        lab.host.shell(chosen).put(lab.seed(Port(machine, taken), Port(machine, port)))
    assert caught.value.retry


def test_killed_it_is_seen_as_ended_and_starts_again(lab: Lab, machine: int) -> None:
    port = free_port()
    lab.up(Port(machine, port))
    first = lab.pid()
    os.kill(first, signal.SIGKILL)
    end = time.monotonic() + 10
    while lab.state() != "exited":
        assert time.monotonic() < end
        time.sleep(0.02)
    known = lab.observed().nodes[PORTS]
    assert lab.observed().nodes["db"].ports == (Port(machine, port),), "its port is remembered"
    lab.host.start(known)
    assert lab.state() == "running"
    assert lab.pid() != first
    lab.host.start(known)  # a second start changes nothing
    assert exchange(port, b"abc") == b"cba"


def test_one_that_does_not_listen_to_words_is_ended_by_force(
    lab: Lab, machine: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.up(Port(machine, free_port()))
    os.kill(lab.pid(), signal.SIGSTOP)
    monkeypatch.setattr(process, "END_TIMEOUT", 1.0)
    stopped = Path(f"/proc/{lab.pid()}/stat")
    lab.host.remove(lab.node)
    assert not stopped.exists() or " Z " in stopped.read_text(), "it is over, if not yet buried"
    assert lab.state() is None


def test_one_that_takes_nobody_is_not_taken_for_ended(lab: Lab, machine: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.up(Port(machine, free_port()))
    pid = lab.pid()
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(process, "_ASK_TIMEOUT", 0.3)

    def ask_often() -> None:
        for _ in range(40):
            lab.state()

    try:
        with pytest.raises(LabctlError, match="gave no answer"):
            ask_often()
    finally:
        os.kill(pid, signal.SIGCONT)


def test_another_users_process_with_its_name_is_not_taken_for_it(lab: Lab, machine: int) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can be another user")
    lab.up(Port(machine, free_port()))
    known = lab.observed().nodes[PORTS]
    lab.host.stop(known)
    program = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
        f"s.bind('\\0labctl/{lab.name}/ports'); s.listen(); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([process.PYTHON, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert lab.state() == "exited"
        with pytest.raises(LabctlError, match="another user's"):
            lab.host.start(known)
        lab.host.stop(known)
        assert other.poll() is None, "what is not ours is not ended"
        other.communicate()


def test_the_directory_is_not_needed_to_end_it(lab: Lab, machine: int) -> None:
    port = free_port()
    lab.up(Port(machine, port))
    lab.host.place(lab.name, PORTS).remove()
    assert lab.state() == "running"
    assert lab.observed().nodes[PORTS].shape == ""  # so that `up` makes it anew
    lab.host.remove(lab.observed().nodes[PORTS])
    with pytest.raises(ConnectionRefusedError):
        exchange(port, b"abc")


def test_nothing_secret_is_on_its_command_line_and_its_files_are_its_owners(lab: Lab, machine: int) -> None:
    lab.up(Port(machine, free_port()))
    words = Path(f"/proc/{lab.pid()}/cmdline").read_bytes().decode().split("\0")
    assert words[-3:-1] == [f"labctl/{lab.name}/ports", "ports"]
    place = lab.host.place(lab.name, PORTS)
    files = [path for path in place.path.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert {path.stat().st_mode & 0o077 for path in (place.path, *files)} == {0}


def test_one_that_cannot_start_says_why(lab: Lab, machine: int) -> None:
    lab.host.create(lab.node, lab.desired)
    with pytest.raises(LabctlError, match="did not start") as caught:
        lab.host.start(lab.node)
    assert any("ports.json" in line for line in caught.value.details)
    assert lab.state() == "exited"
