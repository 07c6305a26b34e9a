"""What machines are told of shared storage, and the disks that their data is on, without a machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from labctl import features, sharing
from labctl.documents.storage import machine_uses
from labctl.errors import ConflictError, HostError, LabctlError
from labctl.model.lab import Lab
from labctl.plan.desired import STORAGES, Making, desired
from labctl.plan.model import Attached, BakedImage, Desired, DesiredVolume, Observed, ObservedNode
from labctl.planning import refuse_unbuilt
from labctl.providers import mounted
from labctl.providers.vagrant import telling, volumes
from labctl.source.load import load

SHOP = """\
name: shop
defaults: {provider: vagrant}
networks:
  lan: {subnet: 10.77.0.0/24}
  san-1: {subnet: 10.77.1.0/24, internal: true}
  san-2: {subnet: 10.77.2.0/24, internal: true}
volumes:
  home: {type: nfs, server: nas}
  docs: {type: nfs, server: nas, access: ReadOnlyMany, squash: all, path: /srv/some docs}
  pg: {type: iscsi, server: nas, size: 1GiB, networks: [san-1, san-2]}
  quorum: {type: iscsi, server: nas, size: 64MiB, access: ReadWriteMany}
  mine: {type: local}
nodes:
  nas: {networks: {lan: 10.77.0.10, san-1: 10.77.1.10, san-2: 10.77.2.10}}
  web: {networks: {lan: 10.77.0.20}, volumes: ["home:/home/shared:ro", "docs:/docs", "mine:/mine"]}
  db:
    networks: {lan: 10.77.0.21, san-1: 10.77.1.21, san-2: 10.77.2.21}
    volumes: [pg:/pg, home:/home/shared]
    devices: [quorum:/dev/lab/quorum]
  vote: {networks: {lan: 10.77.0.22}, devices: [quorum:/dev/lab/quorum]}
  box: {provider: docker, networks: {lan: 10.77.0.30}, volumes: [home:/home/shared]}
"""


def made(tmp_path: Path, text: str = SHOP) -> tuple[Lab, Desired]:
    (tmp_path / "lab.yaml").write_text(text)
    lab = load(None, cwd=tmp_path, environ={}, home=tmp_path).lab
    makings = {name: Making(BakedImage("image")) for name in (*lab.nodes, STORAGES)}
    return lab, desired(lab, makings, Observed(lab.name))


def told(tmp_path: Path, node: str) -> dict[str, tuple[str, int]]:
    lab, whole = made(tmp_path)
    entries = sharing.seed(lab, whole, whole.nodes[node], lambda login: f"<{login}>")
    return {each.path: (each.content.decode(), each.mode) for each in entries}


def test_a_kernel_exports_to_exactly_the_addresses_of_those_who_mount(tmp_path: Path) -> None:
    text, mode = told(tmp_path, "nas")["/etc/exports.d/lab.exports"]
    home, docs = text.splitlines()
    assert mode == 0o600
    assert [word.partition("(")[0] for word in home.split()[1:]] == [
        "127.0.0.1",
        "10.77.0.20",
        "10.77.0.21",
        "10.77.0.30",
    ]
    access = {word.partition("(")[0]: word.partition("(")[2].partition(",")[0] for word in home.split()[1:]}
    assert access == {"127.0.0.1": "ro", "10.77.0.20": "ro", "10.77.0.21": "rw", "10.77.0.30": "rw"}
    assert "root_squash" in home
    assert "anonuid=1000" in home
    assert docs.startswith('"/srv/some docs" ')
    assert "all_squash" in docs
    assert "10.77.0.21" not in docs


def test_a_machine_is_told_what_it_mounts_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    entries = told(tmp_path, "db")
    text, mode = entries["/etc/lab/storage.json"]
    document = json.loads(text)
    assert mode == 0o600
    assert document["initiator"] == "iqn.2026-11.internal.shop:db"
    pg, home = document["mounts"]
    assert pg["portals"] == ["10.77.1.10:3260", "10.77.2.10:3260"]
    assert (pg["initiator"], pg["user"], pg["password"]) == (document["initiator"], "db.pg", "<pg/db>")
    assert (home["export"], home["servers"]) == ("/srv/home", ["10.77.0.10"])
    # each machine logs in to a raw disk by itself
    assert [each["initiator"] for each in document["devices"]] == [document["initiator"]]
    assert entries["/etc/lab/mounts"][0].split() == ["/pg", "/home/shared", "/dev/lab/quorum"]
    assert "/etc/lab/devices" not in entries


def test_what_was_not_seen_working_is_refused(tmp_path: Path) -> None:
    lab, _ = made(tmp_path)
    with pytest.raises(HostError, match=r"volumes from containers to virtual machines or back \(home\)"):
        refuse_unbuilt(lab, ())
    refuse_unbuilt(lab, ["web", "db"])


def test_a_target_knows_the_machines_that_have_a_raw_disk(tmp_path: Path) -> None:
    text, _ = told(tmp_path, "nas")["/etc/lab/iscsi/targets"]
    after = text.partition("shop:quorum")[2].splitlines()[1:3]
    assert after == ["initiator iqn.2026-11.internal.shop:db", "initiator iqn.2026-11.internal.shop:vote"]


def test_only_containers_have_containers_that_mount(tmp_path: Path) -> None:
    _, whole = made(tmp_path)
    assert {name for name in whole.nodes if name.startswith("_")} >= {"_keeper", "_storage-box"}
    assert not {"_storage-web", "_storage-db", "_disk-quorum"} & set(whole.nodes)
    assert whole.nodes["web"].waits_for == {"nas"}
    assert {name: volume.provider for name, volume in whole.volumes.items()} == dict.fromkeys(whole.volumes, "vagrant")


def test_a_machine_knows_its_own_disks(tmp_path: Path) -> None:
    _, whole = made(tmp_path)
    entries = {each.path: each.content.decode() for each in telling.whole(whole.nodes["nas"], whole, ())}
    lines = [line.split(" ", 2) for line in entries[telling.DISKS].splitlines()]
    assert [(kind, place) for _, kind, place in lines] == [
        ("served", "/srv/home"),
        ("served", "/srv/some docs"),
        ("served", "/srv/lab/pg"),
        ("served", "/srv/lab/quorum"),
    ]
    serials = [serial for serial, _, _ in lines]
    assert len(set(serials)) == 4
    assert all(len(serial) == 20 for serial in serials)
    (mine,) = (each for each in telling.whole(whole.nodes["web"], whole, ()) if each.path == telling.DISKS)
    assert mine.content.decode().split()[1:] == ["local", "/mine"]


def test_what_a_machine_says_is_of_the_hosts_time() -> None:
    class Shell:
        def run(self, *_: object, **__: object) -> Any:
            state = {"time": 1000.0, "volumes": {"home": {"phase": "ready", "mounted": True}}}
            return type("Result", (), {"stdout": f"1001.5\n{json.dumps(state)}".encode()})()

    class Provider:
        def shell(self, _: object) -> Shell:
            return Shell()

    node = ObservedNode("web", "id", "running", "", "", "", {}, attached=(Attached("home", "/home/shared"),))
    said = mounted.said(Provider(), node)  # type: ignore[arg-type]
    wanted = mounted.Wanted.attached(node)
    assert mounted.missing(wanted, said) is None
    assert mounted.missing(wanted, {**said, "time": said["time"] - 60}) is not None
    lab = Observed("shop", nodes={"web": node})
    assert machine_uses(lab, {"web": said})["web"][0].phase == "ready"
    assert machine_uses(lab, {})["web"][0].phase == "unknown"


class Pool:
    """libvirt's pool, as far as volumes ask for it."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}

    def virsh(self, *words: str, stdin: str | None = None, timeout: float = 60.0) -> str:
        if words[0] == "pool-list":
            return "default\n"
        if words[0] == "vol-list":
            return "".join(f" {name}  /pool/{name}\n" for name in self.files)
        if words[0] == "vol-create-as":
            self.files[words[2]] = ""
        elif words[0] == "vol-upload":
            self.files[words[3]] = stdin or ""
        elif words[0] == "vol-delete":
            del self.files[words[3]]
        else:
            asked = [each.split()[3] for each in words[0].split("; ")]
            if missing := [name for name in asked if name not in self.files]:
                raise LabctlError("libvirt refused", details=[f"Storage volume not found: {missing[0]}"])
            return "".join(self.files[name] for name in asked)
        return ""


def test_a_volume_is_known_again_by_what_lies_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool()
    monkeypatch.setattr("labctl.providers.vagrant.libvirt.virsh", pool.virsh)
    shop = Desired("shop", "/srv/shop", {}, {}, {}, {})
    pg = DesiredVolume("pg", "labctl-shop-pg", "Retain", "iscsi", 1 << 30, "iqn.x:pg", "vagrant")
    volumes.create(pg, shop)
    volumes.create(pg, shop)
    assert set(pool.files) == {"labctl-shop-pg.labels", "labctl-shop-pg.qcow2"}
    ((given, found),) = volumes.observed("labctl-shop-")
    assert given["labctl.directory"] == "/srv/shop"
    assert (found.type, found.size, found.reclaim, found.target) == ("iscsi", 1 << 30, "Retain", "iqn.x:pg")
    # lab `shop`, volume `x-pg`, and lab `shop-x`, volume `pg`, have one name between them
    other = Desired("another", "/srv/x", {}, {}, {}, {})
    with pytest.raises(ConflictError, match="lab shop's"):
        volumes.create(DesiredVolume("pg", "labctl-shop-pg", "Retain", provider="vagrant"), other)
    marker = tmp_path / "disks"
    marker.mkdir()
    volumes.remove(found, marker)
    assert pool.files == {}
    assert not marker.exists()


def test_a_volume_that_goes_while_others_are_looked_at_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool()
    monkeypatch.setattr("labctl.providers.vagrant.libvirt.virsh", pool.virsh)
    for name in ("a", "b", "c"):
        made = DesiredVolume(name, f"labctl-shop-{name}", "Delete", provider="vagrant")
        volumes.create(made, Desired("shop", "/srv/shop", {}, {}, {}, {}))
    listed = pool.virsh("vol-list", "default")
    del pool.files["labctl-shop-b.labels"]
    monkeypatch.setattr(volumes, "_listed", lambda: [line.split()[0] for line in listed.splitlines()])
    assert [volume.name for _, volume in volumes.observed("labctl-shop-")] == ["a", "c"]


def test_who_mounts_and_who_serves_has_the_programs_baked_in(tmp_path: Path) -> None:
    lab, _ = made(tmp_path)
    client = features.recipe(lab.nodes["web"], mounts=True)
    server = features.recipe(lab.nodes["nas"], serves=("nfs", "iscsi"))
    assert {"open-iscsi", "multipath-tools", "nfs-common"} <= set(client.packages)
    assert {"nfs-kernel-server", "tgt"} <= set(server.packages)
    assert "nfs-ganesha" not in server.packages
    paths = {each.path for each in client.files}
    assert "/usr/lib/lab/machine-storage" in paths
    assert not any("labnfs" in path or "keeper" in path for path in paths)


def test_which_path_is_in_use_is_read_from_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).resolve().parents[2] / "templates"
    for place in ("storage", "machine/storage"):
        monkeypatch.syspath_prepend(str(root / place / "usr/lib/lab"))
    monkeypatch.delitem(sys.modules, "storage", raising=False)
    from machine import iscsi  # type: ignore[import-not-found]

    two = "0 262144 multipath 2 0 0 0 2 1 A 0 1 2 8:0 A 0 0 1 E 0 1 2 8:16 A 0 0 1"
    assert iscsi.used(two) == {"8:0": True, "8:16": False}
    assert iscsi.used(two.replace("8:0 A", "8:0 F")) == {"8:16": False}
    assert iscsi.used("0 262144 linear 8:0 0") == {}
