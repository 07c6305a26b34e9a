"""Every directory here is one mistake in a lab file, and what labctl says about it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from labctl.errors import ExitCode, InvalidLabError
from labctl.source.load import load

CASES = sorted(path.parent for path in Path(__file__).parent.glob("*/lab.yaml"))
BOXES = ("debian-12", "debian-13")


def said(case: Path) -> str:
    """What labctl says about the lab file of a case."""
    with pytest.raises(InvalidLabError) as caught:
        load(None, cwd=case, environ={}, home=case, boxes=BOXES)
    assert caught.value.exit_code is ExitCode.INVALID
    return "\n".join([*caught.value.details, *([f"hint: {caught.value.hint}"] if caught.value.hint else [])]) + "\n"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_said(case: Path) -> None:
    assert said(case).replace(f"{case}/", "") == (case / "expected.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_problem_points_at_a_line_that_is_there(case: Path) -> None:
    text = (case / "lab.yaml").read_text(encoding="utf-8")
    for problem in said(case).split("\nlab.yaml:")[0:]:
        number, column = problem.removeprefix("lab.yaml:").split(":")[:2]
        lines = text.splitlines() or [""]
        assert 1 <= int(number) <= len(lines)
        assert 1 <= int(column) <= len(lines[int(number) - 1]) + 1


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 50


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_without_the_c_parser_the_same_is_said(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labctl.source.yamlio._LOADER", yaml.SafeLoader)
    test_what_is_said(case)
