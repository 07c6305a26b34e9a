"""Where labctl runs: a directory that is gone, a lab that another home works on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labctl.errors import BusyError
from labctl.lab import LabDirectory

LABCTL = str(Path(sys.executable).with_name("labctl"))


def test_a_removed_directory_is_no_bug(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"cd {gone} && rmdir {gone} && exec {LABCTL} validate"
    ran = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 9
    assert "internal error" not in ran.stderr
    assert "hint:" in ran.stderr


def test_homes_do_not_meet_on_one_lab(tmp_path: Path) -> None:
    one, other = (LabDirectory(tmp_path / name, "r-lock") for name in ("one", "other"))
    with one.lock(), pytest.raises(BusyError, match="r-lock") as caught, other.lock():
        raise AssertionError("both hold it")
    assert f"process {os.getpid()}" in caught.value.details[0]
    with other.lock():
        pass


def test_a_lock_is_gone_with_its_process(tmp_path: Path) -> None:
    program = "import os, signal; from pathlib import Path; from labctl.lab import LabDirectory\n"
    program += f"with LabDirectory(Path({str(tmp_path)!r}), 'r-lock').lock(): os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    with LabDirectory(tmp_path, "r-lock").lock():
        pass
