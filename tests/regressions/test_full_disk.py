"""A full disk, a home that cannot be used, output that cannot be written: said plainly, none is labctl's mistake."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.app import _guarded
from labctl.lab import LabDirectory
from tests.desktop.lab import LABCTL

LAB = "name: k-home\nnodes: {a: {}}\n"


def _sh(script: str, *, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", script, LABCTL], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("words", ["schema", "version", "validate -o json", "graph --format dot", "--help"])
def test_output_that_cannot_be_written(words: str, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    ran = _sh(f'"$0" {words} >/dev/full', cwd=tmp_path)
    assert ran.stderr == "error[LAB-USE-003]: cannot write the output: No space left on device\n"
    assert ran.returncode == 1


def test_errors_that_cannot_be_written_keep_their_exit_code(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("name: 1\n")
    assert _sh('"$0" validate 2>/dev/full', cwd=tmp_path).returncode == 3


def _fails(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LABCTL_HOME", str(home))
    code = _guarded(lambda: LabDirectory(home, "k").remember_source(["x" * 300_000], "/"), argv=["up"])
    said = capsys.readouterr().err
    assert code == 4
    assert "internal" not in said
    assert "LABCTL_HOME" in said.splitlines()[1]
    return said.splitlines()[0]


def test_a_home_that_is_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    said = _fails(tmp_path / "file", capsys, monkeypatch)
    assert said.startswith(f"error[LAB-USE-003]: cannot use {tmp_path}/file")
    assert said.endswith("Not a directory")


def test_a_home_that_cannot_be_made(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    said = _fails(Path("/proc/labctl/home"), capsys, monkeypatch)
    assert said.startswith("error[LAB-USE-003]: cannot use /proc/labctl")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this user cannot mount")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_home_on_a_full_disk(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = _fails(small, capsys, monkeypatch)
    assert said.startswith(f"error[LAB-USE-003]: cannot write {small}")
    assert said.endswith("No space left on device")


def test_a_home_that_is_read_only(
    small: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    assert _fails(small, capsys, monkeypatch).endswith("Read-only file system")


def test_what_another_file_refuses_stays_an_internal_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path / "home"))

    def fail() -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/elsewhere/file")

    assert _guarded(fail, argv=["up"]) == 1
    assert "internal error: PermissionError" in capsys.readouterr().err
