"""A second `up`, `plan` and `status` ask the engine and never tell it anything."""

from __future__ import annotations

import pytest

from tests.scenarios.project import Project
from tests.scenarios.proxy import Proxy

pytestmark = pytest.mark.engine

LAB = """
nodes:
  dev: {desktop: true, ports: ["80"]}
  web:
    count: 2
    run: [echo once]
    services: {idle: {command: sleep infinity}}
    users: {ana: {sudo: true}}
    healthcheck: {test: "true", interval: 1s, timeout: 1s, retries: 20}
    volumes: [data:/data]
  cache: {image: <image>, command: <idle>}
  once: {image: <image>, command: "exit 0"}
  last: {image: <image>, command: <idle>, depends_on: {once: {condition: completed}, web: {condition: healthy}}}
volumes:
  data: {type: local}
"""


def test_what_is_as_desired_is_only_read(project: Project, tiny: str) -> None:
    project.write(LAB, image=tiny)
    project.labctl("up")
    before = project.ids()
    for command in (["up"], ["plan", "--exit-code"], ["status"], ["status", "-o", "json"], ["up", "web", "last"]):
        with Proxy(reads_only=True) as proxy:
            project.labctl(*command, env=proxy.env)
        assert proxy.requests, "labctl went past the proxy"
        assert proxy.writes == [], command
    assert project.ids() == before


def test_plan_of_a_lab_that_is_not_there_only_reads(project: Project, tiny: str) -> None:
    project.write(LAB, image=tiny)
    with Proxy(reads_only=True) as proxy:
        project.labctl("plan", "--exit-code", env=proxy.env, code=10)
    assert proxy.requests
    assert proxy.writes == []
    assert project.ids() == {}
    assert not project.state.exists()


def test_the_proxy_would_see_a_write(project: Project) -> None:
    project.write("nodes: {a: {networks: []}}")
    with Proxy(reads_only=True) as proxy:
        project.labctl("up", env=proxy.env, code=1)
    assert "POST /containers/create" in proxy.writes
