"""`labctl why` on a lab in which several things are wrong: each is named, with the probe's words and what to try."""

from __future__ import annotations

from typing import Any

import pytest

from tests.scenarios.project import Project

pytestmark = pytest.mark.engine

LAB = """
nodes:
  good: {services: {quiet: {command: sleep 100000}}}
  sick:
    services: {chatty: {command: "echo it talks; sleep 100000"}}
    healthcheck: {test: "echo the cause >&2; exit 7", interval: 300ms, timeout: 1s, retries: 2}
  later: {depends_on: {sick: {condition: healthy}}}
  halted: {}
"""


def reasons(project: Project, *names: str) -> dict[str, Any]:
    return {node["node"]: node for node in project.labctl("why", *names, "-o", "json").data["nodes"]}


def failing(reason: Any) -> dict[str, str]:
    return {each["what"]: each["said"] for each in reason["conditions"] if not each["holds"]}


def test_every_reason_is_told_with_what_to_try(project: Project) -> None:
    project.write(LAB)
    project.labctl("up", "--timeout", "15s", code=5)
    project.labctl("stop", "halted")
    found = reasons(project)
    assert {name: reason["well"] for name, reason in found.items()} == {
        "good": True,
        "halted": False,
        "later": False,
        "sick": False,
    }
    assert "the cause" in failing(found["sick"])["its healthcheck"]
    assert "chatty: it talks" in "\n".join(found["sick"]["log"])
    assert "(unhealthy)" in failing(found["later"])["sick to be healthy"]
    assert failing(found["later"])["to run"] == "Created"
    assert list(failing(found["halted"])) == ["to run"]
    page = project.labctl("why").out
    assert "good" not in page
    assert "try: labctl start halted" in page
    assert "try: labctl why sick" in page
    assert list(reasons(project, "good")) == ["good"]
    project.labctl("exec", "good", "--", "sv", "down", "/run/lab/sv/quiet")
    assert "quiet: down" in failing(reasons(project, "good")["good"])["its services to stay up"]
    project.labctl("exec", "good", "--", "pkill", "-x", "sshd")
    project.labctl("exec", "good", "--", "sv", "down", "/run/lab/sv/sshd")
    assert any("22" in said for said in failing(reasons(project, "good")["good"]).values())
    project.labctl("why", "godo", code=9)
    project.file.write_text(project.file.read_text() + "  new: {}\n")
    assert failing(reasons(project, "new")["new"]) == {"to be there": "not on this host"}
