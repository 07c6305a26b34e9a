"""The engine's labels are the state: labctl's own files may be lost, broken, or of another directory."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from tests.scenarios.project import Project
from tests.scenarios.vnc import vnc_accepts

pytestmark = pytest.mark.engine

LAB = """
nodes:
  dev: {desktop: true}
  web: {files: {/etc/word: {content: one}}, run: [echo ran >> /root/ran], services: {idle: {command: sleep infinity}}}
"""


def test_all_of_it_lost(project: Project) -> None:
    project.write(LAB)
    project.labctl("up")
    before = project.ids()
    old = project.secrets()["dev"]["vnc_password"]
    assert vnc_accepts(project.address("dev"), old)
    shutil.rmtree(project.state)

    status = project.labctl("status", "-o", "json").data
    assert {node["name"]: node["state"] for node in status["nodes"]} == {"dev": "running", "web": "running"}
    assert "configure node/dev" in project.plan()

    project.labctl("up")
    assert project.ids() == before
    assert project.ssh("dev", "hostname") == "dev"
    assert project.ssh("web", "hostname") == "web"
    new = project.secrets()["dev"]["vnc_password"]
    assert vnc_accepts(project.address("dev"), new)
    assert not vnc_accepts(project.address("dev"), old)
    known = project.sh("_gateway", "cat /etc/lab/gateway.json")
    assert new in known
    assert project.secrets()["dev"]["token"] in known
    assert project.sh("web", "cat /root/ran") == "ran"
    assert project.plan() == []

    shutil.rmtree(project.state)
    project.labctl("down", "--name", project.name)
    assert project.ids() == {}
    assert project.networks() == []


def test_each_file_cut_in_half(project: Project) -> None:
    project.write(LAB)
    project.labctl("up")
    before = project.ids()
    files = sorted(path for path in project.state.iterdir() if path.is_file())
    assert {path.name for path in files} >= {"id_ed25519", "secrets.json", "journal.json", "ssh_config", "source.json"}
    for cut in ([project.state / "secrets.json"], files):
        for path in cut:
            data = path.read_bytes()
            path.write_bytes(data[: len(data) // 2])
        project.labctl("status")
        project.labctl("up")
        assert project.ids() == before
        for node in ("dev", "web"):
            assert project.ssh(node, "hostname") == node
        assert vnc_accepts(project.address("dev"), project.secrets()["dev"]["vnc_password"])
        assert project.plan() == []
    for path in project.state.iterdir():
        path.write_bytes(b"\xff\x00")
    project.labctl("down")
    assert project.ids() == {}


def test_a_change_put_in_is_not_forgotten_with_the_journal(project: Project) -> None:
    project.write("nodes: {a: {files: {/etc/word: {content: one}}}}")
    project.labctl("up")
    project.write("nodes: {a: {files: {/etc/word: {content: two}}}}")
    project.labctl("up")
    (project.state / "journal.json").write_text('{"nodes": {"abc')
    project.write("nodes: {a: {files: {/etc/word: {content: one}}}}")
    project.labctl("up")
    assert project.sh("a", "cat /etc/word") == "one"


def test_the_file_is_gone_or_says_something_else(project: Project) -> None:
    project.write("nodes: {a: {}}")
    project.labctl("up")
    project.file.write_text("name: [broken\n")
    project.labctl("status")
    project.file.unlink()
    project.labctl("status")
    project.labctl("down")
    assert project.ids() == {}

    project.write("nodes: {a: {}}")
    project.labctl("up")
    project.file.write_text("name: h-renamed\nnodes: {a: {}}\n")
    assert project.name in project.labctl("status", "-o", "json").out
    project.labctl("down")
    assert project.ids() == {}

    project.write("nodes: {a: {}, b: {networks: [lan, san]}}\nnetworks: {lan: {}, san: {}}")
    project.labctl("up")
    project.write("nodes: {c: {}}")
    project.labctl("down")
    assert project.ids() == {}
    assert project.networks() == []

    project.write("nodes: {a: {}}")
    project.labctl("up")
    shutil.rmtree(project.state)
    project.file.unlink()
    project.labctl("down")
    assert project.ids() == {}


def test_a_lab_of_another_file_beside_it_is_left_alone(project: Project, new_project: Callable[..., Project]) -> None:
    project.write("nodes: {a: {}}")
    project.labctl("up")
    other = project.directory / "other.lab.yaml"
    other.write_text("name: h-beside\nnodes: {a: {}}\n")
    project.labctl("down", "-f", str(other))
    assert set(project.ids()) == {"a"}


def test_one_name_two_directories(project: Project, new_project: Callable[..., Project]) -> None:
    project.write("nodes: {a: {}}\nvolumes: {data: {type: local}}")
    other = new_project("other", name=project.name)
    other.write("nodes: {b: {volumes: [data:/data]}}\nvolumes: {data: {type: local}}")
    other.labctl("up")
    before = other.ids()
    for command in ("up", "plan"):
        refused = project.labctl(command, code=1)
        assert str(other.directory) in refused.err
        assert f"labctl down -n {project.name}" in refused.err
    assert project.ids() == before
    other.labctl("down")
    refused = project.labctl("up", code=1)
    assert f"labctl down -n {project.name} --volumes" in refused.err
    other.labctl("down", "--volumes")
    project.labctl("up")


def test_what_is_not_ours_is_left_alone(project: Project, tiny: str) -> None:
    engine = project.engine
    project.write("nodes: {a: {volumes: [data:/data]}, b: {}}\nvolumes: {data: {type: local}}")
    made = engine.create_container(tiny, ["sh", "-c", "exec sleep 600"], name=project.container("a"))["Id"]
    network = engine.create_network(f"labctl-{project.name}-lan")["Id"]
    volume = engine.create_volume(f"labctl-{project.name}-data")["Name"]
    engine.start(made)
    try:
        for name in (f"labctl-{project.name}-lan", f"labctl-{project.name}-data"):
            ran = project.labctl("up", code=4)
            assert f"name {name} belongs to something that labctl did not make" in ran.err
            assert "hint" in ran.err
        engine.remove_network(network)
        network = ""
        engine.remove_volume(volume)
        volume = ""
        ran = project.labctl("up", code=7)
        assert f"name {project.container('a')} belongs to something that labctl did not make" in ran.err
        assert engine.inspect_container(made)["State"]["Running"]
        project.labctl("down", "--volumes")
        assert engine.inspect_container(made)["State"]["Running"]
    finally:
        engine.remove_container(made, force=True)
        if network:
            engine.remove_network(network)
        if volume:
            engine.remove_volume(volume)
    project.labctl("up")
