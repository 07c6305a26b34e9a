"""A short run of the fuzzer; the long one is `make fuzz`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNS = 1500


def test_texts_that_reach_new_code_crash_nothing(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="no atheris for this Python")
    words = [sys.executable, "-m", "tests.fuzz", f"-runs={RUNS}", f"-artifact_prefix={tmp_path}/"]
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    covered = [int(each) for each in re.findall(r"^#\d+.* cov: (\d+)", ran.stderr, re.MULTILINE)]
    assert covered[-1] > covered[0] > 1000
