"""The Jenkinsfile and the devcontainer are what their own programs read (`make linters`)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.requirements import LINTERS

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.linters


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    """Read the Jenkinsfile of a directory as Jenkins's own language does, with the rules for such files."""
    argv = [str(LINTERS / "npm-groovy-lint"), "--noserver", "--no-insight", "--failon", "warning", "--output", "txt"]
    argv += ["--config", "recommended-jenkinsfile", "--path", str(directory), "--files", "**/Jenkinsfile"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)


def test_the_jenkinsfile_has_no_fault() -> None:
    done = lint(ROOT / "examples/ci")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_fault_would_be_found(tmp_path: Path) -> None:
    text = (ROOT / "examples/ci/Jenkinsfile").read_text()
    (tmp_path / "Jenkinsfile").write_text(text.replace("stages {", "stages {{"))
    done = lint(tmp_path)
    assert done.returncode != 0
    assert "Unexpected input" in done.stdout


def test_the_devcontainer_can_be_read() -> None:
    argv = [str(LINTERS / "devcontainer"), "read-configuration", "--workspace-folder", str(ROOT)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)["configuration"]
    assert read["name"] == "labctl"
    assert "make environment" in read["postCreateCommand"]
