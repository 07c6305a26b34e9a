"""Containers and real machines on one network, and what keeps them from all others: two machines, two labs."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from labctl.plan.desired import bridge_name
from labctl.providers.vagrant import fences, libvirt, taps
from tests.support.boxes import share_boxes

pytestmark = [pytest.mark.vm, pytest.mark.engine, pytest.mark.timeout(1200)]

LABCTL = str(Path(sys.executable).with_name("labctl"))

NETWORKS = ("lan", "san", "vms", "con")
LAB = """\
name: {name}
networks: {{lan: {{}}, san: {{internal: true}}, vms: {{}}, con: {{}}}}
nodes:
  web: {{networks: [lan, san], capabilities: [NET_ADMIN]}}
  apart: {{networks: [con], capabilities: [NET_ADMIN]}}
  db: {{provider: vagrant, networks: [lan, san, vms]}}
"""
LATE = "  late: {provider: vagrant, networks: [lan]}\n"
OTHER = """\
name: {name}
networks: {{lan: {{}}}}
nodes:
  lone: {{provider: vagrant, networks: [lan]}}
"""


@dataclass
class Lab:
    """labctl on one lab; its home is that of all labs of this module."""

    directory: Path
    home: Path
    name: str
    text: str
    nodes: dict[str, Any] = field(default_factory=dict)

    def write(self, more: str = "") -> None:
        """The lab file."""
        self.directory.mkdir(exist_ok=True)
        (self.directory / "lab.yaml").write_text(self.text.format(name=self.name) + more)

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """A labctl that has ended."""
        return subprocess.run(
            [LABCTL, *argv],
            cwd=self.directory,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    def labctl(self, *argv: str) -> str:
        """What a labctl that went well printed."""
        ran = self.run(*argv)
        assert ran.returncode == 0, f"{argv}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    @property
    def environ(self) -> dict[str, str]:
        """The environment of labctl."""
        return {**os.environ, "LABCTL_HOME": str(self.home)}

    def look(self) -> None:
        """Take in how the nodes are now."""
        told = json.loads(self.labctl("inspect", "-o", "json"))
        self.nodes = {each["name"]: each for each in told["nodes"]}

    def address(self, node: str, network: str) -> str:
        """The node's address on the network."""
        return str(self.nodes[node]["node"]["addresses"][network])

    def management(self, node: str) -> str:
        """The address at which Vagrant finds the machine."""
        said = self.labctl("exec", node, "--", "ip", "-4", "-o", "address", "show", "eth0")
        return said.split()[3].partition("/")[0]

    def reached(self, node: str, own: str, targets: Sequence[str]) -> list[str]:
        """Those that answer the node over the interface of its own address, by any way there is."""
        script = """
            own=$1 gateway=$2; shift 2
            device=$(ip -4 -o address | awk -v own="$own/" 'index($4, own) == 1 { print $2 }')
            test -n "$device" || exit 1
            for target; do
              ping -I "$device" -c1 -W1 -q "$target" && echo "answer $target" && continue
              ip route replace "$target" via "$gateway" dev "$device"
              ping -I "$device" -c1 -W1 -q "$target" && echo "answer $target"
              ip route del "$target" via "$gateway" dev "$device"
            done
            exit 0
        """
        gateway = own.rpartition(".")[0] + ".1"
        said = self.labctl("exec", node, "--", "sh", "-c", script, "sh", own, gateway, *targets)
        return [line.removeprefix("answer ") for line in said.splitlines() if line.startswith("answer ")]

    def reaches(self, node: str, own: str, target: str) -> bool:
        """Whether one answers."""
        return self.reached(node, own, [target]) == [target]


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Lab]]:
    """A mixed lab, and another one with a machine."""
    home = tmp_path_factory.mktemp("home")
    share_boxes(home)
    mark = secrets.token_hex(2)
    mixed = Lab(tmp_path_factory.mktemp("mixed"), home, f"w-mixed-{mark}", LAB)
    other = Lab(tmp_path_factory.mktemp("other"), home, f"w-other-{mark}", OTHER)
    try:
        for lab in (mixed, other):
            lab.write()
            lab.labctl("up", "--yes")
            lab.look()
        yield mixed, other
    finally:
        for lab in (mixed, other):
            lab.run("down")


def left(name: str) -> list[str]:
    """What the host has of a lab, by names and bridges."""
    tables = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    bridges = [bridge_name(name, network) for network in (*NETWORKS, "_machines")]
    engine = [
        subprocess.run(
            ["docker", *words, "--filter", f"label=labctl.lab={name}"], capture_output=True, text=True, check=True
        ).stdout.split()
        for words in (("ps", "-aq"), ("network", "ls", "-q"), ("volume", "ls", "-q"))
    ]
    volumes = [line.split()[0] for line in libvirt.virsh("vol-list", "default").splitlines() if line.strip()]
    return [
        *(each.name for each in libvirt.domains(f"labctl-{name}-")),
        *(each.name for each in libvirt.networks(f"labctl-{name}-")),
        *(each for each in volumes if each.startswith(f"labctl-{name}-")),
        *fences.standing(f"labctl-{name}-"),
        *(each for found in engine for each in found),
        *(bridge for bridge in bridges if Path("/sys/class/net", bridge).exists() or bridge in tables),
    ]


def leaks(mixed: Lab, other: Lab) -> list[str]:
    """Who reaches what is not on its networks, over which of its interfaces."""
    db, lone = mixed.management("db"), other.management("lone")
    inside = {"vms": mixed.address("db", "vms"), "management": db, "apart": mixed.address("apart", "con")}
    beyond = {"other": other.address("lone", "lan"), "other's management": lone}
    ways = [
        (mixed, "apart", mixed.address("apart", "con"), {**inside, **beyond, "lan": mixed.address("db", "lan")}),
        *((mixed, "web", mixed.address("web", name), {**inside, **beyond}) for name in ("lan", "san")),
        *(
            (mixed, "db", own, {"apart": inside["apart"], **beyond})
            for own in (db, *(mixed.address("db", name) for name in ("lan", "san", "vms")))
        ),
        *(
            (other, "lone", own, {**inside, "web": mixed.address("web", "lan"), "lan": mixed.address("db", "lan")})
            for own in (lone, other.address("lone", "lan"))
        ),
    ]

    def tell(way: tuple[Lab, str, str, dict[str, str]]) -> list[str]:
        lab, node, own, targets = way
        found = lab.reached(node, own, [target for target in targets.values() if target != own])
        return [f"{node} from {own}: {what}" for what, target in targets.items() if target in found]

    with ThreadPoolExecutor(4) as pool:
        return [leak for found in pool.map(tell, ways) for leak in found]


def test_both_kinds_reach_each_other_by_name_and_address(labs: tuple[Lab, Lab]) -> None:
    mixed, _ = labs
    for here, there in (("web", "db"), ("db", "web")):
        mixed.labctl("exec", here, "--", "ping", "-c1", "-W5", there)
        mixed.labctl("exec", here, "--", "ping", "-c1", "-W5", f"{there}.{mixed.name}.internal")
        for network in ("lan", "san"):
            assert mixed.reaches(here, mixed.address(here, network), mixed.address(there, network))
    assert mixed.labctl("exec", "web", "--", "getent", "hosts", "db").split()[0] == mixed.address("db", "lan")
    # a second `up` only reads
    assert json.loads(mixed.labctl("plan", "-o", "json"))["steps"] == []


def test_what_is_not_on_a_nodes_networks_is_not_reached(labs: tuple[Lab, Lab]) -> None:
    mixed, other = labs
    assert leaks(mixed, other) == []
    # the tries can succeed: without what keeps networks apart they do, and `up` puts it back
    for lab in (mixed, other):
        for name in fences.standing(f"labctl-{lab.name}-"):
            fences.remove(name)
    assert leaks(mixed, other) != []
    for lab in (mixed, other):
        lab.labctl("up")
        assert json.loads(lab.labctl("plan", "-o", "json"))["steps"] == []
    assert leaks(mixed, other) == []


def test_an_address_that_somebody_has_is_not_a_machines_too(labs: tuple[Lab, Lab]) -> None:
    mixed, _ = labs
    name = f"{mixed.name}-guest"
    image = subprocess.run(
        ["docker", "inspect", "-f", "{{.Image}}", f"labctl-{mixed.name}-web"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()

    def guest(*words: str) -> str:
        command = ["docker", "run", "-d", "--rm", "--name", name, "--network", f"labctl-{mixed.name}-lan", *words]
        subprocess.run([*command, image, "sleep", "600"], capture_output=True, check=True)
        shown = ["docker", "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name]
        return subprocess.run(shown, capture_output=True, text=True, check=True).stdout.strip()

    def leave() -> None:
        subprocess.run(["docker", "rm", "-f", name], capture_output=True, check=True)

    head, _, last = mixed.address("db", "lan").rpartition(".")
    try:
        assert int(guest().rpartition(".")[2]) >= 128 > int(last)  # in the part where no machine is
        leave()
        with pytest.raises(subprocess.CalledProcessError):
            guest("--ip", mixed.address("db", "lan"))  # a machine's, running or not
        taken = guest("--ip", f"{head}.{int(last) + 1}")
        mixed.write(LATE)
        ran = mixed.run("up", "--yes", "--progress", "plain")
        assert ran.returncode != 0
        assert "LAB-NET-006" in ran.stderr
        assert f"address {taken} of late" in ran.stderr
        assert name in ran.stderr
        assert [each.name for each in libvirt.domains(f"labctl-{mixed.name}-")] == [f"labctl-{mixed.name}-db"]
    finally:
        leave()
        mixed.write()
    mixed.labctl("up", "--yes")


def test_a_network_that_was_lost_under_a_running_machine_is_made_again(labs: tuple[Lab, Lab]) -> None:
    mixed, _ = labs
    mixed.look()
    before = mixed.nodes["db"]["id"]
    san, tap = bridge_name(mixed.name, "san"), taps.name(mixed.name, "db", "san")
    engines = f"labctl-{mixed.name}-san"
    subprocess.run(["docker", "network", "disconnect", "-f", engines, f"labctl-{mixed.name}-web"], check=True)
    subprocess.run(["docker", "network", "rm", engines], check=True, capture_output=True)
    libvirt.virsh("net-destroy", f"labctl-{mixed.name}-vms")
    assert taps.astray(tap, san)
    mixed.labctl("up", "--yes")
    mixed.look()
    assert mixed.nodes["db"]["id"] == before
    assert not taps.astray(tap, san)
    assert mixed.reaches("web", mixed.address("web", "san"), mixed.address("db", "san"))
    socket.create_connection((mixed.address("db", "vms"), 22), timeout=10).close()
    assert json.loads(mixed.labctl("plan", "-o", "json"))["steps"] == []


def test_an_up_that_was_killed_leaves_nothing_that_down_does_not_find(labs: tuple[Lab, Lab], tmp_path: Path) -> None:
    name = f"w-killed-{secrets.token_hex(2)}"
    lab = Lab(tmp_path / "lab", labs[0].home, name, LAB)
    lab.write()
    words = [LABCTL, "up", "--yes"]
    running = subprocess.Popen(
        words, cwd=lab.directory, env=lab.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 120
        while not fences.standing(f"labctl-{name}-_machines-"):
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        running.kill()
        running.wait(timeout=20)
        lab.labctl("down")
    assert left(name) == []


def test_nothing_is_left(labs: tuple[Lab, Lab]) -> None:
    for lab in labs:
        assert left(lab.name) != []
        lab.labctl("down")
        assert left(lab.name) == []
        assert not (lab.home / "labs" / lab.name).exists()
