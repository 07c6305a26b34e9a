"""The steps from the observed lab to the desired one, and those that take a lab down. Pure: compare, never ask."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from labctl import features
from labctl.model.lab import Node
from labctl.plan import digests
from labctl.plan.model import (
    GATEWAY,
    BakedImage,
    Desired,
    DesiredNode,
    Observed,
    ObservedNode,
    Plan,
    Step,
    Target,
    Verb,
)


def node_ref(name: str) -> str:
    """What steps and displays call a node; the gateway is no node of the file."""
    return "gateway" if name == GATEWAY else f"node/{name}"


def plan_up(desired: Desired, observed: Observed, *, keep_others: bool = False) -> Plan:
    """What `up` has to do. `keep_others` leaves alone what is there and not desired (``up NODE…``)."""
    draft = _Draft(desired, observed)
    draft.drop_networks()
    if not keep_others:
        draft.drop_nodes()
    for network in desired.networks.values():
        if network.name not in observed.networks or network.name in draft.stale:
            why = "its subnet or kind changed" if network.name in draft.stale else "not there"
            draft.add(Verb.CREATE, f"network/{network.name}", why, network, [f"{Verb.REMOVE} network/{network.name}"])
    for volume in desired.volumes.values():
        if volume.name not in observed.volumes:
            draft.add(Verb.CREATE, f"volume/{volume.name}", "not there", volume)
    for node in desired.nodes.values():
        draft.node(node)
    return Plan(desired.lab, draft.ordered())


def plan_down(observed: Observed, *, volumes: bool) -> Plan:
    """What `down` has to do: nodes, then networks, then volumes that are not to be kept."""
    steps = [
        Step(Verb.REMOVE, node_ref(node.name), "the lab goes down", node, destroys=True)
        for node in observed.nodes.values()
    ]
    gone = frozenset(step.id for step in steps)
    steps += [
        Step(Verb.REMOVE, f"network/{network.name}", "the lab goes down", network, gone)
        for network in observed.networks.values()
    ]
    for volume in observed.volumes.values():
        if volumes or volume.reclaim == "Delete":
            because = "asked for" if volume.reclaim == "Retain" else "reclaim: Delete"
            steps.append(Step(Verb.REMOVE, f"volume/{volume.name}", because, volume, gone, destroys=True))
    return Plan(observed.lab, tuple(steps))


@dataclass
class _Draft:
    desired: Desired
    observed: Observed
    steps: dict[str, Step] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)

    def add(
        self,
        verb: Verb,
        ref: str,
        because: str,
        target: Target,
        after: Iterable[str] = (),
        *,
        destroys: bool = False,
    ) -> str:
        step = Step(verb, ref, because, target, frozenset(after), destroys)
        self.steps[step.id] = step
        return step.id

    # ------------------------------------------------------------ what goes

    def drop_networks(self) -> None:
        for known in self.observed.networks.values():
            wanted = self.desired.networks.get(known.name)
            if wanted is not None and (wanted.subnet, wanted.internal) != (known.subnet, known.internal):
                self.stale.add(known.name)
        for name in sorted(self.stale):
            known = self.observed.networks[name]
            users = [node for node in self.observed.nodes.values() if name in node.addresses]
            for node in users:
                self._remove(node, f"network {name} is made anew")
            self.add(
                Verb.REMOVE,
                f"network/{name}",
                "its subnet or kind changed",
                known,
                [f"{Verb.REMOVE} {node_ref(node.name)}" for node in users],
            )

    def drop_nodes(self) -> None:
        for node in self.observed.nodes.values():
            if node.name not in self.desired.nodes:
                self._remove(node, "no longer in the lab file")
        for network in self.observed.networks.values():
            if network.name not in self.desired.networks:
                users = [node for node in self.observed.nodes.values() if network.name in node.addresses]
                for node in users:
                    self._remove(node, f"network {network.name} goes")
                self.add(
                    Verb.REMOVE,
                    f"network/{network.name}",
                    "no longer in the lab file",
                    network,
                    [f"{Verb.REMOVE} {node_ref(node.name)}" for node in users],
                )

    def _remove(self, node: ObservedNode, because: str) -> None:
        if f"{Verb.REMOVE} {node_ref(node.name)}" not in self.steps:
            destroys = node.started and node.role == "node"
            self.add(Verb.REMOVE, node_ref(node.name), because, node, destroys=destroys)

    # ------------------------------------------------------------ one node

    def node(self, wanted: DesiredNode) -> None:
        known = self.observed.nodes.get(wanted.name)
        ref = node_ref(wanted.name)
        if known is None:
            self._make(wanted, "not there")
        elif f"{Verb.REMOVE} {ref}" in self.steps:
            self._make(wanted, "made anew")
        elif reason := _must_be_new(wanted, known):
            self._remove(known, reason)
            self._make(wanted, reason)
        else:
            self._converge(wanted, known)

    def _make(self, wanted: DesiredNode, because: str) -> None:
        ref = node_ref(wanted.name)
        needs = [self._image(wanted)] if wanted.image not in self.observed.images else []
        needs += [f"{Verb.CREATE} network/{name}" for name in wanted.addresses]
        needs += [f"{Verb.CREATE} volume/{name}" for name in wanted.volumes]
        needs.append(f"{Verb.REMOVE} {ref}")
        created = self.add(Verb.CREATE, ref, because, wanted, needs)
        started = self.add(Verb.START, ref, "just created", wanted, [created, *self._dependencies(wanted)])
        self._settle(wanted, because, started)

    def _converge(self, wanted: DesiredNode, known: ObservedNode) -> None:
        ref = node_ref(wanted.name)
        started = None
        if known.state != "running" and not _finished(wanted.node, known):
            because = "paused" if known.state == "paused" else f"stopped ({known.status or known.state})"
            started = self.add(Verb.START, ref, because, wanted, self._dependencies(wanted))
        if known.content != wanted.content:
            parts = digests.changed(known.content, wanted.content)
            because = f"changed: {', '.join(parts)}" if parts else "not known to be finished"
            self._settle(wanted, because, started, anew=False)
        elif started:
            self.add(Verb.VERIFY, ref, "just started", wanted, [started])

    def _settle(self, wanted: DesiredNode, because: str, started: str | None, *, anew: bool = True) -> None:
        ref = node_ref(wanted.name)
        last = [started] if started else []
        if needs_configuring(wanted) or not anew:
            last = [self.add(Verb.CONFIGURE, ref, because, wanted, last)]
        self.add(Verb.VERIFY, ref, because if not started else "just started", wanted, last)

    def _image(self, wanted: DesiredNode) -> str:
        image = self.desired.images[wanted.image]
        needs = []
        if isinstance(image, BakedImage) and image.base is not None and image.base.tag not in self.observed.images:
            base = image.base
            needs.append(self.add(Verb.BUILD, f"base/{base.box}", "not on this host", base))
        ref = f"image/{image.tag}"
        return self.add(Verb.BUILD, ref, "not on this host", image, needs)

    def _dependencies(self, wanted: DesiredNode) -> list[str]:
        waits = {"started": Verb.START, "healthy": Verb.VERIFY, "completed": Verb.VERIFY}
        return [f"{waits[each.condition]} {node_ref(each.node)}" for each in wanted.node.depends_on]

    # ------------------------------------------------------------ order

    def ordered(self) -> tuple[Step, ...]:
        """The steps with only those causes that are steps themselves, each after its causes."""
        from graphlib import TopologicalSorter

        graph = {step.id: sorted(step.after & self.steps.keys()) for step in self.steps.values()}
        order = TopologicalSorter(graph).static_order()
        return tuple(replace(self.steps[each], after=frozenset(graph[each])) for each in order)


def needs_configuring(wanted: DesiredNode) -> bool:
    """The node has something that is done inside it after its start, beyond what was put into it before."""
    node = wanted.node
    return node.image is None and features.apply_needed(node)


def _must_be_new(wanted: DesiredNode, known: ObservedNode) -> str | None:
    if not known.started or known.state == "dead":
        return "a former run ended while it was made"
    if known.shape != wanted.shape:
        parts = digests.changed(known.shape, wanted.shape)
        return f"changed: {', '.join(parts)}" if parts else "it is no longer as it was made"
    gone = known.packages - {*wanted.node.packages, *wanted.recipe.packages}
    if gone:
        return f"removed from its packages: {', '.join(sorted(gone))}"
    return None


def _finished(node: Node, known: ObservedNode) -> bool:
    """A container that ran to its end, as one does that was not made to stay."""
    return node.image is not None and known.state == "exited" and known.exit_code == 0


def restrict(desired: Desired, names: Collection[str]) -> Desired:
    """Only the named nodes and what they wait for, with networks, volumes and the gateway to their desktops."""
    keep: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop()
        if name not in keep and name in desired.nodes:
            keep.add(name)
            queue += [each.node for each in desired.nodes[name].node.depends_on]
    if any(desired.nodes[name].node.desktop for name in keep):
        keep.add(GATEWAY)
    nodes = {name: node for name, node in desired.nodes.items() if name in keep}
    networks = {network for node in nodes.values() for network in node.addresses}
    volumes = {volume for node in nodes.values() for volume in node.volumes}
    return replace(
        desired,
        nodes=nodes,
        networks={name: each for name, each in desired.networks.items() if name in networks},
        volumes={name: each for name, each in desired.volumes.items() if name in volumes},
    )
