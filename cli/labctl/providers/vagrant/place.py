"""The files of a lab's machines: the Vagrantfile, what it is written from, what each machine said on its console."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from labctl.providers.vagrant.vagrantfile import Disk, Interface, Machine, Settings, render


@dataclass(frozen=True, slots=True)
class Kept:
    """A machine as it was made. `told` is the libvirt id of the machine that was told all that it has to know."""

    machine: Machine
    told: str = ""


class Place:
    """One lab's directory of machines; nothing is made until it is needed. Many threads may use it."""

    def __init__(self, path: Path, key: Path) -> None:
        self.path, self.key = path, key
        self._file = path / "machines.json"
        self._lock = threading.RLock()

    @property
    def exists(self) -> bool:
        return self.path.is_dir()

    @property
    def disks(self) -> Path:
        """Is there while machines of the lab have disks of their own, which outlive them and this directory."""
        return self.path.parents[2] / "disks" / self.path.parent.name

    def begin(self) -> None:
        """Make the directory."""
        self.path.mkdir(mode=0o711, parents=True, exist_ok=True)

    def console(self, name: str) -> Path:
        """Where libvirt writes what the machine says on its serial line."""
        return self.path / f"{name}.console"

    def kept(self) -> dict[str, Kept]:
        """The machines that were made here, by name; none where the file cannot be read."""
        try:
            known: dict[str, Any] = json.loads(self._file.read_text())
            return {name: _kept(each) for name, each in known.items()}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def keep(self, machine: Machine, settings: Settings) -> None:
        """Add or replace a machine, and write the Vagrantfile anew."""
        with self._changing(settings) as known:
            known[machine.name] = Kept(machine)
            self.console(machine.name).touch(mode=0o644)  # else it is root's, who writes it, alone

    def told(self, name: str, uuid: str) -> None:
        """Note that the machine has all that it has to know."""
        with self._changing(None) as known:
            if name in known:
                known[name] = replace(known[name], told=uuid)

    def forget(self, name: str) -> None:
        """Remove what is known of a machine."""
        with self._lock:
            if not self.exists:
                return
            with self._changing(None) as known:
                known.pop(name, None)
            self.console(name).unlink(missing_ok=True)
            shutil.rmtree(self.path / ".vagrant" / "machines" / name, ignore_errors=True)

    @contextmanager
    def _changing(self, settings: Settings | None) -> Iterator[dict[str, Kept]]:
        with self._lock:
            self.begin()
            known = self.kept()
            yield known
            _write(self._file, json.dumps({name: asdict(each) for name, each in known.items()}))
            if settings is not None:
                machines = [known[name].machine for name in sorted(known)]
                _write(self.path / "Vagrantfile", render(settings, machines))


def _kept(known: dict[str, Any]) -> Kept:
    machine = dict(known["machine"])
    machine["interfaces"] = tuple(Interface(**each) for each in machine["interfaces"])
    machine["dns"] = tuple(machine["dns"])
    machine["disks"] = tuple(Disk(**each) for each in machine.get("disks", ()))
    return Kept(Machine(**machine), str(known["told"]))


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)
