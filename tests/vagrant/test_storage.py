"""A machine that serves and one that mounts: NFS, iSCSI with CHAP, a restart of each, data that outlives the lab."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labctl.providers.vagrant import libvirt
from tests.support.boxes import share_boxes

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1200)]

LABCTL = str(Path(sys.executable).with_name("labctl"))

LAB = """\
name: {name}
defaults: {{provider: vagrant, memory: 384MiB}}
networks: {{lan: {{}}, san-1: {{internal: true}}, san-2: {{internal: true}}}}
volumes:
  home: {{type: nfs, server: nas, reclaim: Delete}}
  read: {{type: nfs, server: nas, access: ReadOnlyMany, reclaim: Delete}}
  pg: {{type: iscsi, server: nas, size: 128MiB}}
  two: {{type: iscsi, server: nas, size: 64MiB, networks: [san-1, san-2], reclaim: Delete}}
  raw: {{type: iscsi, server: nas, size: 32MiB, access: ReadWriteMany, reclaim: Delete}}
nodes:
  nas: {{networks: [lan, san-1, san-2]}}
  web:
    networks: [lan, san-1, san-2]
    volumes: [home:/home/shared, read:/srv/read, pg:/var/lib/pg, two:/srv/two]
    devices: [raw:/dev/lab/raw]
    services: {{tick: {{command: "mountpoint -q /var/lib/pg && echo stands; exec sleep 10000"}}}}
checks:
  shared: {{mount: /home/shared, on: web}}
"""


class Project:
    """labctl on one lab; boxes are those of the user who runs the tests."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.name = directory, f"w-store-{secrets.token_hex(2)}"
        (directory / "lab.yaml").write_text(LAB.format(name=self.name))

    def labctl(self, *argv: str) -> str:
        """What labctl printed, which has to end well."""
        ran = subprocess.run(
            [LABCTL, *argv],
            cwd=self.directory,
            env={**os.environ, "LABCTL_HOME": str(self.directory / "home")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert ran.returncode == 0, f"{argv}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def sh(self, node: str, script: str) -> str:
        """What a script in a node printed."""
        return self.labctl("exec", node, "--", "sh", "-ec", script).strip()

    def volume(self, name: str) -> dict[str, Any]:
        """What labctl knows of a volume of the lab."""
        listed = json.loads(self.labctl("volume", "list", "-n", self.name, "-o", "json"))["volumes"]
        (found,) = (each for each in listed if each["name"] == name)
        return dict(found)

    def disks(self) -> list[str]:
        """What libvirt's pool has of the lab."""
        lines = libvirt.virsh("vol-list", "default").splitlines()
        return sorted(name for line in lines if (name := line.split()[0]).startswith(f"labctl-{self.name}-"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The lab, up."""
    project = Project(tmp_path_factory.mktemp("store"))
    home = project.directory / "home"
    home.mkdir()
    share_boxes(home)
    try:
        project.labctl("up", "--yes")
        yield project
    finally:
        project.labctl("down", "--volumes")
        assert project.disks() == []
        assert not list((home / "disks").iterdir())


def test_what_one_writes_the_other_reads(lab: Project) -> None:
    known = lab.sh(
        "web", "dd if=/dev/urandom of=/home/shared/big bs=1M count=20 2> /dev/null; sha256sum < /home/shared/big"
    )
    assert lab.sh("nas", "sha256sum < /srv/home/big") == known
    # whose files they are is the same on both sides
    lab.sh("web", "su lab -c 'echo hers > /home/shared/hers'; ln -s hers /home/shared/link")
    assert lab.sh("nas", "stat -c %u /srv/home/hers; readlink /srv/home/link") == "1000\nhers"
    assert "Read-only" in lab.sh("web", "touch /srv/read/x 2>&1 || true")
    assert "passed" in lab.labctl("test")


def test_a_disk_is_mounted_and_its_secret_is_seen_by_nobody(lab: Project) -> None:
    lab.sh(
        "web", "head -c 5000000 /dev/urandom > /var/lib/pg/data; sync; sha256sum < /var/lib/pg/data > /home/shared/sum"
    )
    assert lab.sh("web", "stat -c %U /var/lib/pg; findmnt -no FSTYPE /var/lib/pg") == "lab\next4"
    told = json.loads(lab.sh("web", "cat /etc/lab/storage.json"))
    passwords = {each["password"] for each in (*told["mounts"], *told["devices"]) if "password" in each}
    assert len(passwords) == 3
    assert lab.sh("web", "cat /sys/class/iscsi_session/session*/password | sort -u | wc -l") == "3"
    for node in ("web", "nas"):
        seen = lab.sh(
            node, "cat /proc/*/cmdline /proc/*/environ 2> /dev/null | tr '\\0' '\\n'; journalctl -q --no-pager"
        )
        assert not [each for each in passwords if each in seen]
    files = lab.sh(
        "web", "stat -c %a /etc/lab/storage.json; find /var/lib/iscsi /etc/iscsi -type f -perm /077 -name default"
    )
    assert files == "600"


def test_a_wrong_password_is_named_as_that(lab: Project) -> None:
    secret = json.loads(lab.sh("web", "cat /etc/lab/storage.json"))["devices"][0]["password"]

    def password(given: str) -> None:
        line = f"s/^account web.raw .*/account web.raw {given}/"
        lab.sh("nas", f"sed -i '{line}' /etc/lab/iscsi/targets; /usr/lib/lab/serve/iscsi apply")

    password("another-password")
    try:
        target = f"iqn.2026-11.internal.{lab.name}:raw"
        lab.sh("web", f"systemctl stop lab-storage; iscsiadm -m node -T {target} --logout > /dev/null 2>&1 || true")
        lab.sh("web", "multipath -F > /dev/null 2>&1 || true; systemctl start lab-storage")
        end = time.monotonic() + 90
        while "CHAP" not in (said := lab.sh("web", "cat /run/lab/state.json")):
            assert time.monotonic() < end, said
            time.sleep(1)
        (use,) = lab.volume("raw")["uses"]
        assert (use["phase"], use["layer"]) == ("failed", "CHAP")
    finally:
        password(secret)
    lab.sh("web", "/usr/lib/lab/mounts wait 90")


def test_every_disk_has_a_name_of_its_own_and_two_portals_are_two_paths(lab: Project) -> None:
    names = lab.sh("web", "cat /sys/block/dm-*/dm/uuid").split()
    assert len(set(names)) == len(names) == 3
    (use,) = lab.volume("two")["uses"]
    assert (use["phase"], use["way"]) == ("ready", "kernel")
    assert len({use["active"], *use["standby"]}) == 2
    assert use["down"] == []


def test_mounts_come_back_with_each_of_them(lab: Project) -> None:
    lab.labctl("stop", "nas")
    writing = (
        "nohup sh -c 'echo after > /home/shared/after && echo after > /var/lib/pg/after && sync' > /dev/null 2>&1 &"
    )
    lab.sh("web", writing)
    lab.labctl("start", "nas")
    assert (
        lab.sh(
            "web", "for i in $(seq 60); do [ ! -e /var/lib/pg/after ] || break; sleep 1; done; cat /var/lib/pg/after"
        )
        == "after"
    )
    lab.labctl("stop", "web")
    lab.labctl("start", "web")
    assert lab.sh("web", "sha256sum < /var/lib/pg/data; cat /home/shared/after").split("\n") == [
        lab.sh("nas", "cat /srv/home/sum"),
        "after",
    ]
    lab.sh("web", "for i in $(seq 30); do ! sv status /run/lab/sv/tick || exit 0; sleep 1; done; exit 1")
    assert "tick: stands" in lab.labctl("logs", "web")
    assert lab.sh("web", "systemctl --failed --no-legend") == ""


def test_what_is_kept_is_there_again(lab: Project) -> None:
    lab.sh("web", "sync -f /var/lib/pg")
    lab.labctl("stop", "web")
    known = lab.sh("nas", "sha256sum < /srv/lab/pg/disk")
    lab.labctl("down")
    assert lab.disks() == [f"labctl-{lab.name}-pg.labels", f"labctl-{lab.name}-pg.qcow2"]
    assert lab.volume("pg")["reclaim"] == "Retain"
    lab.labctl("up", "--yes", "nas")
    assert lab.sh("nas", "sha256sum < /srv/lab/pg/disk; ls -A /srv/home") == known
