"""status, inspect and ls: what they print of labs that are plain data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from labctl import api
from labctl.app import _guarded, build
from labctl.errors import NotFoundError
from labctl.lab import LabDirectory
from labctl.model.lab import Lab
from labctl.plan.model import ObservedLab
from labctl.source.load import Loaded, Origins
from tests.ui.observed import CANARY, lab, observed

Run = Callable[..., int]

STATUS = """\
NODE   STATE       HEALTH   ADDRESSES       PORTS                DESKTOP   IMAGE
web-1  running     healthy  lan=10.77.0.21  127.0.0.1:20080->80            debian-13
dev    running              lan=10.77.0.22                       1280x800  debian-13
late   missing              lan=10.77.0.30  127.0.0.1->80                  debian-13
old    exited (3)                                                          valkey/valkey:8
"""


def loaded(found: Lab) -> Loaded:
    """The lab as it comes out of a file."""
    return Loaded(found, {}, Origins(None, ()), (found.directory / "lab.yaml",))  # type: ignore[arg-type]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command line on a host that has the one lab of `observed`."""

    def open_lab(name: str) -> api.RunningLab:
        if name != "shop":
            raise NotFoundError(f"no lab {name} on this host")
        return api.RunningLab(name, None, observed(), LabDirectory(tmp_path, name))  # type: ignore[arg-type]

    monkeypatch.setattr(api, "open_lab", open_lab)
    monkeypatch.setattr(api, "load", lambda files: loaded(lab()))
    return lambda *words: _guarded(lambda: build(words).main(words, prog_name="labctl"), argv=words)


def test_status(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status") == 0
    seen = capsys.readouterr()
    assert seen.out == STATUS
    assert seen.err == "missing: late (labctl up makes them)\ndesktops: labctl vnc\n"


def test_what_to_type_next_names_the_lab_where_it_has_to(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """In the lab's directory it is found by its file; by name or by a file given with -f only these lead to it."""
    for words in (("--name", "shop"), ("-f", "elsewhere/lab.yaml")):
        assert run("status", *words) == 0
        assert capsys.readouterr().err.endswith("desktops: labctl vnc --name shop\n")


def test_ps_is_status(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ps") == 0
    assert capsys.readouterr().out == STATUS


def test_status_by_name_needs_no_file(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "load", lambda files: pytest.fail("the file is not asked for"))
    assert run("status", "--name", "shop", "-o", "name") == 0
    assert capsys.readouterr().out.split() == ["dev", "old", "web-1"]


def test_status_says_so_when_the_file_cannot_be_read(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(files: object) -> Loaded:
        raise NotFoundError("no lab file here")

    monkeypatch.setattr(api, "load", broken)
    monkeypatch.setattr(api, "find_lab", lambda files, name: "shop")
    assert run("status", "-o", "name") == 0
    seen = capsys.readouterr()
    assert seen.out.split() == ["dev", "old", "web-1"]
    assert seen.err == "note: the lab file is left out: no lab file here\n"


def test_a_file_of_that_name_elsewhere_says_nothing_about_the_lab(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    monkeypatch.setattr(api, "load", lambda files: loaded(replace(lab(), directory=Path("/elsewhere"))))
    assert run("status", "-o", "name") == 0
    assert "late" not in capsys.readouterr().out


def test_no_such_lab_is_nine(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", "--name", "other") == 9
    assert run("inspect", "--name", "other") == 9


def test_inspect_shows_a_node_and_no_secret(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", "web-1") == 0
    seen = capsys.readouterr().out
    assert seen.startswith("web-1\n")
    assert "TOKEN=********" in seen
    assert "  packages      curl\n" in seen
    assert CANARY not in seen


@pytest.mark.parametrize("form", ["json", "yaml", "table"])
def test_inspect_of_all_nodes_has_no_secret(run: Run, capsys: pytest.CaptureFixture[str], form: str) -> None:
    assert run("inspect", "-o", form) == 0
    seen = capsys.readouterr().out
    assert CANARY not in seen
    assert all(name in seen for name in ("web-1", "dev", "late", "old"))
    assert "_gateway" not in seen


def test_inspect_takes_groups_and_missing_nodes(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", "web", "late", "-o", "name") == 0
    assert capsys.readouterr().out.split() == ["web-1", "late"]


def test_inspect_of_an_unknown_node_is_nine(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", "wbe-1") == 9
    assert "web-1" in capsys.readouterr().err


def test_ls(run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    labs = [
        ObservedLab(
            "shop",
            frozenset({"/labs/shop"}),
            3,
            2,
            created=time.time() - 7300,
            owner="ana",
            expires=time.time() + 7300,
            disk=3 * 2**19,
        ),
        ObservedLab("half", frozenset(), 0, 0, networks=1),
    ]
    monkeypatch.setattr(api, "labs", lambda *, sizes: labs)
    assert run("ls") == 0
    assert capsys.readouterr().out == (
        "LAB   RUNNING  OWNER  AGE  ENDS IN  DISK  DIRECTORY\n"
        "half  0/0\n"
        "shop  2/3      ana    2h   2h       2MiB  /labs/shop\n"
    )
    assert run("ls", "-o", "json") == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["labs"]] == ["half", "shop"]


def test_ls_of_an_empty_host(run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "labs", lambda *, sizes: [])
    assert run("ls") == 0
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.startswith("no labs on this host")
