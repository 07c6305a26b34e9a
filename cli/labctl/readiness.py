"""Waiting until a node can be used: its probes hold and its healthcheck is content. Every wait ends by a deadline."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from labctl.errors import DeadlineError, LabctlError
from labctl.plan.model import DesiredNode, Observed, ObservedNode
from labctl.providers.base import Shell
from labctl.recipe import Probe

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.25
"""Seconds between two tries: a tenth of what was waited so far, so that no wait lasts much longer than it has to."""


_PATIENT = "for try in 0 1 2 3 4 5 6 7 8 9; do ({script}) && exit 0; sleep 0.1; done; exit 1"
"""Asks a script again inside the node: for the engine, running a command in a node is work, for the node it is not."""


RECHECK = 10.0
"""Seconds at most for the next check of a node that the engine calls unhealthy and that nothing was done to."""


class NotReadyError(LabctlError):
    """The node cannot become ready: it ended, or it goes round in restarts."""

    code = "LAB-NODE-002"


@dataclass
class Watch:
    """What the engine says of the lab's nodes, asked at most every `interval` seconds whoever wants to know."""

    look: Callable[[], Observed]
    interval: float = 0.3
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last: Observed | None = None
    _time: float = 0.0

    def node(self, name: str, *, since: float = 0.0) -> ObservedNode | None:
        """The node as it was at most `interval` seconds ago and not before `since` (monotonic); None when it is gone.

        `since` is when the node was started: what was seen for another node's sake may be older.
        """
        with self._lock:
            now = time.monotonic()
            if self._last is None or self._time < max(since, now - self.interval):
                self._last = self.look()
                self._time = now
            return self._last.nodes.get(name)


@dataclass(frozen=True)
class Subject:
    """The node that is waited for. `address` is where its probes' ports are, None without a network.

    `health` asks for the engine's word too: running, and healthy when there is a healthcheck.
    """

    name: str
    address: IPv4Address | None
    probes: tuple[Probe, ...] = ()
    health: bool = False
    may_end: bool = False
    """It is somebody else's image: ending with exit code 0 is as good as running."""
    patience: float = 60.0
    """Seconds for which a node that was just changed may still be called unhealthy for what it was before."""
    then: Callable[[float], None] | None = None
    """What else has to hold, waited for at last; what was said of it before that time (epoch) does not count."""

    @classmethod
    def of(cls, node: DesiredNode) -> Subject:
        """A node of the lab file."""
        image = node.node.image is not None
        check = node.node.healthcheck
        return cls(
            name=node.name,
            address=next(iter(node.addresses.values()), None),
            probes=node.recipe.probes,
            health=image or check is not None,
            may_end=image,
            patience=check.interval + check.timeout + 1.0 if check else cls.patience,
        )


@dataclass(frozen=True)
class Waiting:
    """What every wait needs: the engine's word, a shell for scripts, the end (monotonic seconds), the interrupt."""

    watch: Watch
    shell: Callable[[Subject], Shell]
    logs: Callable[[Subject], list[str]]
    end: float
    stop: threading.Event
    since: float = 0.0
    """When the wait began (monotonic seconds): what the engine said before is not believed."""

    def node(self, name: str) -> ObservedNode | None:
        """The engine's word on the node since the wait began."""
        return self.watch.node(name, since=self.since)


def ready(node: Subject, waiting: Waiting, *, fresh: bool, completed: bool = False) -> None:
    """Return when `node` is ready. A node that is not `fresh` was ready before: its ports have to take connections.

    A `fresh` one also has to greet, which makes sshd start a process each time, and to pass the scripts of its probes.

    `completed` waits for a container that ends with exit code 0 instead. Raises `DeadlineError` naming what was waited
    for, `NotReadyError` when the node ended or restarts again and again.
    """
    waiting = replace(waiting, since=time.monotonic())
    began = time.time()
    if completed:
        _completed(node, waiting)
        return
    for probe in node.probes:
        _probe(node, probe, waiting, fresh=fresh)
    if node.health:
        _healthy(node, waiting, patience=node.patience if fresh else min(node.patience, RECHECK))
    if node.then is not None:
        node.then(began if fresh else 0.0)


def answers(address: IPv4Address, probe: Probe, timeout: float, *, greeting: bool) -> bool:
    """Whether the probe's port takes a connection, and with `greeting` says what it has to, in `timeout` seconds."""
    assert probe.port is not None
    try:
        with socket.socket() as connection:
            connection.settimeout(timeout)
            connection.connect((str(address), probe.port))
            if not (greeting and probe.banner):
                return True
            said = connection.recv(len(probe.banner))
            if said.startswith(probe.banner) and probe.farewell:
                # What is left unread would make of the end a reset, which is noted as an error.
                while not said.endswith(b"\n"):
                    said += connection.recv(1) or b"\n"
                connection.sendall(probe.farewell)
            return said.startswith(probe.banner)
    except OSError:
        return False


def _probe(node: Subject, probe: Probe, waiting: Waiting, *, fresh: bool) -> None:
    address = node.address
    if probe.port is not None and address is not None:

        def answered(left: float) -> bool:
            return answers(address, probe, min(left, 2.0), greeting=fresh)

        _until(node, probe.description, probe.hint, waiting, answered)
    if fresh and probe.script is not None:
        shell = waiting.shell(node)
        script = ("/bin/sh", "-c", _PATIENT.format(script=probe.script))

        def holds(left: float) -> bool:
            return shell.run(script, timeout=min(max(left, 1.0), 30.0)).code == 0

        _until(node, probe.description, probe.hint, waiting, holds)


def _until(node: Subject, what: str, hint: str, waiting: Waiting, holds: Callable[[float], bool]) -> None:
    began = looked = time.monotonic()
    while True:
        left = waiting.end - time.monotonic()
        if left > 0 and holds(left):
            return
        if time.monotonic() - looked > 1.0:
            looked = time.monotonic()
            _still_there(node, waiting)
        pause = (time.monotonic() - began) / 10
        _pause(node, what, hint, waiting, min(max(pause, FIRST_PAUSE), LONGEST_PAUSE))


def _pause(node: Subject, what: str, hint: str | None, waiting: Waiting, seconds: float) -> None:
    if waiting.stop.wait(seconds):
        raise NotReadyError(f"interrupted while waiting for {what} of {node.name}")
    if time.monotonic() >= waiting.end:
        raise DeadlineError(
            f"{node.name}: no {what} in time", details=waiting.logs(node), hint=hint, code="LAB-WAIT-002"
        )


def _still_there(node: Subject, waiting: Waiting) -> ObservedNode:
    known = waiting.node(node.name)
    if known is None:
        raise NotReadyError(
            f"{node.name} is gone", hint="somebody removed it; run `labctl up` again", code="LAB-NODE-007"
        )
    if known.state in ("exited", "dead"):
        raise NotReadyError(
            f"{node.name} ended with exit code {known.exit_code}",
            details=waiting.logs(node),
            hint=f"see `labctl logs {node.name}`",
        )
    return known


def _healthy(node: Subject, waiting: Waiting, *, patience: float) -> None:
    """Running, and healthy when it has a healthcheck (its image may bring one).

    A node that the engine calls unhealthy has used up its retries: it is not waited for, once `patience` is over.
    """
    restarts = 0
    while True:
        known = waiting.node(node.name)
        if known is not None and known.state == "exited" and known.exit_code == 0 and node.may_end:
            return
        known = _still_there(node, waiting)
        if known.state == "running" and known.health in (None, "healthy"):
            return
        if known.health == "unhealthy" and time.monotonic() - waiting.since >= patience:
            raise DeadlineError(
                f"{node.name} is unhealthy: its healthcheck fails",
                details=waiting.logs(node),
                hint=f"mend what it asks for, or give it more retries; see `labctl logs {node.name}`",
                code="LAB-NODE-003",
            )
        restarts += known.state == "restarting"
        if restarts > 8:
            raise NotReadyError(
                f"{node.name} ends and is started again and again (exit code {known.exit_code})",
                details=waiting.logs(node),
                hint="if it is to run only once, let another node wait for it with `condition: completed`",
                code="LAB-NODE-004",
            )
        _pause(node, "good word of the healthcheck", f"see `labctl logs {node.name}`", waiting, waiting.watch.interval)


def _completed(node: Subject, waiting: Waiting) -> None:
    while True:
        known = waiting.node(node.name)
        if known is not None and known.state == "exited" and known.exit_code == 0:
            return
        _still_there(node, waiting)
        _pause(node, "end", f"see `labctl logs {node.name}`", waiting, waiting.watch.interval)


def all_ready(nodes: Sequence[Subject], waiting: Waiting) -> dict[str, Exception]:
    """Wait for nodes that were running before; returns the error of each that is not ready, by name."""
    errors: dict[str, Exception] = {}

    def one(node: Subject) -> None:
        try:
            ready(node, waiting, fresh=False)
        except Exception as error:  # noqa: BLE001 - collected for all nodes
            errors[node.name] = error

    threads = [threading.Thread(target=one, args=(node,), daemon=True) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors
