"""The lab of these tests itself: when it cannot be brought up, why can be read, and once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.access.conftest import Labctl, NotThereError, bring_up

pytest_plugins = ["pytester"]

WHY = "\n".join(f"line {number} of what went wrong" for number in range(200))


class Broken(Labctl):
    """A labctl that cannot bring a lab up."""

    def __call__(self, *argv: str, stdin: bytes = b"", timeout: float = 60) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(argv, 7, b"", WHY.encode())


def test_all_that_labctl_said_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotThereError) as caught:
        bring_up(Broken(tmp_path, "m-none", {}))
    assert "labctl up web" in str(caught.value)
    assert "exit code 7" in str(caught.value)
    assert WHY in str(caught.value)


def test_it_is_told_once(pytester: pytest.Pytester) -> None:
    """Two tests that want a lab that is not there: one fails with the whole text, the other is left out."""
    pytester.makeconftest(
        f"""
import pytest
from pathlib import Path
from tests.access.conftest import Common, Labctl, labctl

@pytest.fixture(scope="session")
def common():
    return Common(Labctl(Path(), "none", {{}}), failure={WHY!r})
"""
    )
    pytester.makepyfile("def test_one(labctl): pass\ndef test_two(labctl): pass")
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist")
    done.assert_outcomes(errors=1, skipped=1)
    text = done.stdout.str()
    assert WHY in text
    assert "conftest.py" not in text
