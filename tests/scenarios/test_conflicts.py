"""What somebody else has taken: another is chosen where labctl chose, said clearly where the lab file did."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import count

import pytest
from docker.types import IPAMConfig, IPAMPool

from tests.scenarios.project import Project, end
from tests.scenarios.proxy import Proxy, Request

pytestmark = pytest.mark.engine


@contextmanager
def taken(port: int) -> Iterator[None]:
    """Somebody listens on a port of this host."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield


def host_port(project: Project, node: str) -> int:
    """The port of the host that a node was made with."""
    ports = json.loads(project.inspect(node)["Config"]["Labels"]["labctl.ports"])
    return int(ports[0][1])


def test_a_chosen_subnet_taken_in_between(project: Project) -> None:
    project.write("nodes: {a: {}}")
    made: list[str] = []

    def take(request: Request) -> None:
        if request.path == "/networks/create" and not made:
            subnet = json.loads(request.body)["IPAM"]["Config"][0]["Subnet"]
            pool = IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)])
            made.append(project.engine.create_network(f"other-{project.name}", ipam=pool)["Id"])

    with Proxy(before=take) as proxy:
        try:
            ran = project.labctl("up", env=proxy.env)
        finally:
            for network in made:
                project.engine.remove_network(network)
    assert made
    assert "in use by another network" in ran.err
    assert "choosing another" in ran.err
    project.sh("a", "true")


def test_a_chosen_port_taken_in_between_and_later(project: Project) -> None:
    project.write("nodes: {a: {ports: ['80']}}")
    with Proxy() as proxy, socket.socket() as listener:

        def take(request: Request) -> None:
            if request.path.endswith("/start") and not listener.getsockname()[1]:
                listener.bind(("127.0.0.1", host_port(project, "a")))
                listener.listen()

        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        proxy.before = take
        ran = project.labctl("up", env=proxy.env)
        assert "in use already: choosing another" in ran.err
        assert host_port(project, "a") != listener.getsockname()[1]

    before, port = project.ids(), host_port(project, "a")
    project.labctl("stop")
    with taken(port):
        assert f"port 127.0.0.1:{port} of this host is in use" in project.labctl("start", code=4).err
        project.labctl("up", code=2)
        assert project.ids() == before
        project.labctl("up", "--yes")
        assert host_port(project, "a") != port
    assert project.plan() == []


def test_what_the_file_asks_for_is_taken(project: Project) -> None:
    project.write("nodes: {a: {ports: ['38999:80']}, b: {}}")
    with taken(38999):
        ran = project.labctl("up", code=7)
        assert "port 127.0.0.1:38999 of this host is in use already" in ran.err
        assert "ss -ltnup" in ran.err
        project.sh("b", "true")
    project.labctl("up")
    project.labctl("down")

    pool = IPAMConfig(pool_configs=[IPAMPool(subnet="10.208.9.0/24")])
    network = project.engine.create_network(f"other-{project.name}", ipam=pool)["Id"]
    try:
        project.write("networks: {lan: {subnet: 10.208.9.128/25}}\nnodes: {a: {}}")
        for command in ("plan", "up"):
            assert "10.208.9.128/25 of network lan overlaps 10.208.9.0/24" in project.labctl(command, code=4).err
        assert project.networks() == []
    finally:
        project.engine.remove_network(network)
    project.labctl("up")


def test_an_image_that_nobody_has(project: Project) -> None:
    project.write("nodes: {a: {image: 'localhost:1/nothing:1'}, b: {}}")
    ran = project.labctl("up", code=7)
    assert "localhost:1/nothing:1" in ran.err
    assert "hint" in ran.err
    project.sh("b", "true")


def twins() -> tuple[str, str]:
    """Two lab names for which labctl's first choice of subnet and of port is the same."""
    known: dict[tuple[int, int], str] = {}
    for number in count():
        name = f"h-{number:x}"
        key = (_place(f"{name}/lan", 4096), _place(f"{name}/a/80", 10000))
        if key in known:
            return known[key], name
        known[key] = name
    raise AssertionError


def _place(key: str, choices: int) -> int:
    return int.from_bytes(sha256(key.encode()).digest()[:8]) % choices


def test_two_labs_at_the_same_moment(new_project: Callable[..., Project]) -> None:
    projects = [new_project(name, name=name) for name in twins()]
    for project in projects:
        project.write("nodes: {a: {ports: ['80']}}")
    for process in [project.begin("up") for project in projects]:
        ran = end(process)
        assert ran.code == 0, ran.err
    assert len({project.address("a") for project in projects}) == 2
    assert len({host_port(project, "a") for project in projects}) == 2


def test_gc_takes_what_a_killed_run_left_and_nothing_else(
    project: Project, new_project: Callable[..., Project]
) -> None:
    other = new_project("other")
    other.write("nodes: {b: {}}")
    other.labctl("up")
    kept = other.ids()
    project.write("nodes: {a: {}}")
    process = None

    def kill(request: Request) -> None:
        if request.path.endswith("/start") and process is not None:
            process.kill()
            process.wait()
            raise ConnectionAbortedError  # the engine never hears of it

    with Proxy(before=kill) as proxy:
        process = project.begin("up", env=proxy.env)
        process.wait(60)
    assert project.inspect("a")["State"]["Status"] == "created"
    said = project.labctl("gc", "--dry-run").out
    assert f"node a of {project.name}" in said
    assert other.name not in said
    project.labctl("gc", "--name", project.name, code=2)
    assert project.ids()
    project.labctl("gc", "--yes", "--name", project.name)
    assert project.ids() == {}
    assert project.networks() == []
    assert not project.state.exists()
    assert other.ids() == kept
