"""Nothing that a lab file or a node says makes a terminal obey: escape sequences, directions of writing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from labctl import api
from labctl.app import _guarded, build
from labctl.commands.lab import _print_up
from labctl.commands.options import OutputFormat
from labctl.commands.session import Session
from labctl.documents.verdicts import CheckDocument, ChecksDocument
from labctl.errors import ChecksFailedError, HostError
from labctl.events import Notice
from labctl.lifecycle import Up
from labctl.model.lab import Lab
from labctl.ui.checks import print_checks
from labctl.ui.display import open_display
from labctl.ui.errors import print_error

EVIL = "\x1b]0;gotcha\x07\x1b[31m\u202e\u2066\x9b\x08"


def _tame(text: str) -> bool:
    return all(character == "\n" or character.isprintable() for character in text)


def _run(*words: str) -> int:
    return _guarded(lambda: build(words).main(words, prog_name="labctl"), argv=words)


def _written(text: str) -> str:
    return '"' + "".join(f"\\U{ord(c):08x}" if not c.isprintable() else c for c in text) + '"'


def test_a_name_in_an_error_about_a_lab_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = _written(f"n{EVIL}n\rn")
    Path("lab.yaml").write_text(
        f"name: k\nnodes: {{{name}: {{}}, a: {{depends_on: [{name}], memory: {name}, {name}: 1}}}}\n"
    )
    assert _run("validate") == 3
    said = capsys.readouterr().err
    assert _tame(said)
    assert said.count("lab.yaml:2:") == 4
    assert "there is no node `n" in said


def test_what_a_node_said_in_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(ChecksFailedError(f"it{EVIL}", details=[f"a{EVIL}\n  b{EVIL}"], hint=f"hint{EVIL}"))
    said = capsys.readouterr().err
    assert _tame(said)
    assert "error[LAB-CHECK-001]: it" in said
    assert "\n    b" in said


def test_what_a_node_said_in_the_table_of_checks(capsys: pytest.CaptureFixture[str]) -> None:
    check = CheckDocument(
        name="c",
        type="run",
        subject=f"cat{EVIL}",
        node="a",
        state="failed",
        attempts=1,
        seconds=1.0,
        output=f"no{EVIL}",
    )
    print_checks(ChecksDocument(lab="k", passed=False, checks=[check]))
    said = capsys.readouterr().out
    assert _tame(said)
    assert "no" in said.splitlines()[1]


@pytest.mark.parametrize("form", ["mermaid", "dot", "svg"])
def test_a_picture(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def no_engine() -> None:
        raise HostError("no engine")

    monkeypatch.setattr(api, "provider", no_engine)
    kind = _written(f"room{EVIL}")
    Path("lab.yaml").write_text(f"name: k\ndomains: {{d: {{kind: {kind}}}}}\nnodes: {{a: {{domain: d}}}}\n")
    assert _run("graph", "--format", form) == 0
    drawn = capsys.readouterr().out
    assert _tame(drawn)
    assert "room" in drawn


def test_the_message_of_a_lab(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session, result = SimpleNamespace(quiet=False), SimpleNamespace(exit_code=0)
    lab = Lab("k", tmp_path, {}, message=f"one{EVIL}\r\n  two\rthree\n")
    _print_up(lab, cast(Up, result), cast(Session, session), OutputFormat.TABLE)
    assert capsys.readouterr().err == "one\n  two three\n\n"


def test_a_notice(capsys: pytest.CaptureFixture[str]) -> None:
    with open_display("plain") as display:
        display.emit(Notice(f"kept{EVIL}", "warning"))
    said = capsys.readouterr().err
    assert "kept" in said
    assert _tame(said)
