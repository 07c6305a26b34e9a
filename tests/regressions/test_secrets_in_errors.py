"""What stands in a lab file under a secret key is in no error, whatever the error is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl.errors import InvalidLabError
from labctl.source.load import load

CASES = {
    "a colon does not fit": "  web:\n    environment:\n      KEY: hunter: hunter",
    "a quote is never closed": '  web: {users: {ana: {password: "hunter}}}',
    "a control character": "  web:\n    users:\n      ana:\n        password: |\n          hunter\x01hunter",
    "a flow that is not closed": "  web: {environment: {A: hunter, B: [hunter}",
    "a tab": "  web:\n    environment:\n\tKEY: hunter",
    "a wrong type": "  web: {users: {ana: {password: {a: hunter}}}}",
    "a list of variables": "  web: {environment: [A=hunter, B=hunter]}",
    "one string of variables": "  web: {environment: A=hunter}",
    "another value of the line": "  web: {environment: {A: hunter}, memory: two}",
    "a misspelled key": "  web: {users: {ana: {passwort: hunter}}}",
    "a value that is given twice": "  web: {environment: {A: hunter, A: hunter}}",
    "a tag": "  web: {environment: {A: !hunt hunter}}",
    "a text of several lines": '  web: {environment: {A: "hunter\n    hunter", B: [1]}}',
    "defaults": "  web: {memory: 1}\ndefaults: {environment: {A: [hunter]}}",
    "an alias": "  web: {environment: {A: *a, B: *b}}\nx-a: {a: &a hunter, b: &b hunter}\nx-b: &b [hunter]",
    "what an alias stands for": "  web: {memory: &b [hunter], environment: {A: *b}}",
}


@pytest.mark.parametrize("nodes", CASES.values(), ids=CASES)
def test_no_error_shows_a_secret(nodes: str, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(f"name: shop\nnodes:\n{nodes}\n")
    with pytest.raises(InvalidLabError) as caught:
        load(None, cwd=tmp_path, environ={}, home=tmp_path, boxes=("debian-13",))
    assert "hunter" not in "\n".join(caught.value.details)


def test_what_is_no_secret_is_shown(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("name: shop\nnodes:\n  token: {hostname: [seen], environment: {A: on}}\n")
    with pytest.raises(InvalidLabError) as caught:
        load(None, cwd=tmp_path, environ={}, home=tmp_path, boxes=("debian-13",))
    said = "\n".join(caught.value.details)
    assert "seen" in said
    assert "unquoted `on`" in said
    assert "***" not in said
