"""The boundary of the program: what every error and signal becomes, as a process sees it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labctl import errors
from labctl.app import _guarded
from labctl.errors import ExitCode, InvalidLabError, LabctlError

SLOW = """
import sys, time, typer
from labctl import app

program = typer.Typer()

@program.callback()
def root() -> None: ...

@program.command()
def slow() -> None:
    try:
        print("ready", flush=True)
        time.sleep(30)
    finally:
        print("unwound", flush=True)

@program.command()
def child() -> None:
    raise typer.Exit(130)

@program.command()
def many() -> None:
    for number in range(100000):
        print("a line of text", number)

@program.command()
def broken() -> None:
    raise RuntimeError("something nobody foresaw")

app.build = lambda arguments: typer.main.get_command(program)
app.main(sys.argv[1:])
"""


def labctl(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from labctl.app import main; main()", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environ},
        check=False,
    )


def slow(word: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, word], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.LabctlError("it"), 1),
        (errors.UsageError("it"), 2),
        (errors.InvalidLabError(["lab.yaml:1:1: it"]), 3),
        (errors.HostError("it"), 4),
        (errors.DeadlineError("it"), 5),
        (errors.ChecksFailedError("it"), 6),
        (errors.PartlyUpError("it"), 7),
        (errors.BusyError("it"), 8),
        (errors.NotFoundError("it"), 9),
        (errors.ConflictError("it", taken="port 1", retry=False), 4),
    ],
)
def test_errors_become_exit_codes(error: LabctlError, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise error

    assert _guarded(fail, argv=["up"]) == code
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "it" in seen.err


def test_an_error_is_message_evidence_and_one_hint(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise LabctlError("the engine refused", details=["first line\nsecond line"], hint="do this")

    _guarded(fail, argv=[])
    said = "error[LAB-GEN-001]: the engine refused\n  first line\n  second line\nhint: do this\n"
    assert capsys.readouterr().err == said


def test_problems_of_a_lab_file_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise InvalidLabError(["lab.yaml:2:3: unknown key `nods`\n  nods:\n  ^", "lab.yaml:9:1: wrong"])

    assert _guarded(fail, argv=[]) == ExitCode.INVALID
    assert capsys.readouterr().err == (
        "lab.yaml:2:3: unknown key `nods`\n  nods:\n  ^\nlab.yaml:9:1: wrong\n"
        "2 problems in the lab file [LAB-FILE-001]\n"
    )


def test_what_nobody_foresaw_is_one_sentence_and_a_log(labctl_home: Path) -> None:
    process = slow("broken")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert "Traceback" not in err
    assert err.splitlines()[0] == "internal error: RuntimeError: something nobody foresaw"
    log = labctl_home / "errors.log"
    assert str(log) in err
    assert "Traceback" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_without_a_place_for_the_log_the_error_is_still_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    process = subprocess.run(
        [sys.executable, "-c", SLOW, "broken"],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "LABCTL_HOME": str(tmp_path / "file" / "home")},
        check=False,
    )
    assert process.returncode == 1
    assert process.stderr.splitlines()[1] == "hint: this is a bug in labctl"


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=lambda value: str(value),
)
def test_signals_unwind_and_give_their_code(number: signal.Signals, code: int) -> None:
    process = slow("slow")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert out == "unwound\n"
    assert err == ("interrupted\n" if number == signal.SIGINT else "")


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    command = ["nohup", sys.executable, "-c", SLOW, "slow"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    process.terminate()
    assert process.communicate(timeout=20)[0] == "unwound\n"


def test_a_child_that_ended_with_130_is_no_interrupt() -> None:
    process = slow("child")
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 130


def test_a_closed_pipe_is_quiet() -> None:
    process = slow("many")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(timeout=20) in (0, 1)


def test_a_pipe_closed_before_the_first_byte_is_quiet() -> None:
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, "-c", "from labctl.app import main; main()", "version", "-o", "json"],
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=30,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        check=False,
    )
    os.close(write)
    assert process.stderr == b""
    assert process.returncode in (0, 1)


@pytest.mark.parametrize(
    "words",
    [["--nonsense"], ["no-such-command"], ["status", "--output", "xml"], ["up", "--timeout", "soon"], ["exec"]],
    ids=" ".join,
)
def test_usage_errors_are_two(words: list[str]) -> None:
    process = labctl(*words)
    assert process.returncode == 2
    assert process.stdout == ""
    assert "Error" in process.stderr


def test_near_names_of_commands_are_offered() -> None:
    assert "Did you mean 'status'" in labctl("statsu").stderr


def test_version() -> None:
    assert labctl("--version").stdout == "labctl 0.1.0\n"
    document = json.loads(labctl("version", "-o", "json").stdout)
    assert (document["version"], document["kind"], document["labctl"]) == (1, "version", "0.1.0")


def test_an_invalid_lab_file_is_three(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("name: x\nnods: {}\n")
    process = labctl("graph", "-f", str(file))
    assert process.returncode == 3
    assert f"{file}:2:1:" in process.stderr.replace(os.path.relpath(file), str(file))


@pytest.mark.engine
def test_no_such_lab_is_nine() -> None:
    process = labctl("status", "--name", "e-no-such-lab")
    assert process.returncode == 9
    assert process.stderr.splitlines()[-1].startswith("hint: ")
