"""`exec`: bytes, exit codes, users, variables, deadlines, signals, terminals, many nodes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.access.conftest import Labctl

pytestmark = pytest.mark.engine


def processes(labctl: Labctl, node: str, text: str) -> list[str]:
    """Command lines in the node that contain `text`."""
    return [line for line in labctl.ok("exec", node, "--", "ps", "-eo", "args").decode().splitlines() if text in line]


def gone(labctl: Labctl, node: str, text: str) -> bool:
    deadline = time.monotonic() + 10
    while found := processes(labctl, node, text):
        if time.monotonic() > deadline:
            return not found
        time.sleep(0.2)
    return True


def wait_for(labctl: Labctl, node: str, text: str) -> None:
    deadline = time.monotonic() + 20
    while not processes(labctl, node, text):
        assert time.monotonic() < deadline, f"{text} did not start"
        time.sleep(0.1)


def test_streams_are_apart_and_exit_code_is_the_commands(labctl: Labctl) -> None:
    done = labctl("exec", "dev", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 7)


def test_bytes_pass_unchanged_both_ways(labctl: Labctl) -> None:
    data = random.Random(7).randbytes(5_000_000)
    assert labctl.ok("exec", "dev", "--", "cat", stdin=data) == data


def test_large_output_on_both_streams_is_complete(labctl: Labctl) -> None:
    script = "head -c 3000000 /dev/zero & head -c 3000000 /dev/zero >&2; wait"
    done = labctl("exec", "dev", "--", "sh", "-c", script)
    assert (len(done.stdout), len(done.stderr)) == (3_000_000, 3_000_000)


def test_end_of_input_reaches_the_command(labctl: Labctl) -> None:
    assert labctl.ok("exec", "dev", "--", "wc", "-c", stdin=b"12345").strip() == b"5"


def test_short_outputs_are_never_lost(labctl: Labctl) -> None:
    assert [labctl.ok("exec", "dev", "--", "echo", str(n)) for n in range(10)] == [b"%d\n" % n for n in range(10)]


def test_runs_as_root_or_as_the_user_asked_for(labctl: Labctl) -> None:
    assert labctl.ok("exec", "dev", "--", "id", "-un") == b"root\n"
    out = labctl.ok("exec", "dev", "-u", "lab", "-w", "/tmp", "--", "sh", "-c", "id -un; echo $HOME; pwd")
    assert out == b"lab\n/home/lab\n/tmp\n"


def test_variables_of_the_file_and_of_the_command_line(labctl: Labctl) -> None:
    out = labctl.ok("exec", "web-1", "-e", "MORE=a=b c", "--", "printenv", "GREETING", "SECRET", "MORE")
    assert out == b"hello world\ns3cr'et $x\na=b c\n"
    assert labctl.ok("exec", "-e", "GREETING=mine", "web-1", "--", "printenv", "GREETING") == b"mine\n"
    assert labctl.ok("exec", "thing", "--", "printenv", "GREETING") == b"from the image\n"


def test_without_dashes_the_first_word_is_the_node(labctl: Labctl) -> None:
    assert labctl.ok("exec", "-u", "lab", "dev", "ls", "-d", "/etc") == b"/etc\n"


def test_arguments_arrive_as_they_are(labctl: Labctl) -> None:
    words = ["a b", "$HOME", "--", "-x", "'q\"", "ä\n"]
    out = labctl.ok("exec", "dev", "--", "printf", r"%s\0", *words)
    assert out.decode().split("\0")[:-1] == words


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("dev", "--", "nosuch"), 127, "command not found: nosuch"),
        (("dev", "--", "/etc/passwd"), 126, "/etc/passwd cannot be executed"),
        (("dev", "-u", "nobodyx", "--", "id"), 125, "no user nobodyx"),
        (("dev", "-w", "/nosuch", "--", "id"), 125, "no such directory"),
        (("nosuch", "--", "id"), 125, "has no node nosuch"),
        (("-n", "f-no-such-lab", "dev", "--", "id"), 125, "no lab f-no-such-lab"),
        (("dev",), 2, "what to run is missing"),
        (("dev", "web", "-t", "--", "id"), 125, "one node"),
    ],
)
def test_own_failures_have_own_codes(labctl: Labctl, argv: tuple[str, ...], code: int, said: str) -> None:
    done = labctl("exec", *argv)
    assert (done.returncode, done.stdout) == (code, b"")
    assert said in done.stderr.decode()


def test_a_command_may_print_what_the_engine_says(labctl: Labctl) -> None:
    assert labctl.ok("exec", "dev", "--", "echo", "OCI runtime exec failed") == b"OCI runtime exec failed\n"


def test_timeout_ends_the_command_in_the_node(labctl: Labctl) -> None:
    began = time.monotonic()
    done = labctl("exec", "dev", "--timeout", "1s", "--", "sh", "-c", "echo begun; sleep 7711; true")
    assert (done.returncode, done.stdout) == (124, b"begun\n")
    assert time.monotonic() - began < 10
    assert gone(labctl, "dev", "sleep 7711")


def test_a_user_who_may_not_signal_roots_processes_ends_them_through_the_engine(labctl: Labctl) -> None:
    script = """
import os
def refuse(*_): raise PermissionError
os.killpg = refuse
from labctl.app import main; main()
"""
    argv = [sys.executable, "-c", script, "exec", "dev", "--timeout", "1s", "--", "sh", "-c", "sleep 7799; true"]
    done = subprocess.run(argv, cwd=labctl.directory, env=labctl.environ, timeout=60, check=False)
    assert done.returncode == 124
    assert gone(labctl, "dev", "sleep 7799")


def test_timeout_kills_what_does_not_listen(labctl: Labctl) -> None:
    done = labctl(
        "exec", "dev", "--timeout", "1s", "--", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done # deaf"
    )
    assert done.returncode == 124
    assert gone(labctl, "dev", "# deaf")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_end_the_command_in_the_node(labctl: Labctl, number: int, code: int) -> None:
    seconds = f"88{number:02}"
    process = labctl.start("exec", "dev", "--", "sh", "-c", f"sleep {seconds}; true")
    wait_for(labctl, "dev", f"sleep {seconds}")
    process.send_signal(number)
    assert process.wait(20) == code
    assert gone(labctl, "dev", f"sleep {seconds}")


def test_second_interrupt_kills(labctl: Labctl) -> None:
    process = labctl.start(
        "exec", "dev", "--", "sh", "-c", "trap 'echo no' INT; while :; do sleep 0.2; done # stubborn"
    )
    wait_for(labctl, "dev", "# stubborn")
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 137
    assert gone(labctl, "dev", "# stubborn")


def test_reader_that_goes_away_ends_the_command(labctl: Labctl) -> None:
    process = labctl.start("exec", "dev", "--", "sh", "-c", "yes endless-7733")
    assert process.stdout is not None
    assert process.stdout.read(8) == b"endless-"
    process.stdout.close()
    process.wait(20)
    assert gone(labctl, "dev", "yes endless-7733")


# ---------------------------------------------------------------- many nodes


def test_many_nodes_lines_bear_names_and_the_highest_code_wins(labctl: Labctl) -> None:
    done = labctl(
        "exec", "web", "dev", "--", "sh", "-c", "echo one; printf two; echo bad >&2; exit $(hostname | wc -c)"
    )
    assert sorted(done.stdout.decode().splitlines()) == sorted(
        f"{node:<5} | {text}" for node in ("web-1", "web-2", "dev") for text in ("one", "two")
    )
    assert sorted(done.stderr.decode().splitlines()) == ["dev   | bad", "web-1 | bad", "web-2 | bad"]
    assert done.returncode == 6


def test_many_nodes_run_at_once(labctl: Labctl) -> None:
    meet = "date +%s.%N; sleep 2"
    lines = labctl.ok("exec", "web", "dev", "--", "sh", "-c", meet).decode().splitlines()
    times = [float(line.split("|")[1]) for line in lines]
    assert len(times) == 3
    assert max(times) - min(times) < 1.5


def test_many_nodes_timeout(labctl: Labctl) -> None:
    done = labctl("exec", "web", "--timeout", "1s", "--", "sh", "-c", 'test "$(hostname)" = web-1 || sleep 7722')
    assert done.returncode == 124
    assert "web-2: the command did not end" in done.stderr.decode()
    assert gone(labctl, "web-2", "sleep 7722")


def test_many_nodes_interrupt_ends_all(labctl: Labctl) -> None:
    process = labctl.start("exec", "web", "--", "sleep", "7744")
    wait_for(labctl, "web-1", "sleep 7744")
    wait_for(labctl, "web-2", "sleep 7744")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert gone(labctl, "web-1", "sleep 7744")
    assert gone(labctl, "web-2", "sleep 7744")


def test_one_node_that_cannot_does_not_stop_the_others(labctl: Labctl) -> None:
    done = labctl("exec", "dev", "thing", "--", "bash", "-c", "command -v sudo || exec nosuch-tool")
    assert b"dev   | /usr/bin/sudo" in done.stdout
    assert done.returncode == 127


# ---------------------------------------------------------------- terminal


def test_terminal_has_the_size_of_ours_and_follows_it(labctl: Labctl) -> None:
    terminal = labctl.terminal("exec", "dev", "--", "bash", "--norc", columns=91, rows=37)
    terminal.type("tty; echo term=$TERM\r")
    terminal.expect("/dev/pts/")
    terminal.expect("term=xterm-256color")
    terminal.type("stty size\r")
    terminal.expect("37 91")
    terminal.resize(120, 50)
    time.sleep(1)
    terminal.type("stty size\r")
    terminal.expect("50 120")
    terminal.type("exit 9\r")
    assert terminal.end() == 9


def test_control_c_in_a_terminal_goes_to_the_command(labctl: Labctl) -> None:
    terminal = labctl.terminal("exec", "dev", "--", "bash", "--norc")
    terminal.type("echo rea''dy; sleep 7755\r")
    terminal.expect("ready")
    time.sleep(0.5)
    terminal.type("\x03")
    terminal.type("echo still h''ere; exit\r")
    terminal.expect("still here")
    assert terminal.end() == 0


def test_closed_terminal_leaves_nothing(labctl: Labctl) -> None:
    terminal = labctl.terminal("exec", "dev", "--", "sh", "-c", "echo begun; sleep 7766")
    terminal.expect("begun")
    os.kill(terminal.pid, signal.SIGHUP)
    os.close(terminal.master)
    os.waitpid(terminal.pid, 0)
    assert gone(labctl, "dev", "sleep 7766")


def test_terminal_by_force_without_one_of_ours(labctl: Labctl) -> None:
    assert labctl.ok("exec", "dev", "-t", "--", "sh", "-c", "test -t 1 && echo yes").split() == [b"yes"]
    assert labctl("exec", "dev", "--", "test", "-t", "1").returncode == 1


def test_input_stays_open_without_a_terminal(labctl: Labctl) -> None:
    process = labctl.start("exec", "dev", "--", "sh", "-c", "read a; echo got $a; read b; echo got $b")
    assert process.stdin is not None
    assert process.stdout is not None
    for word in (b"one", b"two"):
        process.stdin.write(word + b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"got " + word + b"\n"
    assert process.wait(20) == 0
