"""The fixture that finds leftovers finds them: each kind is left on purpose, and taken away again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.host_state import HostState, read_host, settled

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="leaving rules and devices behind is for root"),
]


@pytest.fixture
def engine() -> Iterator[Any]:
    import docker

    client = docker.APIClient(timeout=60)
    yield client
    client.close()


def new(before: HostState, own: Path, kind: str) -> list[str]:
    return settled(before, own, seconds=0).get(kind, [])


def test_nothing_new_is_nothing(session_directory: Path) -> None:
    before = read_host(session_directory)
    assert settled(before, session_directory) == {}
    assert all(before.things[kind] for kind in ("networks", "mounts", "links", "iptables rules"))


@pytest.mark.parametrize("labelled", [True, False])
def test_networks_links_rules_and_volumes(
    engine: Any, session_directory: Path, tmp_path: Path, *, labelled: bool
) -> None:
    before = read_host(session_directory)
    name = f"d-left-{uuid.uuid4().hex[:8]}"
    labels = {"labctl.directory": str(tmp_path), "labctl.lab": name} if labelled else {}
    network = engine.create_network(name, driver="bridge", labels=labels)["Id"]
    engine.create_volume(name, labels=labels)
    try:
        left = settled(before, session_directory, seconds=0)
        assert name in left["networks"]
        assert name in left["volumes"]
        assert f"br-{network[:12]}" in left["links"]
        assert any(network[:12] in rule for rule in left["iptables rules"])
    finally:
        engine.remove_volume(name)
        engine.remove_network(network)
    assert name not in new(before, session_directory, "networks")


def test_what_another_user_has_is_not_ours(engine: Any, session_directory: Path) -> None:
    before = read_host(session_directory)
    name = f"d-other-{uuid.uuid4().hex[:8]}"
    labels = {"labctl.directory": "/home/somebody/lab", "labctl.lab": name}
    network = engine.create_network(name, driver="bridge", labels=labels)["Id"]
    engine.create_volume(name, labels=labels)
    try:
        text = str(settled(before, session_directory, seconds=0))
        assert name not in text
        assert network[:12] not in text
    finally:
        engine.remove_volume(name)
        engine.remove_network(network)


def test_containers(engine: Any, session_directory: Path, tmp_path: Path) -> None:
    import io
    import tarfile

    empty = io.BytesIO()
    tarfile.open(fileobj=empty, mode="w").close()
    name = f"d-left-{uuid.uuid4().hex[:8]}"
    engine.import_image_from_data(empty.getvalue(), repository=name, tag="x")
    before = read_host(session_directory)
    identity = engine.create_container(f"{name}:x", ["x"], name=name, labels={"labctl.directory": str(tmp_path)})["Id"]
    try:
        assert name in new(before, session_directory, "containers")
    finally:
        engine.remove_container(identity)
        engine.remove_image(f"{name}:x")
    assert name not in new(before, session_directory, "containers")


def test_loop_devices_and_mounts(session_directory: Path, tmp_path: Path) -> None:
    before = read_host(session_directory)
    image, point = tmp_path / "disk", tmp_path / "point"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(1 << 20)
    device = subprocess.run(["losetup", "-f", "--show", str(image)], capture_output=True, text=True, check=True).stdout
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(point)], check=True)
    try:
        left = settled(before, session_directory, seconds=0)
        assert str(point) in left["mounts"]
        assert any(str(image) in name for name in left["loop devices"])
    finally:
        subprocess.run(["umount", str(point)], check=True)
        subprocess.run(["losetup", "-d", device.strip()], check=True)


def test_listeners(session_directory: Path) -> None:
    before = read_host(session_directory)
    with socket.socket() as listener:
        port = next(port for port in range(28000, 29000) if listener.connect_ex(("127.0.0.1", port)) != 0)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        assert [name.rpartition(":")[2] for name in new(before, session_directory, "listeners")] == [str(port)]


def test_processes_of_labctl(session_directory: Path, tmp_path: Path) -> None:
    before = read_host(session_directory)
    program = tmp_path / "labctl"
    program.write_text("import time\ntime.sleep(60)\n")
    environ = {**os.environ, "LABCTL_HOME": str(tmp_path / "home")}
    process = subprocess.Popen([sys.executable, str(program), "up"], env=environ)
    try:
        names = [name for name in new(before, session_directory, "processes") if name.startswith(f"{process.pid} ")]
        assert len(names) == 1
    finally:
        process.kill()
        process.wait()
