"""The gates of the house: what has to hold for the code as text. Each stands for a tool's own report when it is red."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
LONGEST = 400


def tool(*argv: str) -> None:
    """Run a tool of this environment in the checkout; what it complains about is the failure's text."""
    done = subprocess.run([str(BIN / argv[0]), *argv[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(argv)}\n{done.stdout}{done.stderr}", pytrace=False)


def test_code_is_formatted() -> None:
    tool("ruff", "format", "--check", "--diff", "cli", "tests")


def test_linter_has_no_complaint() -> None:
    tool("ruff", "check", "cli", "tests")


def test_types_hold() -> None:
    tool("mypy")


def test_layers_and_imports_hold() -> None:
    tool("lint-imports", "--no-cache")


def test_no_file_of_the_package_is_too_long() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / "cli").rglob("*.py")}
    assert {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > LONGEST} == {}


def test_schema_of_the_lab_file_is_up_to_date() -> None:
    from labctl.model.schema import json_schema

    written = json.loads((ROOT / "docs/lab.schema.json").read_text())
    assert written == json_schema(), "labctl schema > docs/lab.schema.json"


def test_schema_of_documents_is_up_to_date() -> None:
    from labctl.documents.schema import schema

    written = json.loads((ROOT / "docs/documents.schema.json").read_text())
    assert written == schema()


def test_the_reference_is_up_to_date() -> None:
    from tests.docs import reference

    assert (ROOT / "docs/reference.md").read_text() == reference.text(), "make docs"
