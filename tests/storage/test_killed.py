"""Whoever is killed, at whatever moment: the mounts come back, nothing hangs, what fsync acknowledged is there."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.rig import Rig, docker, say, until
from tests.storage.writer import kept, writing

pytestmark = pytest.mark.engine


@pytest.fixture(autouse=True)
def nothing_hangs(lab: Rig) -> Iterator[None]:
    """Afterwards nothing waits in the kernel for ever, and the loop devices answer."""
    yield
    lab.healthy("one", "two")
    subprocess.run(["losetup", "-a"], check=True, timeout=5, capture_output=True)
    until(lambda: not stuck(), 10, "nothing in state D")


def stuck() -> set[str]:
    """Processes that wait in the kernel and cannot be ended, twice in a row."""

    def now() -> set[str]:
        found = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                words = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if words[0] == "D":
                found.add(stat.parent.name)
        return found

    first = now()
    time.sleep(0.3)
    return first & now()


def test_the_storage_container(lab: Rig, tmp_path: Path) -> None:
    for path in ("/var/lib/pg/numbers", "/home/shared/numbers"):
        with writing(lab, path, tmp_path) as writer:
            lab.kill("_storage-one")
            began = time.monotonic()
            lab.healthy("one")
            say(f"storage container killed: {path} back after {time.monotonic() - began:.1f} s")
            safe = writer.count
        assert kept(lab, path) >= safe > 20


def test_the_node(lab: Rig, tmp_path: Path) -> None:
    with writing(lab, "/var/lib/pg/numbers", tmp_path) as writer:
        lab.kill("one")
        until(
            lambda: docker("inspect", "-f", "{{.State.Running}}", lab.name("one")).strip() == "false", 10, "it is dead"
        )
        safe = writer.count
    docker("start", lab.name("one"))
    say(f"node killed: back {lab.healthy('one'):.1f} s after its start")
    assert kept(lab, "/var/lib/pg/numbers") >= safe > 20
    assert lab.sh("one", "ls /home/shared > /dev/null && mountpoint -q /home/shared && echo yes").strip() == "yes"


def test_the_keeper(lab: Rig) -> None:
    lab.kill("_keeper")
    lab.kill("_storage-two")
    say(f"keeper and storage container killed: back after {lab.healthy('one', 'two'):.1f} s")
    assert lab.sh("two", "mountpoint -q /home/shared && echo yes").strip() == "yes"


def test_the_server(lab: Rig, tmp_path: Path) -> None:
    """Nobody notices more than a pause: no error, no write lost."""
    with (
        writing(lab, "/var/lib/pg/numbers", tmp_path) as disk,
        writing(lab, "/home/shared/numbers", tmp_path, node="two") as files,
    ):
        lab.sh("nas", "pkill -9 ganesha; pkill -9 tgtd; sleep 1")
        before = (disk.count, files.count)
        lab.serve()
        began = time.monotonic()
        until(lambda: disk.count > before[0] + 5 and files.count > before[1] + 5, 20, "writes go on")
        say(f"server killed: writes go on {time.monotonic() - began:.1f} s after its start")
        assert (disk.errors, files.errors) == ([], [])
        safe = (disk.count, files.count)
    assert kept(lab, "/var/lib/pg/numbers") >= safe[0]
    assert kept(lab, "/home/shared/numbers", "two") >= safe[1]


def test_services_start_again_with_their_mounts(lab: Rig) -> None:
    program = "#!/bin/sh\nmountpoint -q /var/lib/pg && echo started >> /run/starts\nexec sleep 1000\n"
    lab.put("one", {"/etc/lab/services/tick": program}, mode=0o755)
    lab.sh("one", ". /usr/lib/lab/services; add_service tick; wait_supervised tick")
    until(lambda: lab.sh("one", "cat /run/starts", check=False).count("started") == 1, 10, "the service runs")
    lab.kill("_storage-one")
    lab.healthy("one")
    until(lambda: lab.sh("one", "cat /run/starts").count("started") == 2, 10, "it was started again")
