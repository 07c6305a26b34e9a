"""Nodes that are let go: all is written, nothing stays, nothing comes back until the node is started again."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.storage.rig import Rig, docker, mounts, until

pytestmark = pytest.mark.engine


def running(lab: Rig, short: str) -> bool:
    """Whether a container runs."""
    return docker("inspect", "-f", "{{.State.Running}}", lab.name(short)).strip() == "true"


def test_a_released_node_is_clean(lab: Rig, tmp_path: Path) -> None:
    lab.sh("one", "head -c 5000000 /dev/urandom > /var/lib/pg/unsynced; cp /var/lib/pg/unsynced /home/shared/unsynced")
    wrote = lab.sh("one", "sha256sum < /var/lib/pg/unsynced")
    lab.sh("_keeper", "keeper release one")
    assert not running(lab, "_storage-one")
    assert not [place for place in mounts(lab.pid("one")) if place in ("/var/lib/pg", "/home/shared", "/mnt/safe")]
    assert lab.sh("nas", "sha256sum < /srv/home/unsynced") == wrote
    # Unmounted in order: the file system needs no repair.
    image = tmp_path / "pg"
    docker("cp", f"{lab.name('nas')}:/srv/lab/pg", str(image))
    checked = subprocess.run(["/sbin/e2fsck", "-f", "-n", str(image)], capture_output=True, text=True, check=False)
    assert (checked.returncode, "recover" in checked.stdout) == (0, False), checked.stdout
    time.sleep(2.5)
    assert not running(lab, "_storage-one")
    docker("restart", "-t", "2", lab.name("one"))
    lab.healthy("one")
    assert lab.sh("one", "sha256sum < /var/lib/pg/unsynced") == wrote


def test_a_new_run_of_the_storage_container_ends_a_release(lab: Rig) -> None:
    """An `up` that was killed may leave a storage container that the next one makes anew under a node that stays."""
    program = "#!/bin/sh\nmountpoint -q /var/lib/pg && echo started >> /run/returns\nexec sleep 1000\n"
    lab.put("one", {"/etc/lab/services/back": program}, mode=0o755)
    lab.sh("one", ". /usr/lib/lab/services; add_service back; wait_supervised back")
    until(lambda: lab.sh("one", "cat /run/returns", check=False).count("started") == 1, 10, "the service runs")
    lab.sh("_keeper", "keeper release one")
    assert "/var/lib/pg" not in mounts(lab.pid("one"))
    docker("start", lab.name("_storage-one"))
    lab.healthy("one")
    until(lambda: lab.sh("one", "cat /run/returns").count("started") == 2, 10, "its services go on")


def test_a_node_is_released_though_its_server_is_gone(lab: Rig) -> None:
    lab.sh("one", "echo written > /var/lib/pg/early; sync")
    lab.sh("nas", "pkill -9 tgtd; pkill -9 ganesha")
    lab.sh("one", "echo never > /var/lib/pg/late")
    began = time.monotonic()
    said = docker("exec", lab.name("_keeper"), "keeper", "release", "one", check=False)
    assert time.monotonic() - began < 25
    assert "could not be written" in said
    assert "/var/lib/pg" not in mounts(lab.pid("one"))
    lab.serve()
    docker("restart", "-t", "2", lab.name("one"))
    lab.healthy("one", "two", seconds=40)
    assert lab.sh("one", "cat /var/lib/pg/early") == "written\n"


@pytest.mark.usefixtures("host_state")
def test_nothing_stays(images: dict[str, str], tmp_path: Path) -> None:
    rig = Rig("s-leave", images, tmp_path, {"lan": "10.207.31", "san-1": "10.207.32", "san-2": "10.207.33"})
    try:
        rig.begin()
        rig.server()
        rig.node("one", 21)
        rig.storage("one", {"/home/shared": rig.export(), "/var/lib/pg": rig.disk("pg", "one")})
        rig.keeper()
        rig.healthy("one")
        device = rig.state("_storage-one")["pg"]["device"]
    finally:
        rig.end()
    until(lambda: not Path("/sys/block", Path(device).name, "loop").exists(), 10, "the loop device is free")
