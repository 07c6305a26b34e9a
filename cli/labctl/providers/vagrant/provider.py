"""The provider: what `providers.base` asks for, each by the module that knows it.

libvirt's own objects carry what a lab is known by, as an engine's labels do; the lab's directory has the Vagrantfile.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.errors import LabctlError
from labctl.plan.model import (
    MANAGEMENT,
    Desired,
    DesiredNetwork,
    DesiredNode,
    DesiredVolume,
    MachineBox,
    Observed,
    ObservedLab,
    ObservedNetwork,
    ObservedNode,
    ObservedVolume,
    Target,
    Wanted,
)
from labctl.providers.base import Line
from labctl.providers.vagrant import (
    acceleration,
    boxes,
    clock,
    health,
    journal,
    leases,
    libvirt,
    machines,
    needs,
    networks,
    observe,
    reach,
    telling,
    volumes,
)
from labctl.providers.vagrant.place import Place
from labctl.providers.vagrant.starting import Starting, answers
from labctl.providers.vagrant.together import Together
from labctl.providers.vagrant.vagrantfile import Settings
from labctl.recipe import Entry, Trust

if TYPE_CHECKING:
    from labctl.providers.ssh import Connection
    from labctl.providers.vagrant.access import MachineAccess
    from labctl.providers.vagrant.client import Vagrant as Client
    from labctl.providers.vagrant.shell import MachineShell
    from labctl.providers.vagrant.snapshots import MachineSnapshots

UP_TIMEOUT = 300.0
"""Seconds that Vagrant may take for the machines of a lab to come up; half of it again for each further one."""

DESTROY_TIMEOUT = 120.0


class Vagrant:
    """Machines of this host's libvirt. All methods may be called from many threads.

    `places` gives the directory of a lab's machines and the key that opens them; `cache` is where boxes are.
    """

    name = "vagrant"

    def __init__(
        self,
        *,
        places: Callable[[str], tuple[Path, Path]],
        cache: Path,
        trust: Trust | None = None,
        environ: Mapping[str, str] = os.environ,
        home: Path | None = None,
    ) -> None:
        self._places_of, self._cache, self._trust = places, cache, trust or Trust()
        self._environ = environ
        self._vagrant_home = boxes.vagrant_home(environ, home or Path.home())
        self._lock = threading.RLock()
        self._places: dict[str, Place] = {}
        self._ups: dict[str, Together] = {}
        self._starting: dict[str, DesiredNode | ObservedNode] = {}
        self._downs: dict[str, Together] = {}
        self._connections: dict[str, Connection] = {}
        self._seeds: dict[str, tuple[Entry, ...]] = {}

    def place(self, lab: str) -> Place:
        """The files of a lab's machines."""
        with self._lock:
            if lab not in self._places:
                self._places[lab] = Place(*self._places_of(lab))
            return self._places[lab]

    def client(self, directory: Path) -> Client:
        """Vagrant in that directory."""
        from labctl.providers.vagrant.client import Vagrant as Client

        return Client(directory, environ={**self._environ, "VAGRANT_HOME": str(self._vagrant_home)})

    # ------------------------------------------------------------ looking

    def check(self) -> None:
        """Raise `HostError`, naming what is missing, when this host cannot run machines."""
        needs.check()

    def prepare(self) -> None:
        """See `Provider.prepare`."""
        from labctl.providers import ssh  # noqa: F401 - loaded here, used later
        from labctl.providers.vagrant import client  # noqa: F401

    def observe(self, lab: str, *, images: Collection[str] = ()) -> Observed:
        """See `Provider.observe`."""
        here = [tag for tag in images if machines.is_here(tag, self._vagrant_home)]
        place = self.place(lab)
        found = observe.lab(lab, place.kept(), here, disks=place.disks.is_dir() or not place.exists)
        return replace(found, nodes=health.told(found.nodes, self.shell))

    def labs(self, *, sizes: bool = False) -> tuple[ObservedLab, ...]:
        """All labs that have machines here, by name."""
        return observe.labs()

    # ------------------------------------------------------------ making

    def create(
        self,
        target: Wanted,
        desired: Desired,
        *,
        seed: Collection[Entry] = (),
        identity: Mapping[str, str] | None = None,
        on_line: Line | None = None,
    ) -> None:
        """See `Provider.create`. A machine is made when it is started: until then it is a part of the Vagrantfile."""
        if isinstance(target, MachineBox):
            self._box(target, on_line)
        elif isinstance(target, DesiredNetwork):
            self.place(desired.lab).begin()  # by it the lab is found again, also when this run is killed
            networks.create(target, desired)
        elif isinstance(target, DesiredNode):
            made = machines.machine(target, desired, identity or {}, self._cache)
            self.place(desired.lab).keep(made, self._settings(target, desired))
            with self._lock:
                self._seeds[target.engine_name] = telling.whole(target, desired, seed)
        elif isinstance(target, DesiredVolume):
            self.place(desired.lab).disks.mkdir(mode=0o700, parents=True, exist_ok=True)
            volumes.create(target, desired)
        else:
            raise TypeError(target)

    def _box(self, box: MachineBox, on_line: Line | None) -> None:
        file = boxes.build(box, self._cache, self._trust.proxies, on_line)
        if not machines.is_here(box, self._vagrant_home):
            if on_line is not None:
                on_line("giving the box to Vagrant")
            self.client(self._cache).add(box.tag, file, timeout=300.0)

    def _settings(self, node: DesiredNode, desired: Desired) -> Settings:
        reach.require(self._vagrant_home)
        box = machines.directory_of(node.image, self._vagrant_home)
        emulated = box is None or acceleration.is_emulated(self._cache, box / "vmlinuz", box / "initrd")
        management = desired.networks[MANAGEMENT]
        return Settings(
            lab=desired.lab,
            prefix=f"labctl-{desired.lab}-",
            management=management.engine_name,
            management_subnet=str(management.subnet),
            key_file=str(self.place(desired.lab).key),
            emulated=emulated,
            emulator=str(acceleration.bounded(self._cache)) if emulated and not reach.barrier(self._cache) else "",
        )

    # ------------------------------------------------------------ living

    def start(self, node: DesiredNode | ObservedNode) -> None:
        """See `Provider.start`. Returns when the machine lets us in and has all that it has to know."""
        lab, domain = node.lab, _domain(node)
        place = self.place(lab)
        known = machines.state(domain)
        failed: LabctlError | None = None
        if known is None:
            with self._lock:
                self._starting[domain] = node
                up = self._ups.setdefault(lab, Together(lambda names: self._up(lab, names)))
            try:
                up(node.name)
            except LabctlError as error:
                failed = error
                if machines.state(domain) != "running":
                    raise
        elif known == "paused":
            libvirt.virsh("resume", domain)
            machines.wait(node.name, domain, place.console(node.name), lambda: answers(node), None)
            clock.set_to_the_hosts(self.shell(node))
        elif known != "running":
            self._forget_connection(domain)
            networks.wake(lab)
            libvirt.virsh("start", domain)
        try:
            machines.wait(node.name, domain, place.console(node.name), lambda: answers(node), None)
        except LabctlError as error:
            raise error from failed
        self._tell(node)

    def _up(self, lab: str, names: Sequence[str]) -> None:
        timeout = UP_TIMEOUT * (1 + (len(names) - 1) / 2)
        prefix, place = f"labctl-{lab}-", self.place(lab)
        with self._lock:
            nodes = {name: self._starting[f"{prefix}{name}"] for name in names}
        self.client(place.path).up_all(names, timeout=timeout, enough=Starting(prefix, nodes, place).all_answer)

    def _tell(self, node: DesiredNode | ObservedNode) -> None:
        """Give a new machine what it was made for, once; its services begin with that."""
        domain = _domain(node)
        with self._lock:
            seed = self._seeds.pop(domain, None)
        if seed is None:
            return
        shell = self.shell(node)
        shell.put(seed)
        done = shell.run(("/usr/lib/lab/boot",), timeout=60.0)
        if done.code != 0:
            raise LabctlError(
                f"{node.name} could not be told what it is",
                details=done.stderr.decode(errors="replace").splitlines()[-5:],
                code="LAB-VM-005",
            )
        found = next((each for each in libvirt.domains(domain) if each.name == domain), None)
        if found is not None:
            self.place(node.lab).told(node.name, found.uuid)

    def pause(self, node: ObservedNode) -> None:
        """See `Provider.pause`. Its clock stands still meanwhile, and is set when it goes on."""
        if machines.state(_domain(node)) != "paused":
            libvirt.virsh("suspend", _domain(node))

    def adjust(self, node: DesiredNode) -> None:
        """See `Provider.adjust`: processors and memory of a machine change when it is made anew; its labels do here."""
        machines.label(node)

    def stop(self, node: ObservedNode, *, timeout: float) -> None:
        """See `Provider.stop`."""
        if machines.state(_domain(node)) == "paused":
            libvirt.virsh("resume", _domain(node))
        shell = self.shell(node)
        machines.shut_down(
            _domain(node),
            lambda: _ignore(shell.run(("systemctl", "poweroff"), timeout=10.0)),
            timeout=max(timeout, 20.0),
        )
        self._forget_connection(_domain(node))

    def remove(self, target: Target) -> None:
        """See `Provider.remove`."""
        if isinstance(target, DesiredNetwork | ObservedNetwork):
            networks.remove(target)
        elif isinstance(target, DesiredNode | ObservedNode):
            self._remove(target)
        elif isinstance(target, MachineBox):
            self.client(self._cache).forget(target.tag, timeout=60.0)
        elif isinstance(target, DesiredVolume | ObservedVolume):
            volumes.remove(target, self.place(volumes.lab_of(target)).disks)
        else:
            raise TypeError(target)

    def _remove(self, node: DesiredNode | ObservedNode) -> None:
        lab, domain = node.lab, _domain(node)
        self._forget_connection(domain)
        place = self.place(lab)
        if (place.path / ".vagrant" / "machines" / node.name / "libvirt" / "id").is_file():
            # Switched off first: Vagrant would wait for what does not answer.
            machines.switch_off(domain)
            with self._lock:
                destroy = self._downs.setdefault(
                    lab,
                    Together(lambda names: self.client(place.path).destroy_all(names, timeout=DESTROY_TIMEOUT)),
                )
            with suppress(LabctlError):  # what is left goes without Vagrant
                destroy(node.name)
        if machines.state(domain) is not None:
            machines.undefine(domain)
        place.forget(node.name)

    # ------------------------------------------------------------ being in it

    def connection(self, node: DesiredNode | ObservedNode) -> Connection:
        """The way to the machine over ssh."""
        from labctl.providers.ssh import Connection

        domain = _domain(node)
        with self._lock:
            if domain not in self._connections:
                place = self.place(node.lab)
                address = next(iter(node.addresses.values()), None)
                if address is None:
                    raise LabctlError(
                        f"{node.name} is on no network", hint="give it one with `networks:`", code="LAB-NODE-008"
                    )
                self._connections[domain] = Connection(
                    node.name, str(address), place.key, lambda: _host_key(self.head(node))
                )
            return self._connections[domain]

    def _forget_connection(self, domain: str) -> None:
        with self._lock:
            known = self._connections.pop(domain, None)
        if known is not None:
            known.close()

    def shell(self, node: DesiredNode | ObservedNode) -> MachineShell:
        """See `Provider.shell`."""
        from labctl.providers.vagrant.shell import MachineShell

        return MachineShell(self.connection(node))

    def access(self, node: DesiredNode | ObservedNode) -> MachineAccess:
        """See `Provider.access`."""
        from labctl.providers.vagrant.access import MachineAccess

        return MachineAccess(self.connection(node), self.place(node.lab).console(node.name))

    @property
    def snapshots(self) -> MachineSnapshots:
        """See `Provider.snapshots`."""
        from labctl.providers.vagrant.snapshots import MachineSnapshots

        return MachineSnapshots(self._forget_connection)

    def read(self, node: DesiredNode | ObservedNode, path: str) -> bytes | None:
        """See `Provider.read`; nothing of a machine that does not run."""
        if machines.state(_domain(node)) != "running":
            return None
        done = self.shell(node).run(("cat", "--", path), timeout=20.0)
        return done.stdout if done.code == 0 else None

    def head(self, node: DesiredNode | ObservedNode) -> Iterator[str]:
        """See `Provider.head`: what it said on its console, the latest start first."""
        yield from reversed(machines.tail(self.place(node.lab).console(node.name), 2000))

    def tail(self, node: DesiredNode | ObservedNode, *, lines: int) -> list[str]:
        """See `Provider.tail`: of its journal, and where that cannot be had of its console."""
        if isinstance(node, DesiredNode) or node.state == "running":
            with suppress(LabctlError):
                said = self.shell(node).run(journal.words(tail=lines), timeout=20.0)
                if said.code == 0 and said.stdout:
                    found = map(journal.line, said.stdout.splitlines())
                    return [each.data.decode(errors="replace").rstrip() for each in found]
        return machines.tail(self.place(node.lab).console(node.name), lines)

    def verdict(self, node: DesiredNode | ObservedNode) -> list[str]:
        """See `Provider.verdict`."""
        known = node if isinstance(node, ObservedNode) else self.observe(node.lab).nodes.get(node.name)
        if known is None or known.health is None or known.state != "running":
            return []
        return health.verdict(health.said(known, self.shell))

    # ------------------------------------------------------------ the host

    def free(self) -> int | None:
        """See `Provider.free`."""
        return None

    def clear_leftovers(self) -> Sequence[str]:
        """See `Provider.clear_leftovers`."""
        return ()

    def give_lease(self, lab: str, *, expires: float, directory: str, owner: str) -> None:
        """See `Provider.give_lease`."""
        leases.give(lab, expires=expires, directory=directory, owner=owner)

    def end_lease(self, lab: str) -> None:
        """See `Provider.end_lease`."""
        leases.take_back(lab)


def _domain(node: DesiredNode | ObservedNode) -> str:
    return f"labctl-{node.lab}-{node.name}"


def _host_key(lines: Iterator[str]) -> str | None:
    from labctl.features import host_key

    return next(filter(None, map(host_key, lines)), None)


def _ignore(_: object) -> None:
    return None
