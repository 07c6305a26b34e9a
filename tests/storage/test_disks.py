"""Disks over iSCSI: two paths, growing, a raw one that two nodes share, one that is not ours to format."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.storage.rig import Rig, docker, may_grow, mounts, say, until
from tests.storage.writer import kept, writing

pytestmark = pytest.mark.engine


def test_the_root_of_a_new_file_system_is_the_lab_users(lab: Rig) -> None:
    assert lab.sh("one", "stat -c %u:%g /var/lib/pg; stat -f -c %T /var/lib/pg").split() == ["1000:1000", "ext2/ext3"]
    lab.sh("one", "echo mine > /var/lib/pg/file", user="1000:1000")


def test_the_loss_of_a_path_is_a_pause(lab: Rig, tmp_path: Path) -> None:
    active = lab.state("_storage-one")["pg"]["active"]
    network = "san-1" if ".22." in active else "san-2"
    with writing(lab, "/var/lib/pg/numbers", tmp_path) as writer:
        with lab.cut(network):
            cut = time.monotonic()
            until(lambda: active in lab.state("_storage-one")["pg"]["down"], 15, "the path is down")
            changed = lab.state("_storage-one")["pg"]
            assert changed["active"] not in ("", active)
            before = writer.count
            until(lambda: writer.count > before + 10, 15 - (time.monotonic() - cut), "writes go on")
            say(f"a path was cut: no write for {writer.longest_pause():.1f} s")
        until(lambda: active in lab.state("_storage-one")["pg"]["standby"], 10, "it stands by")
        assert writer.errors == []
        safe = writer.count
    assert writer.longest_pause() < 15
    assert kept(lab, "/var/lib/pg/numbers") >= safe


def test_a_disk_grows_under_its_writer(lab: Rig, tmp_path: Path) -> None:
    size = 96 << 20
    (mount,) = [each for each in lab.wanted["_storage-one"]["mounts"] if each["volume"] == "pg"]
    others = [each for each in lab.wanted["_storage-one"]["mounts"] if each["volume"] != "pg"]
    before = mounts(lab.pid("one"))["/var/lib/pg"]
    with writing(lab, "/var/lib/pg/numbers", tmp_path) as writer:
        lab.want("_storage-one", mounts=[*others, mount | {"hold": True}])
        until(lambda: lab.state("_storage-one")["pg"].get("held"), 5, "it is held")
        lab.sh(
            "nas",
            f"truncate -s {size} /srv/lab/pg;"
            " T=$(tgtadm --mode target --op show | sed -n 's/^Target \\([0-9]*\\): .*:pg$/\\1/p');"
            " tgtadm --mode logicalunit --op delete --tid $T --lun 1;"
            " tgtadm --mode logicalunit --op new --tid $T --lun 1 --backing-store /srv/lab/pg;"
            f" tgtadm --mode logicalunit --op update --tid $T --lun 1 --params scsi_id={mount['wwid']}",
        )
        lab.want("_storage-one", mounts=[*others, mount | {"size": size}])
        until(lambda: lab.state("_storage-one")["pg"].get("size") == size, 15, "the device")
        count = writer.count
        until(lambda: writer.count > count + 10, 5, "writes go on")
        assert writer.errors == []
        safe = writer.count
    say(f"a disk grew: no write for {writer.longest_pause():.1f} s")
    assert writer.longest_pause() < 8
    assert mounts(lab.pid("one"))["/var/lib/pg"] == before
    if not may_grow():
        until(lambda: lab.state("_storage-one")["pg"].get("pending") == "restart", 5, "that it waits for a restart")
        lab.healthy("one")
        lab.sh("_keeper", "keeper release one")
        docker("restart", "-t", "2", lab.name("one"))
        lab.healthy("one")
    until(lambda: int(lab.sh("one", "df -k --output=size /var/lib/pg | tail -1")) > 80 << 10, 5, "it has grown")
    assert kept(lab, "/var/lib/pg/numbers") >= safe


def test_a_raw_disk_is_one_for_all_its_nodes(lab: Rig) -> None:
    device = until(lambda: lab.state("_disk-raw")["raw"].get("device"), 10, "the raw disk")
    for node in ("one", "two"):
        lab.sh(node, f"[ -b /dev/raw ] || mknod /dev/raw b 7 {str(device).removeprefix('/dev/loop')}")
    lab.sh("one", "echo from one | dd of=/dev/raw bs=512 count=1 seek=5 conv=sync 2> /dev/null")
    assert "from one" in lab.sh("two", "dd if=/dev/raw bs=512 count=1 skip=5 2> /dev/null")
    lab.sh("two", "dd if=/dev/raw of=/dev/null bs=512 count=1 2> /dev/null; sync /dev/raw")
    assert "from one" in lab.sh("nas", "dd if=/srv/lab/raw bs=512 count=1 skip=5 2> /dev/null")
    # No other device may be opened, whatever is made.
    lab.sh("two", "mknod /dev/other b 7 0")
    assert "not permitted" in lab.sh("two", "dd if=/dev/other of=/dev/null count=1 2>&1", check=False)


def test_a_raw_disk_comes_back(lab: Rig) -> None:
    device = until(lambda: lab.state("_disk-raw")["raw"].get("device"), 10, "the raw disk")
    lab.kill("_disk-raw")
    until(lambda: lab.state("_disk-raw").get("raw", {}).get("device") == device, 15, "the raw disk, under its number")
    minor = str(device).removeprefix("/dev/loop")
    lab.sh("one", f"rm -f /dev/raw; mknod /dev/raw b 7 {minor}; dd if=/dev/raw of=/dev/null count=1 2>&1")
