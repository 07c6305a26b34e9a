"""What the shell is offered: names out of labctl's own directory, in silence."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labctl.commands import complete
from labctl.lab import LabDirectory


def offered(line: str, *, cwd: Path) -> list[str]:
    """The words that bash is offered at the end of `line`; nothing may be said on stderr."""
    words = line.split(" ")
    process = subprocess.run(
        [sys.executable, "-c", "from labctl.app import main; import sys; sys.argv[0] = 'labctl'; main()"],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=cwd,
        env={**os.environ, "_LABCTL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        check=False,
    )
    assert process.stderr == ""
    return process.stdout.split()


@pytest.fixture
def labs(labctl_home: Path, tmp_path: Path) -> Path:
    """Two labs that are up; the directory of the first."""
    for name, nodes in (("shop", ("web-1", "web-2", "db")), ("other", ("dev",))):
        (tmp_path / name / "deep").mkdir(parents=True)
        directory = LabDirectory(labctl_home, name)
        directory.remember_source([str(tmp_path / name / "lab.yaml")], str(tmp_path / name))
        directory.write_ssh_config(dict.fromkeys(nodes, "10.77.0.2"), {})
    return tmp_path / "shop"


def test_lab_names(labs: Path) -> None:
    assert offered("labctl status --name ", cwd=labs) == ["other", "shop"]
    assert offered("labctl status -n s", cwd=labs) == ["shop"]


def test_nodes_of_the_directory_and_below(labs: Path) -> None:
    assert offered("labctl ssh ", cwd=labs) == ["web-1", "web-2", "db"]
    assert offered("labctl inspect we", cwd=labs / "deep") == ["web-1", "web-2"]


def test_nodes_of_the_lab_that_is_named(labs: Path) -> None:
    assert offered("labctl stop --name other ", cwd=labs) == ["dev"]
    assert offered(f"labctl stop --file {labs.parent}/other/lab.yaml ", cwd=labs) == ["dev"]


def test_what_stands_there_already_is_not_offered_again(labs: Path) -> None:
    assert offered("labctl stop web-1 ", cwd=labs) == ["web-2", "db"]


def test_nodes_of_a_file_that_is_not_up_yet(labctl_home: Path, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("name: new\nnodes: {web: {count: 2}, db: {}}\n")
    assert offered("labctl up ", cwd=tmp_path) == ["web-1", "web-2", "db"]


def test_nothing_and_no_error_when_all_is_broken(labctl_home: Path, tmp_path: Path) -> None:
    labctl_home.write_text("a file where the directory should be")
    (tmp_path / "lab.yaml").write_text("nodes: [")
    assert offered("labctl up ", cwd=tmp_path) == []
    assert offered("labctl status --name ", cwd=tmp_path) == []


def test_commands_and_flags(tmp_path: Path) -> None:
    assert {"status", "ssh", "up"} <= set(offered("labctl ", cwd=tmp_path))
    assert "--output" in offered("labctl status --", cwd=tmp_path)
    assert offered("labctl status --output ", cwd=tmp_path) == ["table", "json", "yaml", "name"]


def test_a_wait_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(complete, "DEADLINE", 0.1)
    began = time.monotonic()
    assert complete._within_deadline(lambda: time.sleep(5) or ["late"]) == []  # type: ignore[func-returns-value]
    assert time.monotonic() - began < 2
