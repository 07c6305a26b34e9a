"""Shared storage in real labs: written here and read there, for those alone who may, kept through whatever changes."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.project import Project, until
from tests.scenarios.proxy import Proxy

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

LAB = """
networks: {lan: {}, san-1: {internal: true}, san-2: {internal: true}}
volumes:
  home: {type: nfs, server: nas, reclaim: Retain}
  pg: {type: iscsi, server: nas, size: 48MiB, networks: [san-1, san-2], reclaim: Delete}
  raw: {type: iscsi, server: nas, size: 16MiB, access: ReadWriteMany, reclaim: Delete}
nodes:
  nas: {networks: [lan, san-1, san-2]}
  web:
    networks: [lan]
    volumes: [home:/home/shared]
    services:
      seen: {command: "(findmnt -n /home/shared || echo missing) >> /var/log/seen; exec sleep 1000"}
  db:
    networks: [lan, san-1, san-2]
    volumes: [pg:/data, "home:/mnt/home:ro"]
    run: ["echo once > /data/by-run"]
  vote: {count: 2, networks: [lan], devices: ["raw:/dev/lab/raw"]}
  stranger: {networks: [lan], packages: [libnfs-utils, libiscsi-bin]}
"""


@pytest.fixture
def shared(project: Project) -> Iterator[Project]:
    """A lab with a share, a disk over two networks and a raw disk of two nodes; gone without a trace afterwards."""
    project.write(LAB)
    project.labctl("up")
    yield project
    project.labctl("down", "--volumes")
    assert project.ids() == {}
    assert project.volumes() == []


def told(project: Project, container: str) -> Any:
    """What a container of labctl's own was told, secrets included."""
    return json.loads(project.sh(container, "cat /etc/lab/storage.json"))


def secret_of(project: Project) -> str:
    """The CHAP secret of db's disk."""
    (mount,) = (each for each in told(project, "_storage-db")["mounts"] if each["kind"] == "iscsi")
    return str(mount["password"])


def test_what_one_writes_the_other_reads_and_nobody_else(shared: Project) -> None:
    project = shared
    project.sh("web", "head -c 5000000 /dev/urandom > /home/shared/big; chown lab: /home/shared/big; sync")
    there = project.sh("web", "sha256sum < /home/shared/big")
    assert project.sh("db", "sha256sum < /mnt/home/big") == there
    assert project.sh("nas", "stat -c %u:%g /srv/home/big") == "1000:1000"
    assert "Read-only" in project.sh("db", "touch /mnt/home/x 2>&1; true")
    assert project.sh("db", "findmnt -no FSTYPE /data; stat -c %U /data; cat /data/by-run") == "ext4\nlab\nonce"
    project.sh("vote-1", "printf hello | dd of=/dev/lab/raw bs=512 conv=notrunc,fsync,sync 2> /dev/null")
    assert project.sh("vote-2", "head -c 5 /dev/lab/raw") == "hello"
    # The node has that one disk, and neither the power to mount nor another device.
    assert project.inspect("vote-1")["HostConfig"]["CapAdd"] in (None, [])
    assert "not permitted" in project.sh("vote-1", "mknod /tmp/loop b 7 0 && head -c 1 /tmp/loop 2>&1; true")
    assert project.sh("web", "grep -c missing /var/log/seen || true") == "0"

    nas = project.address("nas")
    refused = project.sh("stranger", f"nfs-ls nfs://{nas}/home 2>&1; true")
    assert "denied" in refused.lower()
    assert "big" not in refused
    _strange_initiators_are_refused(project, nas)


def _strange_initiators_are_refused(project: Project, nas: str) -> None:
    secret = secret_of(project)
    name, right = f"iqn.2026-11.internal.{project.name}", "db.pg"
    target = f"{nas}/{name}:pg/1"

    def login(initiator: str, user: str, password: str) -> str:
        script = f"iscsi-inq -i {name}:{initiator} 'iscsi://{user}%{password}@{target}' 2>&1; true"
        return project.sh("stranger", script)

    assert "labctl" in login("db", right, secret), "with the right name and secret the target is there"
    assert "Authentication failure" in login("db", right, "x" * 16)
    assert "Target not found" in login("stranger", right, secret)
    pages = {
        project.sh(
            "stranger",
            f"iscsi-inq -e 1 -c 0x83 -i {name}:{who} 'iscsi://{user}%{password}@{nas}/{name}:{disk}/1' | tail -n 4",
        )
        for who, user, password, disk in (
            ("db", right, secret, "pg"),
            ("disk.raw", "disk.raw.raw", _raw_secret(project), "raw"),
        )
    }
    assert len(pages) == 2, "two disks under one name are merged by multipath"
    assert all(re.search(r"Designator:\[[0-9a-f]{16}\]", page) for page in pages)


def _raw_secret(project: Project) -> str:
    (device,) = told(project, "_disk-raw")["devices"]
    return str(device["password"])


def test_a_second_up_only_reads_and_no_secret_can_be_seen(shared: Project) -> None:
    project = shared
    before = project.ids()
    for command in (["up"], ["plan", "--exit-code"], ["status"]):
        with Proxy(reads_only=True) as proxy:
            project.labctl(*command, env=proxy.env)
        assert proxy.writes == [], command
    assert project.ids() == before
    secret = secret_of(project)
    for node in before:
        assert secret not in json.dumps(project.inspect(node)), node
    assert secret not in project.labctl("plan", "-o", "json").out
    assert secret not in subprocess.run(["ps", "axeww"], capture_output=True, text=True, check=True).stdout
    status = project.labctl("status", "-o", "json").data
    nodes = {node["name"]: node for node in status["nodes"]}
    assert {nodes[name]["health"] for name in ("web", "db", "vote-1", "vote-2")} == {"healthy"}
    assert "_keeper" not in nodes
    volumes = {each["name"]: each for each in project.labctl("status", "--storage", "-o", "json").data["volumes"]}
    (use,) = volumes["pg"]["uses"]
    assert use["phase"] == "ready"
    assert len([use["active"], *use["standby"]]) == 2, "two networks are two portals"
    assert volumes["home"]["server"] == "nas"
    assert "in use by" in project.labctl("volume", "remove", "--yes", "home", code=1).err


def test_data_outlives_its_nodes_and_retain_outlives_the_lab(shared: Project) -> None:
    project = shared
    project.sh("web", "echo kept > /home/shared/note; sync")
    project.sh("db", "echo kept > /data/note; sync")
    first = project.ids()
    text = project.file.read_text()
    changed = text.replace("nas: {networks", "nas: {capabilities: [NET_ADMIN], networks")
    changed = changed.replace("    volumes: [pg:/data", "    capabilities: [NET_ADMIN]\n    volumes: [pg:/data")
    project.file.write_text(changed)
    project.labctl("up", "--yes")
    second = project.ids()
    assert second["nas"] != first["nas"]
    assert second["db"] != first["db"]
    assert second["web"] == first["web"]
    assert project.sh("db", "cat /data/note /mnt/home/note") == "kept\nkept"
    until(lambda: project.sh("web", "cat /home/shared/note") == "kept")

    project.labctl("restart", "web", "db")
    assert project.sh("web", "cat /home/shared/note") == "kept"
    assert project.sh("db", "cat /data/note") == "kept"
    until(lambda: int(project.sh("web", "wc -l < /var/log/seen")) >= 2)
    assert "missing" not in project.sh("web", "cat /var/log/seen"), "a service started without its volume"

    said = project.labctl("down").err
    assert "kept: home" in said
    assert project.ids() == {}
    assert project.volumes() == [f"labctl-{project.name}-home"]
    project.labctl("up")
    assert project.sh("web", "cat /home/shared/note") == "kept"
    assert project.sh("db", "ls /data") == "by-run\nlost+found"


def test_a_dead_helper_is_seen_and_comes_back(shared: Project) -> None:
    project = shared
    project.sh("db", "echo kept > /data/note; sync")
    # As long as the keeper cannot help it, its loss can only be seen.
    project.engine.pause(project.container("_keeper"))
    project.engine.kill(project.container("_storage-db"))
    seen = _until_said(project, lambda health: health == "unhealthy", seconds=5)
    assert seen, "a node whose helper is dead was called healthy"
    said = project.labctl("status").err
    assert "db: pg at /data: mount: what mounts it does not run" in said
    project.engine.unpause(project.container("_keeper"))
    assert _until_said(project, lambda health: health == "healthy", seconds=30)
    assert project.sh("db", "cat /data/note") == "kept"


def test_down_after_kills_leaves_no_device_on_the_host(shared: Project) -> None:
    project = shared
    (device,) = told(project, "_disk-raw")["devices"]
    place = Path(f"/sys/block/loop{device['loop']}")
    assert place.exists()
    # Who is killed cannot tidy up, and nobody is left who would start it again.
    project.engine.kill(project.container("_keeper"))
    project.engine.kill(project.container("_disk-raw"))
    project.labctl("down")
    assert project.ids() == {}
    assert not place.exists()


def _until_said(project: Project, wanted: Callable[[str | None], bool], *, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        nodes = project.labctl("status", "-o", "json").data["nodes"]
        if wanted(next(node["health"] for node in nodes if node["name"] == "db")):
            return True
    return False
