"""A lab file as it is written: the single source of its grammar, its JSON Schema and its error messages.

These models say what each value may look like on its own. What values mean together (names that exist, addresses that
fit) is `model.resolve`, which turns a `Topology` into the `Lab` that the rest of labctl reads.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict

from labctl.model.scalars import Duration, Name, Subnet, Text
from labctl.model.spec import Flag, Spec
from labctl.model.spec_checks import CheckSpec, DomainSpec, ScenarioSpec
from labctl.model.spec_node import NodeSpec
from labctl.model.spec_storage import VolumeSpec


class NetworkSpec(Spec):
    """A network of its own; nodes on it reach each other, by name and address."""

    subnet: Subnet | None = None
    """Its addresses; the first is the gateway. Taken from a pool when left out."""
    internal: Flag | None = None
    """No way out."""


class Topology(Spec):
    """A lab: nodes, the networks between them, and what they share."""

    model_config: ClassVar[ConfigDict] = ConfigDict(title="labctl lab file", defer_build=True)

    name: Name
    """The lab's name, unique on a host."""
    ttl: Duration | None = None
    """How long the lab may live; after that `labctl gc` removes it."""
    message: Text | None = None
    """Printed at the end of `labctl up`."""
    defaults: NodeSpec | None = None
    """Merged under every node."""
    domains: dict[Name, DomainSpec | None] | None = None
    """Failure domains; `in` makes the tree."""
    networks: dict[Name, NetworkSpec | None] | None = None
    """The networks; one named lan when left out."""
    volumes: dict[Name, VolumeSpec] | None = None
    """What nodes can mount: NFS exports, iSCSI disks, plain volumes."""
    nodes: dict[Name, NodeSpec | None]
    """The machines."""
    checks: dict[Name, CheckSpec] | None = None
    """Facts that hold in a healthy lab: `labctl test`."""
    scenarios: dict[Name, ScenarioSpec] | None = None
    """Rehearsed failures: `labctl rehearse NAME`."""

    def node(self, name: str) -> NodeSpec:
        """The node called `name` in the file; one without any key is an ordinary node."""
        return self.nodes[name] or NodeSpec()
