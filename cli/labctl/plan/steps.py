"""The steps from the observed lab to the desired one, and those that take a lab down. Pure: compare, never ask."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from labctl import features
from labctl.errors import ConflictError
from labctl.model.lab import Node
from labctl.plan import digests, mixed
from labctl.plan.model import (
    DISK,
    GATEWAY,
    JOINT,
    KEEPER,
    MANAGEMENT,
    PORTS,
    STORAGE,
    STORING,
    BakedImage,
    Desired,
    DesiredNetwork,
    DesiredNode,
    DesiredVolume,
    Observed,
    ObservedNode,
    ObservedVolume,
    Plan,
    Step,
    Target,
    Verb,
)
from labctl.plan.processes import is_ready_when_started

CHANGED = "its subnet or kind changed"


def node_ref(name: str) -> str:
    """What steps and displays call a node; labctl's own containers are no nodes of the file."""
    if name == GATEWAY:
        return "gateway"
    if name == PORTS:
        return "ports"
    if name == KEEPER:
        return "keeper"
    for prefix, kind in ((STORAGE, "storage"), (DISK, "disk")):
        if name.startswith(prefix):
            return f"{kind}/{name.removeprefix(prefix)}"
    return f"node/{name}"


def plan_up(desired: Desired, observed: Observed, *, keep_others: bool = False) -> Plan:
    """What `up` has to do. `keep_others` leaves alone what is there and not desired (``up NODE…``)."""
    draft = _Draft(desired, observed)
    draft.drop_networks()
    if not keep_others:
        draft.drop_nodes()
    for network in desired.networks.values():
        draft.network(network)
    for volume in desired.volumes.values():
        if volume.name not in observed.volumes:
            draft.add(Verb.CREATE, f"volume/{volume.name}", "not there", volume)
        else:
            _refuse_other(volume, observed.volumes[volume.name])
    for node in desired.nodes.values():
        draft.node(node)
    return Plan(desired.lab, draft.ordered())


def plan_down(observed: Observed, *, volumes: bool) -> Plan:
    """What `down` has to do: nodes, then networks, then volumes that are not to be kept."""
    steps = [
        Step(
            Verb.REMOVE,
            node_ref(node.name),
            "the lab goes down",
            node,
            frozenset(f"{Verb.REMOVE} {each}" for each in before_removing(node, observed)),
            destroys=True,
        )
        for node in _consumers_first(observed)
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


def before_removing(node: ObservedNode, observed: Observed) -> list[str]:
    """What has to be gone, or to have let go, before `node`: the keeper, which would start things again; what mounts
    into the node; the users of a disk, or of what a server serves.
    """
    names = observed.nodes
    users = [each.name for each in names.values() if any(use.volume in node.volumes for use in each.attached)]
    if users and node.role == "node" and KEEPER not in names:
        return [node_ref(name) for name in users if name != node.name]
    if KEEPER not in names or node.role in ("keeper", "gateway"):
        return []
    others = [each.name for each in names.values() if each.role == "node" and not _is_server(each, observed)]
    before = [KEEPER]
    if node.name.startswith(DISK):
        before += others
    elif node.role == "node":
        before += [name for name in names if name == STORAGE + node.name]
        if _is_server(node, observed):
            before += [*users, *others, *(each.name for each in names.values() if each.role == "storage")]
    return [node_ref(name) for name in dict.fromkeys(before)]


def _is_server(node: ObservedNode, observed: Observed) -> bool:
    return any(observed.volumes[name].type != "local" for name in node.volumes if name in observed.volumes)


def _consumers_first(observed: Observed) -> list[ObservedNode]:
    """The nodes in the order in which they can go."""
    waits = {node_ref(node.name): before_removing(node, observed) for node in observed.nodes.values()}

    def depth(ref: str) -> int:
        return max((1 + depth(each) for each in waits.get(ref, ())), default=0)

    return sorted(observed.nodes.values(), key=lambda node: depth(node_ref(node.name)))


def _refuse_other(volume: DesiredVolume, known: ObservedVolume) -> None:
    """Raise `ConflictError` when the data that is kept cannot be taken up as what the file wants."""
    away = f"keep it as it was, or give up its data: labctl volume remove {volume.name}"
    if volume.type != known.type:
        raise ConflictError(
            f"volume {volume.name} is there as {known.type} and cannot become {volume.type}",
            taken=f"volume {volume.name}",
            retry=False,
            hint=away,
            code="LAB-VOL-002",
        )
    if volume.size is not None and known.size is not None and volume.size < known.size:
        from labctl.model.scalars import format_size

        sizes = f"has {format_size(known.size)} and cannot shrink to {format_size(volume.size)}"
        raise ConflictError(
            f"volume {volume.name} {sizes}",
            taken=f"volume {volume.name}",
            retry=False,
            hint=away,
            code="LAB-VOL-002",
        )


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

    # ------------------------------------------------------------ networks

    def network(self, wanted: DesiredNetwork) -> None:
        """Make it, or complete it where something of it is gone; a joint after the network that it leads to."""
        known = self.observed.networks.get(wanted.name)
        whole = known is not None and known.whole
        if whole and wanted.name not in self.stale:
            return
        why = CHANGED if wanted.name in self.stale else "not there" if known is None else "not whole"
        needs = [f"{Verb.REMOVE} network/{wanted.name}"]
        if wanted.name.startswith(JOINT):
            needs.append(f"{Verb.CREATE} network/{wanted.name.removeprefix(JOINT)}")
        self.add(Verb.CREATE, f"network/{wanted.name}", why, wanted, needs)

    def drop_networks(self) -> None:
        for known in self.observed.networks.values():
            wanted = self.desired.networks.get(known.name)
            if wanted is not None and mixed.must_be_new(wanted, known, self.desired.nodes.values()):
                self.stale.add(known.name)
        for name in sorted(self.stale):
            known = self.observed.networks[name]
            users = [node for node in self.observed.nodes.values() if name.removeprefix(JOINT) in node.addresses]
            for node in users:
                self._remove(node, f"network {name} is made anew")
            self.add(
                Verb.REMOVE,
                f"network/{name}",
                CHANGED,
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
                if network.name.startswith(MANAGEMENT):  # needed by none that stays, and not before these are gone
                    users = [node for node in self.observed.nodes.values() if node.provider == "vagrant"]
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
            # What mounts into a node shares its network: it goes before it, and has to be made anew with it.
            storage = self.observed.nodes.get(STORAGE + node.name)
            if storage is not None:
                self._remove(storage, f"its node goes: {because}")
            after = [f"{Verb.REMOVE} {ref}" for ref in before_removing(node, self.observed)]
            self.add(Verb.REMOVE, node_ref(node.name), because, node, after, destroys=destroys)

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
        needs += self._networks(wanted)
        needs += [f"{Verb.CREATE} volume/{name}" for name in wanted.volumes]
        needs.append(f"{Verb.REMOVE} {ref}")
        if wanted.name.startswith(STORAGE):
            needs.append(f"{Verb.CREATE} {node_ref(wanted.name.removeprefix(STORAGE))}")
        created = self.add(Verb.CREATE, ref, because, wanted, needs)
        started = self.add(Verb.START, ref, "just created", wanted, [created, *self._dependencies(wanted)])
        self._settle(wanted, because, started)

    def _converge(self, wanted: DesiredNode, known: ObservedNode) -> None:
        ref = node_ref(wanted.name)
        started = None
        if known.state != "running" and not _finished(wanted.node, known):
            because = "paused" if known.state == "paused" else f"stopped ({known.status or known.state})"
            needs = [*self._networks(wanted), *self._dependencies(wanted)]
            started = self.add(Verb.START, ref, because, wanted, needs)
        if known.content != wanted.content:
            parts = digests.changed(known.content, wanted.content)
            because = f"changed: {', '.join(parts)}" if parts else "not known to be finished"
            self._settle(wanted, because, started, anew=False)
        elif started and not is_ready_when_started(wanted):
            self.add(Verb.VERIFY, ref, "just started", wanted, [started, *self._mounting(wanted)])

    def _settle(self, wanted: DesiredNode, because: str, started: str | None, *, anew: bool = True) -> None:
        ref = node_ref(wanted.name)
        last = [started] if started else []
        last += self._mounting(wanted)
        if wanted.role in STORING:
            last += self._dependencies(wanted)
        if needs_configuring(wanted) or not anew:
            last = [self.add(Verb.CONFIGURE, ref, because, wanted, last)]
        if is_ready_when_started(wanted):
            return
        self.add(Verb.VERIFY, ref, because if not started else "just started", wanted, last)

    def _networks(self, wanted: DesiredNode) -> list[str]:
        """The steps that make the networks of a node, whoever needs which."""
        names = [*wanted.addresses, MANAGEMENT, *(JOINT + name for name in wanted.addresses)]
        return [f"{Verb.CREATE} network/{name}" for name in names]

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
        found = [f"{waits[each.condition]} {node_ref(each.node)}" for each in wanted.node.depends_on]
        if not wanted.attached:
            found += _servers(wanted)
        if wanted.name.startswith(STORAGE):
            found.append(f"{Verb.START} {node_ref(wanted.name.removeprefix(STORAGE))}")
        if wanted.role == "keeper":
            others = [each for each in self.desired.nodes.values() if each.role == "storage"]
            found += [f"{Verb.CREATE} {node_ref(each.name)}" for each in others]
        return found

    def _mounting(self, wanted: DesiredNode) -> list[str]:
        """The steps that bring a node what it mounts: its own storage container, the disks, the keeper."""
        if wanted.attached:
            return _servers(wanted)
        if not wanted.mounting:
            return []
        names = [KEEPER, STORAGE + wanted.name, *(name for name in self.desired.nodes if name.startswith(DISK))]
        return [f"{verb} {node_ref(name)}" for name in names for verb in (Verb.START, Verb.CONFIGURE)]

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
    return wanted.role == "node" and node.image is None and features.apply_needed(node)


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


def _servers(wanted: DesiredNode) -> list[str]:
    return [f"{Verb.VERIFY} {node_ref(server)}" for server in sorted(wanted.waits_for)]


def _raw_volumes(node: DesiredNode) -> list[str]:
    return [each.volume for each in node.node.devices]


def restrict(desired: Desired, names: Collection[str]) -> Desired:
    """Only the named nodes and what they wait for, with networks, volumes and the gateway to their desktops."""
    keep: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop()
        if name not in keep and name in desired.nodes:
            keep.add(name)
            node = desired.nodes[name]
            queue += [*(each.node for each in node.node.depends_on), *node.waits_for]
            if node.mounting:
                queue += [KEEPER, STORAGE + name, *(f"{DISK}{each}" for each in _raw_volumes(node))]
    if any(desired.nodes[name].node.desktop for name in keep):
        keep.add(GATEWAY)
    if PORTS in desired.nodes and any(desired.nodes[name].provider == "vagrant" for name in keep):
        keep.add(PORTS)
    nodes = {name: node for name, node in desired.nodes.items() if name in keep}
    networks = {network for node in nodes.values() for network in node.addresses}
    for node in nodes.values():
        if node.provider == "vagrant":
            networks |= {MANAGEMENT, *(JOINT + name for name in node.addresses)}
    volumes = {volume for node in nodes.values() for volume in node.volumes}
    return replace(
        desired,
        nodes=nodes,
        networks={name: each for name, each in desired.networks.items() if name in networks},
        volumes={name: each for name, each in desired.volumes.items() if name in volumes},
    )
