"""What is wrong is said by its layer, and what is not ours is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.storage.rig import SUBNETS, Rig, until

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def third(lab: Rig) -> str:
    """A storage container of a node of its own."""
    lab.node("third", 23)
    lab.storage("third", {})
    return "_storage-third"


def failures(lab: Rig, storage: str, mounts: list[dict[str, Any]], layers: list[str]) -> list[dict[str, Any]]:
    """What is said of each when none of them can be brought up, once these layers are named."""
    named = [mount | {"volume": f"{mount['volume']}-{number}"} for number, mount in enumerate(mounts)]
    lab.want(storage)
    until(lambda: not lab.state(storage), 15, "nothing of former ones")
    lab.want(storage, mounts=[mount | {"target": f"/mnt/{mount['volume']}"} for mount in named])

    def said() -> list[dict[str, Any]]:
        state = lab.state(storage)
        return [state.get(mount["volume"], {}) for mount in named]

    failed = [("failed", layer) for layer in layers]
    until(lambda: [(each.get("phase"), each.get("layer")) for each in said()] == failed, 40, str(layers))
    assert all(each["message"] and each["hint"] for each in said())
    return said()


def test_each_layer(lab: Rig, third: str) -> None:
    disk = lab.disk("sesame", "third", networks=("san-1",))
    nowhere, closed = f"{SUBNETS['san-1']}.99:3260", f"{SUBNETS['san-1']}.10:3261"
    other = disk["initiator"].replace("third", "fourth")
    cases = {
        "network": [disk | {"portals": [nowhere]}, lab.export(servers=[f"{SUBNETS['lan']}.99"])],
        "portal": [disk | {"portals": [closed]}],
        "login": [disk | {"initiator": other}, disk | {"iqn": f"{disk['iqn']}x"}],
        "CHAP": [disk | {"password": "wrongwrongwrong"}],
        "mount": [lab.export("nothing")],
    }
    expected = [layer for layer, mounts in cases.items() for _ in mounts]
    failures(lab, third, [mount for mounts in cases.values() for mount in mounts], expected)


def test_data_that_is_no_file_system_is_left_alone(lab: Rig, third: str) -> None:
    disk = lab.disk("foreign", "third", networks=("san-1",))
    lab.sh("nas", "yes precious | head -c 1000000 | dd of=/srv/lab/foreign conv=notrunc 2> /dev/null")
    before = lab.sh("nas", "sha256sum /srv/lab/foreign")
    failures(lab, third, [disk], ["file system"])
    lab.want(third)
    until(lambda: not lab.state(third), 10, "it is given up")
    assert lab.sh("nas", "sha256sum /srv/lab/foreign") == before
