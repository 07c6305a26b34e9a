"""Three rules, each learnt from lost data or a hung kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.storage.rig import Rig, mounts, until

pytestmark = pytest.mark.engine


def test_a_loop_device_is_never_direct(lab: Rig) -> None:
    """Direct I/O on a FUSE file has corrupted file systems."""
    devices = [lab.state("_storage-one")["pg"]["device"], lab.state("_disk-raw")["raw"]["device"]]
    for device in devices:
        assert Path("/sys/block", Path(device).name, "loop", "dio").read_text().strip() == "0"


def test_a_file_system_is_not_where_its_disk_is_served(lab: Rig) -> None:
    """With both in one container a kill has hung the kernel."""
    storage, node = mounts(lab.pid("_storage-one")), mounts(lab.pid("one"))
    assert not [place for place, (kind, _) in storage.items() if kind in ("ext4", "xfs") and place.startswith("/lab/")]
    assert node["/var/lib/pg"][0] == "ext4"
    assert "qemu-storage" not in lab.sh("one", "ps ax -o comm")


def test_a_dead_client_is_noticed_at_once(lab: Rig) -> None:
    """A node goes on reading what it remembers of a disk that nobody serves any more, and believes in its writes."""
    lab.sh("one", "echo remembered > /var/lib/pg/cached; sync; cat /var/lib/pg/cached")
    before = mounts(lab.pid("one"))["/var/lib/pg"]
    # Held back, so that the time without a disk can be looked at.
    lab.want("_storage-one")
    until(lambda: not lab.state("_storage-one"), 5, "no volume")
    lab.kill("_storage-one")
    read = "cat /var/lib/pg/cached 2>&1 || true"
    until(lambda: "remembered" not in lab.sh("one", read), 3, "the node no longer reads its memory")
    assert "remembered" not in lab.sh("one", "(echo lost > /var/lib/pg/new) 2>&1; cat /var/lib/pg/new 2>&1 || true")
    until(lambda: not lab.kept("one")["healthy"], 3, "it is shown")
    lab.want_again("_storage-one")
    lab.healthy("one")
    assert mounts(lab.pid("one"))["/var/lib/pg"] != before or lab.sh("one", "cat /var/lib/pg/cached") == "remembered\n"
    assert lab.sh("one", "cat /var/lib/pg/cached") == "remembered\n"
