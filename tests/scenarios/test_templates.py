"""What `labctl init` gives comes up as it is, and its own checks hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl import Lab

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

TEMPLATES = sorted(Path(__file__).resolve().parents[2].glob("templates/labs/*/lab.yaml"))


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.parent.name)
def test_a_template_is_a_lab_whose_checks_hold(host_state: None, file: Path) -> None:
    with Lab(file, name="auto") as lab:
        assert all(node.observed.state == "running" for node in lab)
        assert {check.name: check.output for check in lab.test().checks if check.state != "passed"} == {}
