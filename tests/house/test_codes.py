"""Every error that reaches a user has a code that `labctl explain` and the docs know, and no code has no error."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl import codes, errors

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "cli/labctl"
OPEN = {
    "commands/ci.py",  # tells again what a phase of the job has told, with its code
}


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every place of the package that makes an error, by its file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Error"):
                yield str(path.relative_to(PACKAGE)), node


def given(call: ast.Call) -> str | None:
    """The code that the call itself names."""
    word = next((each.value for each in call.keywords if each.arg == "code"), None)
    return word.value if isinstance(word, ast.Constant) and isinstance(word.value, str) else None


def of_classes() -> dict[str, str]:
    """The codes of error classes, by class, as their files have them."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        for match in re.finditer(
            r'class (\w+)\([^)]*\):(?:(?!\nclass )[\s\S])*?\n    code(?:: str)? = "([\w-]+)"', path.read_text()
        ):
            found[match[1]] = match[2]
    return found


def test_no_error_of_the_general_kind_is_without_a_code() -> None:
    bare = [
        f"{file}:{call.lineno}"
        for file, call in calls()
        if isinstance(call.func, ast.Name)
        and call.func.id == "LabctlError"
        and file not in OPEN
        and not any(each.arg == "code" for each in call.keywords)
    ]
    assert bare == [], "give it a code of codes.py: LabctlError(…, code=…)"


def test_codes_in_use_and_codes_explained_are_the_same() -> None:
    used = {code for _, call in calls() if (code := given(call))} | set(of_classes().values())
    assert used - set(codes.CODES) == set(), "explain them in codes.py"
    assert set(codes.CODES) - used == set(), "no error has these"


def test_every_class_of_the_errors_has_a_code() -> None:
    classes = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.LabctlError)
    ]
    assert len(classes) > 8
    assert {each.code for each in classes} <= set(codes.CODES)
    assert of_classes().keys() >= {each.__name__ for each in classes}


@pytest.mark.parametrize("each", codes.CODES.values(), ids=lambda each: each.code)
def test_explanations_are_whole(each: codes.Explanation) -> None:
    assert re.fullmatch(r"LAB-[A-Z]+-\d{3}", each.code)
    assert each.area in codes.AREAS
    assert not each.title.endswith(".")
    assert each.text.endswith((".", "`"))


def test_the_docs_list_them() -> None:
    assert (ROOT / "docs/errors.md").read_text() == codes.markdown(), "labctl explain --markdown > docs/errors.md"
