"""Disks grow with all that is on them and do not shrink; exports and mounts have whatever names they like."""

from __future__ import annotations

import pytest

from tests.scenarios.project import Project
from tests.scenarios.proxy import Proxy

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

LAB = """
volumes:
  files: {type: nfs, server: nas, path: "/srv/my files/été #1 (a)", reclaim: Delete}
  ext: {type: iscsi, server: nas, size: 48MiB, reclaim: Retain}
  xfs: {type: iscsi, server: nas, size: 320MiB, fs: xfs, reclaim: Delete}
nodes:
  nas: {}
  user:
    volumes: ["files:/mnt/my files/été #1 (b)", "ext:/mnt/ext 4", "xfs:/mnt/xfs"]
    services:
      seen: {command: "echo started >> /var/log/seen; exec sleep 1000"}
"""


def size(project: Project, place: str) -> int:
    """MiB of the file system there."""
    return int(project.sh("user", f"df -m --output=size '{place}' | tail -n 1"))


def test_a_disk_grows_with_its_file_system_and_does_not_shrink(project: Project) -> None:
    project.write(LAB)
    project.labctl("up")
    project.sh("user", "echo kept | tee '/mnt/my files/été #1 (b)/note' '/mnt/ext 4/note' /mnt/xfs/note; sync")
    assert project.sh("nas", "cat '/srv/my files/été #1 (a)/note'") == "kept"
    assert size(project, "/mnt/ext 4") < 48
    before = project.ids()

    text = project.file.read_text()
    larger = text.replace("48MiB", "96MiB").replace("320MiB", "400MiB")
    project.file.write_text(larger)
    said = project.labctl("up", "--yes", "-v")
    assert project.ids() == before, "what grows is not made anew"
    assert size(project, "/mnt/ext 4") > 80
    assert size(project, "/mnt/xfs") > 310
    assert project.sh("user", "cat '/mnt/ext 4/note' /mnt/xfs/note '/mnt/my files/été #1 (b)/note'").split() == (
        ["kept"] * 3
    )
    # Where ext4 may not grow mounted, its node was stopped and started, and it was said; its service came back.
    starts = int(project.sh("user", "wc -l < /var/log/seen"))
    assert starts == 1 or "stopped and started" in said.err
    with Proxy(reads_only=True) as proxy:
        project.labctl("up", env=proxy.env)
    assert proxy.writes == []

    project.file.write_text(text.replace("48MiB", "64MiB").replace("320MiB", "400MiB"))
    for command in (["plan"], ["up", "--yes"]):
        refused = project.labctl(*command, code=4)
        assert "volume ext has 96MiB and cannot shrink to 64MiB" in refused.err
    assert size(project, "/mnt/ext 4") > 80

    project.file.write_text(larger)
    project.labctl("down")
    project.labctl("up")
    assert project.sh("user", "cat '/mnt/ext 4/note'") == "kept"
    project.labctl("down", "--volumes")
    assert project.volumes() == []
