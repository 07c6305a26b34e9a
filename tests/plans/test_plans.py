"""Every directory here is one behaviour of planning: a lab file, what is there, and the plan that must come out."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from labctl.errors import LabctlError
from labctl.model.lab import Port
from labctl.plan.desired import STORAGES, Making, desired
from labctl.plan.model import (
    DISK,
    GATEWAY,
    KEEPER,
    MANAGEMENT,
    STORAGE,
    Attached,
    BakedImage,
    BaseImage,
    Desired,
    Observed,
    ObservedNetwork,
    ObservedNode,
    ObservedVolume,
    Role,
)
from labctl.plan.steps import plan_down, plan_up, restrict
from labctl.plan.text import render
from labctl.source.load import load
from labctl.source.yamlio import load_plain

CASES = sorted(path.parent for path in Path(__file__).parent.glob("*/plan.txt"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_plan(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    if (case / "observed.yaml").is_file():
        data = load_plain((case / "observed.yaml").read_text())
        assert isinstance(data, dict)
        given = data
    assert text_of(case, given) == (case / "plan.txt").read_text().rstrip("\n")


def text_of(case: Path, given: dict[str, Any]) -> str:
    """The plan of a case as text, or the error that planning ended with."""
    lab = load([str(case / "topology.yaml")], cwd=case, stdin=None, environ={}, home=Path("/home/u")).lab
    makings = {
        name: Making(BakedImage(node.image)) if node.image else Making(_baked(node.box or "", node.packages))
        for name, node in lab.nodes.items()
    }
    if any(node.desktop for node in lab.nodes.values()):
        makings[GATEWAY] = Making(_baked("debian-13", ("gateway",)))
    if any(volume.type != "local" for volume in lab.volumes.values()):
        makings[STORAGES] = Making(_baked("debian-13", ("storage",)))
    try:
        wanted = desired(lab, makings, _observed(lab.name, given, None))
        observed = _observed(lab.name, given, wanted)
        if names := given.get("only"):
            wanted = restrict(wanted, names)
        if given.get("command") == "down":
            return render(plan_down(observed, volumes=bool(given.get("all_volumes"))))
        return render(plan_up(wanted, observed, keep_others=bool(names)))
    except LabctlError as error:
        return f"error {int(error.exit_code)}: {error.message}"


def _baked(box: str, packages: tuple[str, ...]) -> BakedImage:
    base = BaseImage(f"{box}:base", box, f"{box}:pull", "suite")
    return BakedImage(f"{box}+{'+'.join(packages)}" if packages else box, base)


def _observed(lab: str, given: dict[str, Any], wanted: Desired | None) -> Observed:
    """What the case says is there. ``as: desired`` is a node as it shall be, but for the parts in ``changed``."""
    nodes = {name: _node(name, dict(each), wanted) for name, each in given.get("nodes", {}).items()}
    networks = {
        name: ObservedNetwork(
            name,
            f"id-{name}",
            f"labctl-{lab}-{name}",
            IPv4Network(each["subnet"]),
            each.get("internal", name == MANAGEMENT),
            each.get("provider", "docker"),
            frozenset(map(IPv4Address, each.get("reserved", ()))),
            each.get("whole", True),
        )
        for name, each in given.get("networks", {}).items()
    }
    volumes = {
        name: ObservedVolume(
            name, f"labctl-{lab}-{name}", each.get("type", "local"), each.get("reclaim", "Retain"), each.get("size")
        )
        for name, each in given.get("volumes", {}).items()
    }
    images = given.get("images", [])
    if images == "all" and wanted is not None:
        images = [image.tag for image in wanted.images.values()]
    return Observed(
        lab=lab,
        nodes=nodes,
        networks=networks,
        volumes=volumes,
        images=frozenset(images) if images != "all" else frozenset(),
        taken_subnets=tuple(IPv4Network(each) for each in given.get("taken_subnets", [])),
        taken_ports=frozenset((int(each), "tcp") for each in given.get("taken_ports", [])),
    )


def _role(name: str) -> Role:
    if name.startswith((STORAGE, DISK)):
        return "storage"
    return "gateway" if name == GATEWAY else "keeper" if name == KEEPER else "node"


def _node(name: str, given: dict[str, Any], wanted: Desired | None) -> ObservedNode:
    node = ObservedNode(
        name=name,
        id=f"id-{name}",
        state="running",
        image="",
        shape="other",
        content="other",
        addresses={net: IPv4Address(address) for net, address in given.pop("addresses", {}).items()},
        ports=tuple(Port(int(inner), int(outer)) for inner, outer in given.pop("ports", {}).items()),
        role=_role(name),
        attached=tuple(Attached(*each) for each in given.pop("attached", [])),
    )
    parts = "|".join(given.pop("changed", ["nothing"]))

    def other(digest: str) -> str:
        return re.sub(rf"\b({parts})=\w+", r"\1=other", digest)

    if given.pop("as", None) == "desired" and wanted is not None and name in wanted.nodes:
        target = wanted.nodes[name]
        node = replace(node, shape=other(target.shape), content=other(target.content), image=target.image)
    return replace(node, **json.loads(json.dumps(given)))
