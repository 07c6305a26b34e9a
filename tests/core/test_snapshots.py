"""Snapshots without a host: what belongs to one, what is missing, what is refused."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from labctl import pausing
from labctl.errors import LabctlError, NotFoundError
from labctl.model.lab import Node
from labctl.plan.model import Desired, DesiredNode, DesiredVolume, Observed, ObservedNode, ObservedVolume
from labctl.plan.snapshots import chosen, drawn_up, grouped, named, part, refuse_others


def node(name: str, *, provider: str = "docker", volumes: tuple[str, ...] = (), role: str = "node") -> ObservedNode:
    return ObservedNode(
        name=name,
        id=f"id-{name}",
        state="running",
        image="image",
        shape="box=1,ports=1",
        content="files=1",
        addresses={"lan": IPv4Address("10.0.0.2")},
        provider=provider,
        volumes=volumes,
        role=role,  # type: ignore[arg-type]
        packages=frozenset({"b", "a"}),
    )


def volume(name: str, kind: str = "local") -> ObservedVolume:
    return ObservedVolume(name, f"labctl-shop-{name}", kind, "Retain")


NODES = {
    "web": node("web", volumes=("data",)),
    "db": node("db", volumes=("data",)),
    "nas": node("nas", volumes=("home",)),
    "vm": node("vm", provider="vagrant"),
    "_keeper": node("_keeper", role="keeper"),
    "_storage-web": node("_storage-web", role="storage"),
    "_gateway": node("_gateway", role="gateway"),
}
OBSERVED = Observed("shop", nodes=NODES, volumes={"data": volume("data"), "home": volume("home", "nfs")})
USERS = [each for each in NODES.values() if each.role == "node"]


def desired(**shapes: str) -> Desired:
    def made(name: str, shape: str) -> DesiredNode:
        return DesiredNode(name, f"labctl-shop-{name}", name, Node(name, name), "image", shape, "", {}, {})

    volumes = {name: DesiredVolume(name, f"labctl-shop-{name}", "Retain") for name in OBSERVED.volumes}
    return Desired("shop", "/", {}, volumes, {}, {name: made(name, shape) for name, shape in shapes.items()})


def test_labels_say_all_of_a_part() -> None:
    parts = drawn_up("s", OBSERVED, USERS, {"web": ["/own"]}, whole=True, now=7.0)
    for each in parts:
        again = part(each.labels(), each.provider, each.id, with_memory=each.with_memory)
        assert again == each
    assert [each.ref for each in parts] == [
        *("node/web", "node/db", "node/nas", "node/vm", "volume/data", "volume/home", "inner/web:/own")
    ]
    assert part({"labctl.kind": "node"}, "docker", "x", with_memory=False) is None


def test_what_is_missing_is_known_by_the_others() -> None:
    parts = list(drawn_up("s", OBSERVED, USERS, {}, whole=True, now=7.0))
    (whole,) = grouped(reversed(parts)).values()
    assert whole.missing == ()
    assert whole.nodes == ["web", "db", "nas", "vm"]
    (half,) = grouped(each for each in parts if each.name not in ("vm", "home")).values()
    assert half.missing == ("node/vm", "volume/home")
    with pytest.raises(LabctlError, match="not whole: node/vm, volume/home"):
        chosen(half, (), OBSERVED)
    with pytest.raises(LabctlError, match="not whole: node/vm"):
        chosen(half, ("vm",), OBSERVED)
    assert [each.ref for each in chosen(half, ("web", "db"), OBSERVED)] == ["node/web", "node/db", "volume/data"]


def test_a_name_that_is_nearly_right_is_told() -> None:
    known = grouped(drawn_up("before", OBSERVED, USERS, {}, whole=True, now=7.0))
    assert named(known, "shop", "before").lab == "shop"
    with pytest.raises(NotFoundError) as caught:
        named(known, "shop", "befor")
    assert caught.value.hint == "did you mean before?"
    with pytest.raises(NotFoundError):
        named(known, "other", "before")
    with pytest.raises(NotFoundError, match="no node mail"):
        chosen(named(known, "shop", "before"), ("mail",), OBSERVED)


def test_a_volume_is_not_changed_under_a_node_that_goes_on() -> None:
    (snapshot,) = grouped(drawn_up("s", OBSERVED, USERS, {}, whole=True, now=7.0)).values()
    with pytest.raises(LabctlError, match="db has volume data too"):
        chosen(snapshot, ("web",), OBSERVED)


def test_what_the_file_says_otherwise_is_named() -> None:
    parts = list(drawn_up("s", OBSERVED, USERS[:2], {}, whole=False, now=7.0))
    same = {"web": "box=1,ports=1", "db": "box=1,ports=1"}
    refuse_others("s", parts, desired(**same))
    with pytest.raises(LabctlError, match="node web otherwise than when snapshot s was taken: ports"):
        refuse_others("s", parts, desired(**{**same, "web": "box=1,ports=2"}))
    with pytest.raises(LabctlError, match="node db is in snapshot s, and not in the lab file"):
        refuse_others("s", parts, desired(web=same["web"]))
    with pytest.raises(LabctlError, match="volume data is in snapshot s"):
        refuse_others("s", parts, replace(desired(**same), volumes={}))


def test_who_mounts_stands_still_before_who_serves() -> None:
    order = [each.name for each in pausing.in_order(OBSERVED)]
    assert order[0] == "_keeper"
    assert order[-1] == "nas"
    assert order.index("web") < order.index("_storage-web")
    assert "_gateway" not in order
    some = [each.name for each in pausing.in_order(OBSERVED, {"web"})]
    assert some == ["_keeper", "web", "_storage-web"]
