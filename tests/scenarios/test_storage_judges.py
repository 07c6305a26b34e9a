"""Clients that are not ours judge the servers of a lab: libnfs' tools, and libiscsi's conformance suite."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.scenarios.project import Project

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

LAB = """
volumes:
  home: {type: nfs, server: nas, reclaim: Delete}
  open: {type: nfs, server: nas, squash: none, reclaim: Delete}
  one: {type: iscsi, server: nas, size: 64MiB, target: both, reclaim: Delete}
  two: {type: iscsi, server: nas, size: 16MiB, target: both, reclaim: Delete}
nodes:
  nas: {}
  first: {volumes: [one:/data, home:/home/shared, open:/mnt/open]}
  second: {volumes: [two:/data, "home:/mnt/home:ro"]}
  judge: {packages: [libnfs-utils, libiscsi-bin]}
"""

SUITE = "timeout -s KILL 150 iscsi-test-cu --dataloss --verbose --test ALL"

PLAIN = """
tgtd; until tgtadm --mode system --op show > /dev/null 2>&1; do sleep 0.1; done
truncate -s 64M /srv/disk
tgtadm --mode target --op new --tid 1 --targetname iqn.2026-11.internal.plain:disk
tgtadm --mode logicalunit --op new --tid 1 --lun 1 --backing-store /srv/disk
tgtadm --mode account --op new --user plain --password plainplain12
tgtadm --mode account --op bind --tid 1 --user plain
tgtadm --mode target --op bind --tid 1 --initiator-address ALL
"""


@pytest.fixture
def judged(project: Project) -> Iterator[Project]:
    """A lab that serves files and disks, and a node with other people's clients."""
    project.write(LAB)
    project.labctl("up")
    yield project
    project.labctl("down", "--volumes")
    assert project.ids() == {}


@contextmanager
def beside(project: Project, image_of: str, network: str, name: str) -> Iterator[str]:
    """A container from the image of a node, elsewhere; its name."""
    container = f"{project.container(name)}"
    image = project.inspect(image_of)["Image"]
    words = ["docker", "run", "-d", "--rm", "--name", container, "--network", network, image]
    subprocess.run([*words, "tini", "--", "sleep", "600"], check=True, capture_output=True)
    try:
        yield container
    finally:
        subprocess.run(["docker", "rm", "-f", container], check=False, capture_output=True)


def inside(container: str, script: str) -> str:
    """The output of a script, whatever its exit code."""
    words = ["docker", "exec", "-i", container, "sh"]
    ran = subprocess.run(words, input=script, capture_output=True, text=True, timeout=200, check=False)
    return ran.stdout + ran.stderr


def disk_of(project: Project, node: str) -> dict[str, Any]:
    """What the storage container of a node was told of its disk."""
    told = json.loads(project.sh(f"_storage-{node}", "cat /etc/lab/storage.json"))
    return next(each for each in told["mounts"] if each["kind"] == "iscsi")


def results(said: str) -> dict[str, bool]:
    """Whether each test of the suite passed."""
    found, suite = {}, ""
    for part in re.split(r"(?m)^(?=Suite: |  Test: )", said):
        if match := re.match(r"Suite: (\S+)", part):
            suite = match[1]
        elif match := re.match(r"  Test: (\S+)", part):
            found[f"{suite}.{match[1]}"] = not re.search(r"(?m)(?:^|\.\.\.)FAILED$", part)
    return found


def test_libiscsi_finds_no_more_fault_than_with_plain_tgt(judged: Project) -> None:
    project = judged
    first, second = disk_of(project, "first"), disk_of(project, "second")
    # Nobody else is on the disks, the servers go on.
    project.labctl("stop", "first", "second")
    login = f"{first['user']}%{first['password']}@{first['portals'][0]}/{first['iqn']}/{first['lun']}"
    said: dict[str, str] = {}
    with beside(project, "nas", f"labctl-{project.name}-lan", "plain") as plain:
        inside(plain, PLAIN)
        inspected = subprocess.run(["docker", "inspect", plain], check=True, capture_output=True, text=True)
        (network,) = json.loads(inspected.stdout)[0]["NetworkSettings"]["Networks"].values()
        other = f"plain%plainplain12@{network['IPAddress']}/iqn.2026-11.internal.plain:disk/1"

        def run(name: str, script: str) -> None:
            said[name] = inside(project.container("judge"), script)

        names = f"-i {first['initiator']} -I {second['initiator']}"
        runs = [
            threading.Thread(target=run, args=("lab", f"{SUITE} {names} 'iscsi://{login}'")),
            threading.Thread(target=run, args=("plain", f"{SUITE} 'iscsi://{other}'")),
        ]
        for each in runs:
            each.start()
        for each in runs:
            each.join()
    found = {name: results(text) for name, text in said.items()}
    assert len(found["lab"]) == len(found["plain"]) > 200, said
    failed = {name: {test for test, passed in tests.items() if not passed} for name, tests in found.items()}
    # For who keeps the list in docs/storage.md, with -s.
    sys.stdout.write("".join(f"{name}: {', '.join(sorted(tests))}\n" for name, tests in failed.items()))
    assert failed["lab"] - failed["plain"] == set()
    assert len(failed["lab"]) < 15


def test_libnfs_reads_and_writes_what_the_lab_does(judged: Project) -> None:
    project = judged
    nas = project.address("nas")
    project.sh("first", "head -c 3000000 /dev/urandom > /home/shared/ours; chmod 644 /home/shared/ours; sync")
    wanted = project.sh("first", "sha256sum < /home/shared/ours")
    client = f"container:{project.container('first')}"
    with beside(project, "judge", client, "libnfs") as judge:
        for version in (3, 4):
            export = f"nfs://{nas}/home"
            options = f"?version={version}"
            assert " ours" in inside(judge, f"nfs-ls '{export}{options}'"), version
            assert wanted in inside(judge, f"nfs-cat '{export}/ours{options}' | sha256sum"), version
            theirs = f"theirs-{version}"
            inside(judge, f"head -c 2000000 /dev/zero > /tmp/f; nfs-cp /tmp/f '{export}/{theirs}{options}'")
            assert project.sh(
                "second", f"cmp -n 2000000 /mnt/home/{theirs} /dev/zero; stat -c %s /mnt/home/{theirs}"
            ) == ("2000000"), version
    # A node that may only read, and one that is not in the list.
    with beside(project, "judge", f"container:{project.container('second')}", "libnfs") as judge:
        assert wanted in inside(judge, f"nfs-cat 'nfs://{nas}/home/ours' | sha256sum")
        assert re.search("ROFS|Read-only|EACCES|denied", inside(judge, f"nfs-cp /etc/passwd 'nfs://{nas}/home/no'"))
        assert "ours" not in inside(judge, f"nfs-ls 'nfs://{nas}/open'")
    assert "ours" not in inside(project.container("judge"), f"nfs-ls 'nfs://{nas}/home'")
    _root_is_squashed(project)


def _root_is_squashed(project: Project) -> None:
    """Root of a node is the lab user on the server, and may give nothing away there; unless the file says otherwise."""
    project.sh("first", "touch /home/shared/r /mnt/open/r; chown 33:33 /mnt/open/r")
    assert project.sh("nas", "stat -c %u:%g /srv/home/r /srv/open/r") == "1000:1000\n33:33"
    said = project.sh("first", "chown 33:33 /home/shared/r 2>&1 && echo done; true")
    assert "done" not in said
    assert project.sh("nas", "stat -c %u:%g /srv/home/r") == "1000:1000"
    project.sh("nas", "install -o 0 -g 0 -m 600 /dev/null /srv/home/roots")
    assert "denied" in project.sh("first", "cat /home/shared/roots 2>&1; true")
