"""What servers, clients and the keeper are told of a lab's storage: addresses, names, secrets, and who may do what."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from labctl import sharing
from labctl.model.lab import Lab
from labctl.plan import storage
from labctl.plan.desired import STORAGES, Making, desired
from labctl.plan.model import GATEWAY, BakedImage, Desired, Observed
from labctl.source.load import load

SHOP = """\
name: shop
networks:
  lan: {subnet: 10.77.0.0/24}
  san-1: {subnet: 10.77.1.0/24, internal: true}
  san-2: {subnet: 10.77.2.0/24, internal: true}
volumes:
  home: {type: nfs, server: nas}
  public: {type: nfs, server: nas, access: ReadOnlyMany, squash: all}
  pg: {type: iscsi, server: nas, size: 1GiB, networks: [san-1, san-2]}
  one: {type: iscsi, server: nas, size: 1GiB, target: disks}
  two: {type: iscsi, server: nas, size: 1GiB, target: disks}
  quorum: {type: iscsi, server: nas, size: 256MiB, access: ReadWriteMany}
nodes:
  nas: {networks: {lan: 10.77.0.10, san-1: 10.77.1.10, san-2: 10.77.2.10}}
  web: {networks: {lan: 10.77.0.20}, volumes: ["home:/home/shared:ro", "public:/mnt", "one:/one"]}
  db: {networks: {lan: 10.77.0.21, san-1: 10.77.1.21, san-2: 10.77.2.21}, volumes: ["pg:/pg", "home:/home/shared"]}
  vote: {count: 2, networks: [lan], devices: ["quorum:/dev/lab/quorum"]}
  other: {networks: {lan: 10.77.0.99}}
"""


def made(tmp_path: Path, text: str = SHOP) -> tuple[Lab, Desired]:
    (tmp_path / "lab.yaml").write_text(text)
    lab = load(None, cwd=tmp_path, environ={}, home=tmp_path).lab
    makings = {name: Making(BakedImage("image")) for name in (*lab.nodes, STORAGES)}
    return lab, desired(lab, makings, Observed(lab.name))


def told(tmp_path: Path, node: str, path: str, text: str = SHOP) -> str:
    lab, whole = made(tmp_path, text)
    entries = {each.path: each for each in sharing.seed(lab, whole, whole.nodes[node], lambda login: f"<{login}>")}
    assert entries[path].mode == 0o600
    return entries[path].content.decode()


def test_an_export_has_exactly_the_addresses_of_those_who_mount_it(tmp_path: Path) -> None:
    text = told(tmp_path, "nas", "/etc/lab/nfs/ganesha.conf")
    home, public = (part for part in text.split("EXPORT {")[1:])
    assert "Clients = 10.77.0.21; Access_Type = RW" in home
    assert "Clients = 10.77.0.20; Access_Type = RO" in home
    assert "Squash = Root_Squash" in home
    assert "Anonymous_Uid = 1000" in home
    assert "Clients = 10.77.0.20; Access_Type = RO" in public
    assert "Squash = All_Squash" in public
    assert "10.77.0.21" not in public
    assert "10.77.0.99" not in text
    assert "10.77.1." not in text


def test_targets_let_in_by_name_and_secret(tmp_path: Path) -> None:
    lines = told(tmp_path, "nas", "/etc/lab/iscsi/targets").splitlines()
    blocks = "\n".join(lines).split("target ")[1:]
    pg = next(each for each in blocks if ":pg\n" in each)
    assert "initiator iqn.2026-11.internal.shop:db\n" in pg
    assert "account db.pg <pg/db>\n" in pg
    assert "lun 1 /srv/lab/pg 1073741824 " in pg
    disks = next(each for each in blocks if ":disks\n" in each)
    assert disks.count("\nlun ") == 2
    assert "initiator iqn.2026-11.internal.shop:web\n" in disks
    assert "account web.disks <disks/web>\n" in disks
    quorum = next(each for each in blocks if ":quorum\n" in each)
    assert quorum.count("initiator ") == 1, "a shared raw disk has one initiator: its own container"
    assert "initiator iqn.2026-11.internal.shop:disk.quorum\n" in quorum


def test_no_two_disks_have_a_name_or_a_target_number_in_common(tmp_path: Path) -> None:
    lines = [line.split() for line in told(tmp_path, "nas", "/etc/lab/iscsi/targets").splitlines()]
    names = [line[4] for line in lines if line[0] == "lun"]
    assert len(set(names)) == len(names) == 4
    assert all(len(name) == 16 and int(name, 16) for name in names)
    numbers = [line[1] for line in lines if line[0] == "target"]
    assert len(set(numbers)) == len(numbers) == 3
    assert storage.wwid("shop", "pg") != storage.wwid("shop2", "pg")


def test_a_disk_keeps_its_number_when_others_of_its_target_come_and_go(tmp_path: Path) -> None:
    lab, _ = made(tmp_path)
    before = storage.lun(lab, lab.volumes["two"])
    alone, _ = made(tmp_path, SHOP.replace("  one: {", "  zero: {").replace("one:/one", "zero:/one"))
    assert storage.lun(alone, alone.volumes["two"]) == before


def test_a_consumer_learns_its_ways_and_a_raw_disk_has_a_container_of_its_own(tmp_path: Path) -> None:
    known = json.loads(told(tmp_path, "_storage-db", "/etc/lab/storage.json"))
    pg, home = known["mounts"]
    assert pg["portals"] == ["10.77.1.10:3260", "10.77.2.10:3260"]
    assert (pg["iqn"], pg["initiator"]) == ("iqn.2026-11.internal.shop:pg", "iqn.2026-11.internal.shop:db")
    assert (pg["user"], pg["password"]) == ("db.pg", "<pg/db>")
    assert home["servers"] == ["10.77.0.10"]
    assert home["export"] == "/home"
    assert known["devices"] == []
    disk = json.loads(told(tmp_path, "_disk-quorum", "/etc/lab/storage.json"))
    assert disk["mounts"] == []
    (device,) = disk["devices"]
    assert device["password"] == "<quorum/disk.quorum>"
    assert 1024 <= device["loop"] < 65536
    _, whole = made(tmp_path)
    for vote in ("vote-1", "vote-2"):
        assert whole.nodes[vote].confined.device_rules == (f"b 7:{device['loop']} rw",)
        assert whole.nodes[vote].raw == (("/dev/lab/quorum", 7, device["loop"]),)


def test_no_secret_is_in_what_is_planned(tmp_path: Path) -> None:
    text = SHOP.replace(
        "networks: [san-1, san-2]}", "networks: [san-1, san-2], chap: {user: me, password: verysecret123}}"
    )
    _, whole = made(tmp_path, text)
    assert "verysecret123" not in repr(whole)


def test_the_gateway_of_a_lab_knows_nothing_of_its_storage(tmp_path: Path) -> None:
    """A lab with both a desktop and a share could not be planned once."""
    (tmp_path / "lab.yaml").write_text(SHOP.replace("  other: {", "  other: {desktop: true, "))
    lab = load(None, cwd=tmp_path, environ={}, home=tmp_path).lab
    makings = {name: Making(BakedImage("image")) for name in (*lab.nodes, STORAGES, GATEWAY)}
    assert {GATEWAY, "_storage-db", "_keeper"} <= set(desired(lab, makings, Observed(lab.name)).nodes)


def test_a_lab_without_served_volumes_has_none_of_it(tmp_path: Path) -> None:
    _, whole = made(tmp_path, "name: plain\nvolumes: {data: {type: local}}\nnodes: {a: {volumes: ['data:/data']}}\n")
    assert list(whole.nodes) == ["a"]
    assert "clients=" not in whole.nodes["a"].content
    assert "serves=" not in whole.nodes["a"].shape


def test_a_lab_without_served_volumes_loads_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("name: plain\nvolumes: {d: {type: local}}\nnodes: {a: {volumes: ['d:/d']}}\n")
    program = """
import sys
import subprocess
import sys
from pathlib import Path
from labctl import planning, work
from labctl.plan.desired import desired
from labctl.plan.model import Observed
from labctl.plan.steps import plan_up
from labctl.source.load import load
lab = load(None, cwd=Path.cwd(), environ={}, home=Path.cwd()).lab
planning.refuse_unbuilt(lab, ())
wanted = desired(lab, planning._makings(lab), Observed(lab.name))
plan_up(wanted, Observed(lab.name))
print(*(name for name in sys.modules if name.endswith((".sharing", ".plan.storage", "_server", "_target", ".stored"))))
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
