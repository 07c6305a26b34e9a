"""`cp`, `logs` and `forward` on a real lab."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.access.conftest import Labctl

pytestmark = pytest.mark.engine


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with what directories can hold."""
    top = tmp_path / "tree"
    (top / "sub" / "empty").mkdir(parents=True)
    (top / "a").write_text("a\n")
    (top / "a").chmod(0o640)
    (top / "sub" / ("long-" * 40)).write_bytes(random.Random(3).randbytes(300_000))
    (top / "sub" / "run ä").write_text("#!/bin/sh\n")
    (top / "sub" / "run ä").chmod(0o755)
    (top / "link").symlink_to("a")
    (top / "away").symlink_to("/etc/passwd")
    os.link(top / "a", top / "same")
    (top / "sub").chmod(0o750)
    (top / "locked").mkdir()
    (top / "locked" / "in").write_text("in\n")
    (top / "locked").chmod(0o555)
    return top


def shape(top: Path) -> dict[str, tuple[int, str, bytes]]:
    """Mode, link target and content of all that is below `top`."""
    return {
        str(path.relative_to(top)): (
            path.lstat().st_mode,
            str(path.readlink()) if path.is_symlink() else "",
            path.read_bytes() if path.is_file() and not path.is_symlink() else b"",
        )
        for path in sorted(top.rglob("*"))
    }


@pytest.mark.parametrize("node", ["dev", "thing", "alone"])
def test_a_tree_goes_in_and_comes_out_the_same(labctl: Labctl, tree: Path, tmp_path: Path, node: str) -> None:
    labctl.ok("exec", node, "--", "rm", "-rf", "/srv/there")
    labctl.ok("cp", str(tree), f"{node}:/srv/there")
    labctl.ok("cp", f"{node}:/srv/there", str(tmp_path / "back"))
    assert shape(tmp_path / "back") == shape(tree)
    assert (tmp_path / "back" / "a").stat().st_ino == (tmp_path / "back" / "same").stat().st_ino
    owner = b"root" if node == "thing" else b"lab"
    owners = labctl.ok("exec", node, "--", "find", "/srv/there", "-printf", "%u:%g\n")
    assert set(owners.split()) == {owner + b":" + owner}


def test_times_are_kept(labctl: Labctl, tree: Path, tmp_path: Path) -> None:
    os.utime(tree / "a", (1_600_000_000, 1_600_000_000))
    labctl.ok("cp", str(tree / "a"), "dev:/srv/timed")
    assert labctl.ok("exec", "dev", "--", "stat", "-c", "%Y %a", "/srv/timed") == b"1600000000 640\n"
    labctl.ok("cp", "dev:/srv/timed", str(tmp_path / "back"))
    assert int((tmp_path / "back").stat().st_mtime) == 1_600_000_000


def test_owner_can_be_chosen(labctl: Labctl, tree: Path) -> None:
    for owner, seen in (("www-data:adm", b"www-data:adm"), ("backup", b"backup:backup"), ("4711:12", b"4711:12")):
        labctl.ok("exec", "dev", "--", "rm", "-rf", "/srv/owned")
        labctl.ok("cp", "--owner", owner, str(tree), "dev:/srv/owned")
        form = "%U:%G\n" if seen[:1].isdigit() else "%u:%g\n"
        found = labctl.ok("exec", "dev", "--", "find", "/srv/owned", "-printf", form)
        assert set(found.split()) == {seen}
    unknown = labctl("cp", "--owner", "nobodyx", str(tree), "dev:/srv/owned")
    assert unknown.returncode == 9
    assert b"no user nobodyx in dev" in unknown.stderr


def test_a_directory_that_is_there_is_gone_into_and_keeps_its_owner(labctl: Labctl, tree: Path) -> None:
    labctl.ok("exec", "dev", "--", "sh", "-c", "rm -rf /srv/into; install -d -o backup -m 0711 /srv/into")
    labctl.ok("cp", str(tree), "dev:/srv/into")
    labctl.ok("cp", f"{tree}/.", "dev:/srv/into")
    names = labctl.ok("exec", "dev", "--", "ls", "/srv/into").decode().split()
    assert set(names) == {"tree", "a", "away", "link", "locked", "same", "sub"}
    assert labctl.ok("exec", "dev", "--", "stat", "-c", "%U %a", "/srv/into") == b"backup 711\n"


def test_relative_paths_of_a_node_begin_at_home(labctl: Labctl, tree: Path, tmp_path: Path) -> None:
    labctl.ok("cp", str(tree / "a"), "dev:")
    labctl.ok("cp", str(tree / "a"), "dev:~/b")
    assert labctl.ok("exec", "dev", "--", "cat", "/home/lab/a", "/home/lab/b") == b"a\na\n"
    labctl.ok("cp", "dev:a", str(tmp_path / "got"))
    assert (tmp_path / "got").read_text() == "a\n"


def test_from_node_to_nodes(labctl: Labctl, tree: Path, tmp_path: Path) -> None:
    labctl.ok("exec", "web", "dev", "--", "rm", "-rf", "/srv/via")
    labctl.ok("cp", str(tree), "dev:/srv/via")
    labctl.ok("cp", "dev:/srv/via", "web:/srv/")
    labctl.ok("cp", "web-2:/srv/via", "thing:/srv/via2")
    labctl.ok("cp", "thing:/srv/via2", str(tmp_path / "back"))
    assert shape(tmp_path / "back") == shape(tree)


def test_mounts_are_seen(labctl: Labctl, tmp_path: Path) -> None:
    """What only the node's own mount namespace shows (as a share mounted there does) is copied, not what it hides."""
    labctl.ok("exec", "dev", "--", "sh", "-c", "echo real > /dev/shm/only-here")
    labctl.ok("cp", "dev:/dev/shm/only-here", str(tmp_path / "got"))
    assert (tmp_path / "got").read_text() == "real\n"
    labctl.ok("cp", str(tmp_path / "got"), "dev:/dev/shm/put")
    assert labctl.ok("exec", "dev", "--", "cat", "/dev/shm/put") == b"real\n"


def test_stopped_nodes_can_be_copied_from_and_to(labctl: Labctl, tree: Path, tmp_path: Path) -> None:
    labctl.ok("exec", "alone", "--", "rm", "-rf", "/home/lab/late")
    labctl.ok("stop", "alone")
    try:
        labctl.ok("cp", str(tree), "alone:late")
        labctl.ok("cp", "alone:late", str(tmp_path / "back"))
        assert shape(tmp_path / "back") == shape(tree)
        for argv in (("exec", "alone", "--", "true"), ("ssh", "alone"), ("ssh", "alone", "--", "true")):
            refused = labctl(*argv)
            assert refused.returncode == 125
            assert b"alone is not running" in refused.stderr
            assert b"labctl start alone" in refused.stderr
    finally:
        labctl.ok("start", "alone")
    owners = labctl.ok("exec", "alone", "--", "find", "/home/lab/late", "-printf", "%u\n")
    assert set(owners.split()) == {b"lab"}


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("nosuch", "dev:"), 9, "there is no nosuch"),
        (("dev:/nosuch", "."), 9, "there is no dev:/nosuch"),
        (("thing:/nosuch", "."), 9, "there is no thing:/nosuch"),
        (("lab.yaml", "dev:/no/such/file"), 9, "dev: there is no directory /no/such"),
        (("lab.yaml", "thing:/no/such/file"), 9, "thing: there is no directory /no/such"),
        (("lab.yaml", "dev:/srv/newdir/"), 9, "dev: there is no directory /srv/newdir"),
        (("home", "dev:/etc/hostname"), 2, "home is a directory"),
        (("dev:/etc", "lab.yaml"), 2, "etc is a directory"),
        (("dev:/etc/hosts", "dev:/etc/hostname", "lab.yaml"), 2, "not a directory"),
        (("lab.yaml", "lab2.yaml"), 2, "neither side is in a node"),
        (("lab.yaml",), 2, "a source and a target"),
        (("dev:/", "x"), 2, "everything"),
        (("lab.yaml", "nosuch:/x"), 9, "has no node nosuch"),
        (("web:/etc/hosts", "x"), 9, "web is a group"),
    ],
)
def test_clear_errors(labctl: Labctl, argv: tuple[str, ...], code: int, said: str) -> None:
    done = labctl("cp", *argv)
    assert (done.returncode, said in done.stderr.decode()) == (code, True), done


def test_full_target_says_so(labctl: Labctl, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 80_000_000)
    done = labctl("cp", str(tmp_path / "big"), "dev:/dev/shm/")
    labctl("exec", "dev", "--", "rm", "-f", "/dev/shm/big")
    assert done.returncode == 1
    assert b"no room left" in done.stderr


# ---------------------------------------------------------------- logs


def test_logs_of_one_node_are_byte_clean_and_apart(labctl: Labctl) -> None:
    done = labctl("logs", "thing")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"to stdout\n", b"to stderr\n")


def test_logs_of_several_are_prefixed_and_in_order_of_time(labctl: Labctl) -> None:
    done = labctl("logs", "web", "--timestamps", "--tail", "8")
    lines = done.stdout.decode().splitlines()
    assert {line.split(" | ")[0] for line in lines} == {"web-1", "web-2"}
    times = [line.split(" | ")[1].split()[0] for line in lines]
    assert times == sorted(times)
    assert all(line.endswith("talk: tick out") or line.endswith("talk: tick err") for line in lines)


def test_logs_tail_and_since(labctl: Labctl) -> None:
    assert len(labctl.ok("logs", "web-1", "--tail", "3").splitlines()) == 3
    assert labctl.ok("logs", "web-1", "--since", "2999-01-01T00:00:00Z") == b""
    recent = len(labctl.ok("logs", "web-1", "--since", "2s").splitlines())
    assert 1 <= recent <= 10
    assert labctl("logs", "web-1", "--since", "yesterday").returncode == 2


def test_follow_goes_on_until_interrupted(labctl: Labctl) -> None:
    process = labctl.start("logs", "web", "-F", "--tail", "0")
    assert process.stdout is not None
    seen = {process.stdout.readline().split(b" | ")[0] for _ in range(12)}
    assert seen == {b"web-1", b"web-2"}
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130


def test_follow_ends_when_the_node_stops(labctl: Labctl) -> None:
    process = labctl.start("logs", "alone", "--follow")
    several = labctl.start("logs", "alone", "thing", "--follow")
    time.sleep(2)
    assert process.poll() is None
    labctl.ok("restart", "alone")
    assert process.wait(30) == 0
    assert several.poll() is None  # thing still runs
    several.send_signal(signal.SIGINT)
    assert several.wait(20) == 130


def test_output_of_run_steps_is_kept(labctl: Labctl) -> None:
    text = labctl.ok("logs", "web-1", "--run").decode()
    assert "first step\n" in text
    assert "second step\n" in text
    assert labctl.ok("logs", "--run", "--tail", "1", "web").decode().splitlines() == [
        "web-1 | second step",
        "web-2 | second step",
    ]
    none = labctl("logs", "dev", "--run")
    assert none.returncode == 9
    assert b"dev has run no steps" in none.stderr


def test_reader_of_logs_may_go_away(labctl: Labctl) -> None:
    process = labctl.start("logs", "web", "-F")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    process.wait(20)
    assert b"Traceback" not in process.stderr.read()


# ---------------------------------------------------------------- forward


@contextlib.contextmanager
def forwarding(labctl: Labctl, *argv: str) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """`labctl forward` at work; gives the process and its local ports."""
    process = labctl.start("forward", *argv)
    assert process.stdout is not None
    ports = []
    for rule in argv[1:]:
        line = process.stdout.readline().decode()
        assert line.startswith("127.0.0.1:"), (line, process.stderr and process.stderr.read())
        local, arrow, far = line.split()
        assert (arrow, far) == ("->", f"{argv[0]}:{rule.split(':')[0]}")
        ports.append(int(local.split(":")[1]))
    try:
        yield process, ports
    finally:
        process.kill()
        process.wait()


def ask(port: int, data: bytes) -> bytes:
    """Send all of `data`, end the sending side, and read what comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def test_forward_carries_many_connections_with_half_close(labctl: Labctl) -> None:
    with forwarding(labctl, "web-1", "7001") as (_, (port,)), ThreadPoolExecutor(20) as pool:
        sizes = [0, 1, 65536, 3_000_000, *range(100, 116)]
        answers = list(pool.map(lambda size: ask(port, b"x" * size), sizes))
    assert answers == [f"got {size} bytes on 7001\n".encode() for size in sizes]


def test_forward_reaches_what_listens_inside_only(labctl: Labctl) -> None:
    with forwarding(labctl, "web-1", "7002") as (_, (port,)):
        assert ask(port, b"y" * 200_000) == b"got 200000 bytes on 7002\n"


def test_forward_takes_several_ports_and_the_local_one_asked_for(labctl: Labctl) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    with forwarding(labctl, "web-2", f"7001:{free}", "22") as (process, (first, second)):
        assert first == free
        assert ask(first, b"1") == b"got 1 bytes on 7001\n"
        with socket.create_connection(("127.0.0.1", second), timeout=10) as connection:
            assert connection.recv(4) == b"SSH-"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", first), timeout=5)


def test_forward_refuses_what_cannot_be(labctl: Labctl) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cases = {
            ("web-1", "7009"): (1, "nothing listens on port 7009 of web-1"),
            ("thing", "7009"): (1, "nothing listens on port 7009 of thing"),
            ("web-1", "99999"): (2, "99999 is no port"),
            ("web-1", f"7001:{port}"): (4, f"port {port} of this host is in use already"),
            ("alone", "22"): (1, "alone is on no network"),
            ("nosuch", "22"): (9, "has no node nosuch"),
        }
        for argv, (code, said) in cases.items():
            done = labctl("forward", *argv)
            assert (done.returncode, said in done.stderr.decode(), done.stdout) == (code, True, b""), done
