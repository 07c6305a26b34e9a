"""What is said of volumes, from the engine's labels and the keeper's word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from labctl.documents.make import node_document
from labctl.documents.storage import storage_document, uses
from labctl.plan.model import Observed, ObservedNode, ObservedVolume, Role

NOW = 1000.0
KEEPING: dict[str, Any] = {
    "nodes": {
        "web": {"mounts": [{"volume": "home", "target": "/home/shared", "read_only": True}], "devices": []},
        "vote": {"mounts": [], "devices": [{"volume": "quorum", "target": "/dev/lab/quorum"}]},
    }
}
READY: dict[str, Any] = {
    "time": NOW - 1,
    "nodes": {"web": {"volumes": {"home": {"phase": "ready", "mounted": True, "way": "user space", "version": "3"}}}},
    "disks": {"quorum": {"phase": "ready", "active": "10.0.0.2:3260", "standby": ["10.0.1.2:3260"]}},
}


def node(name: str, role: Role = "node", **more: Any) -> ObservedNode:
    known = ObservedNode(name, f"id-{name}", "running", "", "", "", {}, role=role, status="Up 2 minutes")
    return replace(known, **more)


def lab(**more: ObservedNode) -> Observed:
    nodes = [
        node("web"),
        node("vote"),
        node("nas", volumes=("home", "quorum")),
        node("_storage-web", "storage"),
        node("_disk-quorum", "storage"),
        node("_keeper", "keeper"),
    ]
    volumes = {
        "home": ObservedVolume("home", "labctl-shop-home", "nfs", "Retain"),
        "quorum": ObservedVolume(
            "quorum", "labctl-shop-quorum", "iscsi", "Delete", 2**28, "iqn.2026-11.internal.shop:quorum"
        ),
    }
    return Observed("shop", nodes={each.name: each for each in nodes} | more, volumes=volumes)


def test_what_stands_is_healthy_and_says_its_way() -> None:
    found = uses(lab(), KEEPING, READY, now=NOW)
    (home,) = found["web"]
    assert (home.phase, home.way, home.version, home.read_only) == ("ready", "user space", "3", True)
    (quorum,) = found["vote"]
    assert quorum.raw
    assert quorum.active == "10.0.0.2:3260"
    assert quorum.standby == ["10.0.1.2:3260"]
    assert node_document(lab().nodes["web"], found).health == "healthy"
    assert node_document(lab().nodes["nas"], found).health is None


def test_a_dead_storage_container_makes_its_node_unhealthy_whatever_the_keeper_said_last() -> None:
    dead = lab(**{"_storage-web": node("_storage-web", "storage", state="exited", status="Exited (137) 1 second ago")})
    found = uses(dead, KEEPING, READY, now=NOW)
    assert found["web"][0].phase == "failed"
    assert "Exited (137)" in (found["web"][0].message or "")
    assert node_document(dead.nodes["web"], found).health == "unhealthy"
    assert found["vote"][0].phase == "ready"


def test_what_was_said_of_a_helper_before_it_was_started_does_not_count() -> None:
    again = node("_storage-web", "storage", status="Up Less than a second")
    assert uses(lab(**{"_storage-web": again}), KEEPING, READY, now=NOW)["web"][0].phase == "starting"
    longer = replace(again, status="Up 5 seconds")
    assert uses(lab(**{"_storage-web": longer}), KEEPING, READY, now=NOW)["web"][0].phase == "ready"


def test_the_word_of_a_silent_keeper_does_not_count() -> None:
    found = uses(lab(), KEEPING, READY, now=NOW + 60)
    assert {use.phase for each in found.values() for use in each} == {"unknown"}
    assert node_document(lab().nodes["web"], found).health == "unhealthy"


def test_a_refused_login_names_its_layer() -> None:
    said = {"phase": "failed", "layer": "CHAP", "message": "the target refuses the password", "hint": "labctl up"}
    found = uses(lab(), KEEPING, {**READY, "disks": {"quorum": said}}, now=NOW)
    assert (found["vote"][0].layer, found["vote"][0].hint) == ("CHAP", "labctl up")


def test_a_volume_knows_its_server_its_name_there_and_its_size() -> None:
    found = uses(lab(), KEEPING, READY, now=NOW)
    home, quorum = storage_document(lab(), found, {"quorum": (2**29, 4096)}).volumes
    assert (home.server, home.name_there, home.size, home.used) == ("nas", "/home", None, None)
    assert (quorum.server, quorum.name_there) == ("nas", "iqn.2026-11.internal.shop:quorum")
    assert (quorum.size, quorum.used) == (2**29, 4096)
    assert quorum.portals == ["10.0.0.2:3260", "10.0.1.2:3260"]
