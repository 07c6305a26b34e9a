"""Who is measured: labctl, compose and the bare script, each bringing the same nodes up and down as its own process."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Protocol

import docker

from tests.bench import host

HERE = Path(__file__).resolve().parent
SSH = (22, b"SSH-2.0-")
RFB = (5901, b"RFB 003.")


@dataclass(frozen=True)
class Shape:
    """What is brought up: `count` equal nodes, each on all of `networks` networks."""

    name: str
    count: int
    networks: int = 1
    desktop: bool = False
    healthcheck: bool = False

    @property
    def network_names(self) -> list[str]:
        """The networks, in the order of attachment."""
        return [f"net{number}" for number in range(self.networks)]


class Contender(Protocol):
    """Brings a shape up, to ssh-ready on all nodes, and down; both return the seconds that it took."""

    name: str

    def up(self, shape: Shape) -> float: ...

    def down(self, shape: Shape) -> float: ...


GHOST = "has active endpoints"
"""What an engine says that miscounted a network's endpoints: the network stays until that engine starts again."""


def timed(argv: Sequence[str], **more: str) -> float:
    """Run a command to its end, with `more` in its environment; its wall-clock seconds.

    Raises `RuntimeError` with its output when it fails, but not of a miscounted network: that is the engine's doing.
    """
    began = time.perf_counter()
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **more}, check=False)
    seconds = time.perf_counter() - began
    if done.returncode and GHOST not in done.stderr:
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return seconds


@dataclass
class Labctl:
    """labctl as it is installed beside this Python, with a home of its own. It says itself when all is ready."""

    directory: Path
    engine: docker.APIClient
    name: str = "labctl"
    labs: set[str] = field(default_factory=set)
    """The names of the labs that it ever began to bring up."""

    def up(self, shape: Shape) -> float:
        seconds = self.run("up", "-f", str(self.file(shape)))
        # Not a part of the time: what it said has to be true already.
        nodes = host.addresses(self.engine, f"labctl.lab={self.lab(shape)}", "labctl.kind=node")
        ports = [SSH, RFB] if shape.desktop else [SSH]
        host.wait_for([(address, *port) for address in nodes for port in ports], timeout=2.0)
        return seconds

    def down(self, shape: Shape) -> float:
        return self.run("down", "-f", str(self.file(shape)))

    def run(self, *arguments: str) -> float:
        """One labctl command as a process; its seconds."""
        return timed([str(Path(sys.executable).with_name("labctl")), *arguments], LABCTL_HOME=str(self.directory))

    def image(self, shape: Shape) -> str:
        """The image that its nodes run, while the shape is up."""
        found = self.engine.containers(filters={"label": [f"labctl.lab={self.lab(shape)}", "labctl.kind=node"]})
        return str(found[0]["Image"])

    @staticmethod
    def lab(shape: Shape) -> str:
        """The name of its lab."""
        return f"bench-{shape.name}"

    def file(self, shape: Shape) -> Path:
        """Its lab file, written."""
        node: dict[str, Any] = {"count": shape.count, "networks": shape.network_names}
        if shape.desktop:
            node["desktop"] = True
        if shape.healthcheck:
            node["healthcheck"] = {"test": "pgrep -x sshd", "interval": "1s", "timeout": "2s", "retries": 30}
        self.labs.add(self.lab(shape))
        lab = {"name": self.lab(shape), "networks": {name: {} for name in shape.network_names}, "nodes": {"n": node}}
        path = self.directory / shape.name / "lab.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(lab))
        return path


@dataclass
class Floor:
    """The bare script. Names and subnets are new each time, since an engine may have kept the last ones."""

    directory: Path
    engine: docker.APIClient
    image: str
    name: str = "floor"

    def up(self, shape: Shape) -> float:
        return timed([sys.executable, str(HERE / "floor.py"), "up", str(self.file(shape))])

    def down(self, shape: Shape) -> float:
        return timed([sys.executable, str(HERE / "floor.py"), "down", str(self.directory / "floor.json")])

    def file(self, shape: Shape) -> Path:
        """What the script is to make, written."""
        mark = secrets.token_hex(2)
        subnets = host.free_subnets(self.engine)
        networks = {
            f"bench-floor-{mark}-{name}": subnet for name, subnet in zip(shape.network_names, subnets, strict=False)
        }
        spec = {
            "image": self.image,
            "label": host.LABEL,
            "networks": networks,
            "nodes": {
                f"bench-floor-n-{number}": {name: _address(subnet, number) for name, subnet in networks.items()}
                for number in range(shape.count)
            },
        }
        path = self.directory / "floor.json"
        path.write_text(json.dumps(spec))
        return path


@dataclass
class Compose:
    """docker compose, version 2. It does not wait: this process then waits for the banners, within the time.

    With healthchecks it waits for them itself (``--wait``).
    """

    directory: Path
    engine: docker.APIClient
    image: str
    program: Sequence[str]
    name: str = "compose"

    def up(self, shape: Shape) -> float:
        subnets = dict(zip(shape.network_names, host.free_subnets(self.engine), strict=False))
        self.write(shape, subnets, project=f"bench-compose-{secrets.token_hex(2)}")
        first = subnets[shape.network_names[0]]
        began = time.perf_counter()
        self.run("up", "--detach", *(["--wait"] if shape.healthcheck else []))
        host.wait_for([(_address(first, number), *SSH) for number in range(shape.count)])
        return time.perf_counter() - began

    def down(self, shape: Shape) -> float:
        return self.run("down")

    def run(self, *arguments: str) -> float:
        """One compose command as a process; its seconds."""
        return timed([*self.program, "-f", str(self.directory / "compose.yaml"), *arguments])

    def write(self, shape: Shape, subnets: Mapping[str, str], *, project: str) -> None:
        """Write its compose file."""
        marks = {host.LABEL: ""}
        services = {
            f"n-{number}": {
                "image": self.image,
                "hostname": f"n-{number}",
                "labels": marks,
                "networks": {name: {"ipv4_address": _address(subnet, number)} for name, subnet in subnets.items()},
            }
            for number in range(shape.count)
        }
        if shape.healthcheck:
            check = {"test": "pgrep -x sshd", "interval": "1s", "timeout": "2s", "retries": 30}
            services = {name: {**service, "healthcheck": check} for name, service in services.items()}
        networks = {
            name: {"labels": marks, "ipam": {"config": [{"subnet": subnet}]}} for name, subnet in subnets.items()
        }
        content = {"name": project, "services": services, "networks": networks}
        (self.directory / "compose.yaml").write_text(json.dumps(content))


def _address(subnet: str, number: int) -> str:
    return str(IPv4Network(subnet)[10 + number])
