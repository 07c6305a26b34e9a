"""Carries out the steps of one `up`: what each verb means for each kind of thing, with the seeds that nodes get."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import cached_property
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from labctl.engine import Interrupted
from labctl.errors import LabctlError
from labctl.hostkeys import HostKeys
from labctl.lab import Put
from labctl.plan.desired import proxy_environment
from labctl.plan.model import (
    GATEWAY,
    STORING,
    BakedImage,
    BaseImage,
    DesiredNetwork,
    DesiredNode,
    DesiredVolume,
    Observed,
    ObservedNode,
    Step,
    Verb,
)
from labctl.plan.processes import published
from labctl.plan.steps import node_ref
from labctl.readiness import Subject, Waiting, Watch, ready
from labctl.recipe import Entry, Facts, Trust

if TYPE_CHECKING:
    from labctl.lab import LabDirectory, NodeSecrets
    from labctl.model.lab import Lab
    from labctl.planning import Planned
    from labctl.providers.base import Provider
    from labctl.sharing import Sharing

CONFIGURE_TIMEOUT = 1800.0
"""Seconds that packages, users, run steps and services of one node may take together."""

NO_PACKAGES, NO_MOUNTS = 3, 4
"""Exit codes of `apply`: the packages of the lab file are not there; a volume was not mounted in time."""

SETTLE_TIMEOUT = 60.0
"""Seconds for a node to say whether its services stay up; it gives them 30."""


class Work:
    """One `up` under way: the plan with all that its steps need."""

    def __init__(
        self,
        lab: Lab,
        planned: Planned,
        provider: Provider,
        directory: LabDirectory,
        trust: Trust,
        end: float,
    ) -> None:
        self.lab, self.planned, self.provider, self.directory = lab, planned, provider, directory
        self.trust, self.end = trust, end
        self.stop = threading.Event()
        self.configured: dict[str, str] = {}
        self.installed: set[str] = set()
        self.started: set[str] = set()
        self.seeded: set[str] = set()
        self.watch = Watch(lambda: provider.observe(lab.name))
        self._making_secrets = threading.Lock()

    # ------------------------------------------------------------ steps

    def carry_out(self, step: Step, line: Callable[[str], None]) -> None:
        """Do what `step` says. Raises what the provider raises."""
        target = step.target
        match step.verb:
            case Verb.BUILD | Verb.CREATE:
                assert isinstance(target, BaseImage | BakedImage | DesiredNetwork | DesiredVolume | DesiredNode)
                if isinstance(target, DesiredNode):
                    self.create(target)
                else:
                    self.provider.create(target, self.planned.desired, on_line=line)
            case Verb.START:
                assert isinstance(target, DesiredNode | ObservedNode)
                self.provider.start(target)
                self.started.add(target.name)
            case Verb.CONFIGURE:
                assert isinstance(target, DesiredNode)
                self.configure(target, line)
            case Verb.VERIFY:
                assert isinstance(target, DesiredNode)
                ready(self.subject(target), self.waiting(), fresh=True, completed=self.is_one_shot(target))
                if _is_box(target):
                    self.host_keys.learn(target)
            case Verb.REMOVE | Verb.STOP:
                take_down(step, self.provider, self.planned.observed)

    def check(self) -> None:
        """Raise `Interrupted` when this run is to end."""
        if self.stop.is_set():
            raise Interrupted

    def create(self, node: DesiredNode) -> None:
        """Make a node with all that it has to know before its first start."""
        from labctl import features

        seed = self.seed(node)
        if _is_box(node) and not _shares(node):
            seed = features.first_seed(seed)
        # A machine is put files into when it runs, over ssh: it has to know whom to let in before.
        told = _is_box(node) and (not seed or node.provider == "vagrant")
        identity = features.identity(self.facts(node)) if told else {}
        self.provider.create(node, self.planned.desired, seed=seed, identity=identity)
        if seed:
            self.seeded.add(node.name)

    def configure(self, node: DesiredNode, line: Callable[[str], None]) -> None:
        """Put the node's content into it and have it applied; a failure shows the last lines of what was run."""
        self.provider.adjust(node)
        shell = self.provider.shell(node)
        with self.sharing.growing(node, line) if node.serves or node.role == "storage" else nullcontext():
            if node.role != "node" or node.name not in self.seeded:
                shell.put(self.seed(node))
        if node.node.image is not None:
            self.rename(node, line)
        elif node.role == "node":
            left = min(CONFIGURE_TIMEOUT, max(self.end - time.monotonic(), 1.0))
            result = shell.run(("/usr/lib/lab/apply",), timeout=left, on_line=line, check=self.check)
            if result.code != NO_PACKAGES:
                self.installed.add(node.name)
            if result.code == NO_MOUNTS:
                raise self.sharing.lacking(node)
            if result.code != 0:
                tail = (result.stdout + result.stderr).decode(errors="replace").splitlines()[-12:]
                raise LabctlError(
                    f"{node.name}: configuring it failed with exit code {result.code}",
                    details=tail,
                    hint=f"mend the lab file and run `labctl up` again; all output: labctl logs {node.name} --run",
                    code="LAB-NODE-005",
                )
            if node.node.services:
                self.settle(node)
        self.configured[node.name] = node.content

    def settle(self, node: DesiredNode) -> None:
        """Wait until the services of the lab file stay up; one that ends again and again fails the node."""
        result = self.provider.shell(node).run(("/usr/lib/lab/settled",), timeout=SETTLE_TIMEOUT, check=self.check)
        if result.code != 0:
            names = ", ".join(result.stdout.decode(errors="replace").split())
            raise LabctlError(
                f"{node.name}: a service does not stay up: {names}",
                details=last_words(self.provider, node),
                hint=f"mend its command, or let the node wait with `depends_on`; see `labctl logs {node.name}`",
                code="LAB-NODE-006",
            )

    def rename(self, node: DesiredNode, line: Callable[[str], None]) -> None:
        """Give a foreign image the names of nodes that came after it, as far as it has a shell.

        Without one, and after a restart, it finds these by the engine's own DNS, which knows running nodes only.
        """
        hosts = "".join(f"{each}\n" for each in node.hosts)
        script = f'old=$(grep -v "[.]{self.lab.name}[.]internal" /etc/hosts); {{ echo "$old"; cat; }} > /etc/hosts'
        try:
            done = self.provider.shell(node).run(("sh", "-c", script), stdin=hosts.encode(), timeout=20.0)
        except LabctlError as error:
            line(f"names not written: {error}")
        else:
            if done.code != 0:
                line(f"names not written: {done.stderr.decode(errors='replace').strip()}")

    def seed(self, node: DesiredNode) -> tuple[Entry, ...]:
        """The files that only this node has."""
        from labctl import features

        if node.role == "gateway":
            return self.gateway_seed()
        if node.role == "ports":
            return features.ports_seed(published(self.planned.whole.nodes))
        if node.role in STORING:
            return self.shared_seed(node)
        if node.node.image is not None:
            return (*features.image_seed(node.node), *self.shared_seed(node))
        return (*features.seed(node.node, self.facts(node)), *self.shared_seed(node))

    def facts(self, node: DesiredNode) -> Facts:
        """What a box is to know of itself and of the lab."""
        environment = {**proxy_environment(self.planned.whole, self.trust.proxies), **node.node.environment}
        screen = self.secrets[node.name] if node.node.desktop else None
        return Facts(
            lab=self.lab.name,
            node=node.name,
            hosts=node.hosts,
            authorized_keys=(self.public_key,),
            environment=tuple(environment.items()),
            vnc_password=screen.vnc_password if screen else "",
            vnc_view_password=screen.vnc_view_password if screen else "",
        )

    def shared_seed(self, node: DesiredNode) -> tuple[Entry, ...]:
        """What the node is told of shared storage: nothing, for most."""
        return self.sharing.seed(node) if _shares(node) else ()

    @cached_property
    def sharing(self) -> Sharing:
        """The shared storage of the lab; loaded only where there is some."""
        from labctl.sharing import Sharing

        return Sharing(self.lab, self.planned.whole, self.provider, self.directory, self._making_secrets)

    def prepare(self) -> None:
        """Make the keys that new nodes need, in the background: the engine is busy with the networks meanwhile.

        The first network is told to the engine before that, which needs the same processor for loading the way to it.
        """
        if any(_makes_node(step) for step in self.planned.plan.steps):
            threading.Thread(target=self._prepare, daemon=True).start()

    def _prepare(self) -> None:
        with suppress(OSError, LabctlError):  # the step that needs them meets the same error, and tells it
            self.provider.prepare()
            _ = self.public_key, self.host_keys, self.secrets

    def gateway_seed(self) -> tuple[Entry, ...]:
        """What the gateway knows of the lab: every node, and of those with a desktop how to open it."""
        from labctl.features import gateway

        nodes = self.planned.whole.nodes
        own = nodes[GATEWAY]
        screens = []
        for node in nodes.values():
            # This host reaches every machine, a container those on its own networks.
            near = node.addresses if own.provider == "host" else own.addresses
            address = next((node.addresses[name] for name in near if name in node.addresses), None)
            if node.role != "node":
                continue
            screen = gateway.Screen(node.name, str(address or ""), node.node.group)
            if node.node.desktop is not None and address is not None:
                known = self.secrets[node.name]
                screen = replace(
                    screen,
                    token=known.token,
                    view_token=known.view_token,
                    password=known.vnc_password,
                    view_password=known.vnc_view_password,
                )
            screens.append(screen)
        with self._making_secrets:
            page, view = self.directory.page_token(), self.directory.page_view_token()
        return gateway.seed(self.lab.name, page, view, screens)

    @cached_property
    def public_key(self) -> str:
        with self._making_secrets:
            return self.directory.public_key()

    @cached_property
    def secrets(self) -> dict[str, NodeSecrets]:
        """What opens the desktops of the lab, made once for all that are new."""
        with self._making_secrets:
            return self.directory.secrets(*(n.name for n in self.planned.whole.nodes.values() if n.node.desktop))

    @cached_property
    def host_keys(self) -> HostKeys:
        """The public host keys of the nodes, as far as they are known."""
        return HostKeys(self.provider, self.directory.host_keys(), self.started)

    # ------------------------------------------------------------ waiting

    def waiting(self) -> Waiting:
        nodes = self.planned.desired.nodes
        return Waiting(
            self.watch,
            lambda subject: self.provider.shell(nodes[subject.name]),
            lambda subject: last_words(self.provider, nodes[subject.name]),
            self.end,
            self.stop,
        )

    def subject(self, node: DesiredNode) -> Subject:
        """The node to wait for, with the volumes that it mounts."""
        subject = Subject.of(node)
        if not node.mounting:
            return subject
        return replace(subject, then=self.sharing.mounted(node, end=self.end, stop=self.stop))

    def is_one_shot(self, node: DesiredNode) -> bool:
        """Some other node waits for this one to complete."""
        return any(
            each.node == node.name and each.condition == "completed"
            for other in self.lab.nodes.values()
            for each in other.depends_on
        )

    def unchanged(self) -> list[Subject]:
        """The nodes that no step of the plan verifies, and that are not over."""
        verified = {step.ref for step in self.planned.plan.steps if step.verb is Verb.VERIFY}
        nodes = (node for node in self.planned.desired.nodes.values() if node.role not in STORING)
        return [self.subject(node) for node in nodes if node_ref(node.name) not in verified]

    # ------------------------------------------------------------ what is kept

    def promise(self) -> None:
        """Write down which nodes are about to be changed: whatever ends this run, the next one finishes them."""
        self.directory.forget_host_keys(
            step.ref.removeprefix("node/") for step in self.planned.plan.steps if _makes_node(step)
        )
        refs = {step.ref for step in self.planned.plan.steps if step.verb is Verb.CONFIGURE}
        known = [node for node in self.planned.observed.nodes.values() if node_ref(node.name) in refs]
        if known:
            journal = self.directory.journal() or {}
            half = {node.id: Put("", tuple(sorted(node.packages))) for node in known}
            self.directory.record({**journal, **half})

    def keep(self) -> None:
        """Write down what was put into which node, and the ssh configuration of the lab."""
        addresses = self.reachable()
        if addresses:
            nodes: dict[str, DesiredNode | ObservedNode] = {**self.planned.observed.nodes, **self.planned.desired.nodes}
            self.host_keys.learn_all({name: nodes[name] for name in addresses})
            written = {name: str(address) for name, address in addresses.items()}
            self.directory.write_ssh_config(written, self.host_keys.known)
        if self.installed or self.configured:
            now = self.provider.observe(self.lab.name)
            journal = {id: put for id, put in (self.directory.journal() or {}).items() if id in _ids(now)}
            for name in {*self.installed, *self.configured}:
                if name in now.nodes:
                    node = now.nodes[name]
                    known = journal.get(node.id, Put("")).packages
                    added = {*known, *self.planned.desired.nodes[name].node.packages}
                    journal[node.id] = Put(self.configured.get(name, ""), tuple(sorted(added)))
            self.directory.record(journal)

    def reachable(self) -> dict[str, IPv4Address]:
        """Where ssh finds each box node: those of this `up`, and others of the lab that it leaves as they are."""
        gone = {step.ref for step in self.planned.plan.steps if step.verb is Verb.REMOVE}
        networks = {
            node.name: node.addresses
            for node in self.planned.observed.nodes.values()
            if node.role == "node" and node.kind == "box" and node_ref(node.name) not in gone
        }
        networks |= {node.name: node.addresses for node in self.planned.desired.nodes.values() if _is_box(node)}
        return {name: next(iter(addresses.values())) for name, addresses in networks.items() if addresses}

    def observed(self) -> Observed:
        """The lab as it is now."""
        return self.provider.observe(self.lab.name)


def last_words(provider: Provider, node: DesiredNode | ObservedNode) -> list[str]:
    """What its healthcheck said last and the last lines that the node printed; none when the engine does not tell."""
    try:
        return [*provider.verdict(node), *provider.tail(node, lines=12)]
    except LabctlError:
        return []


def take_down(step: Step, provider: Provider, observed: Observed) -> None:
    """Remove or stop what the step is about; what holds data (`observed` tells) lets go of it in order first."""
    target = step.target
    if isinstance(target, ObservedNode):
        ours = target.role in STORING
        if ours:
            from labctl import sharing

            sharing.let_go(provider, observed, target)
        holds = ours or target.volumes or target.attached
        if step.verb is Verb.STOP or (holds and target.state == "running"):
            provider.stop(target, timeout=10.0)
        if step.verb is Verb.STOP:
            return
    provider.remove(target)


def _ids(observed: Observed) -> set[str]:
    return {node.id for node in observed.nodes.values()}


def _is_box(node: DesiredNode) -> bool:
    return node.role == "node" and node.node.image is None


def _shares(node: DesiredNode) -> bool:
    return bool(node.serves or node.mounting or node.role != "node")


def _makes_node(step: Step) -> bool:
    return step.verb is Verb.CREATE and isinstance(step.target, DesiredNode) and step.target.role == "node"
