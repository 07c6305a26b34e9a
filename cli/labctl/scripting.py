"""Labs from Python: ``with Lab("lab.yaml") as lab: lab["web-1"].run("uname -r")``.

A lab comes up when the ``with`` begins and is gone when it ends, whatever happens in between. All errors are
`labctl.errors.LabctlError`; all times are in seconds.
"""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from labctl.errors import DeadlineError, LabctlError, UsageError

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from labctl.api import RunningLab
    from labctl.documents.model import StatusDocument
    from labctl.documents.verdicts import ChecksDocument
    from labctl.events import Event
    from labctl.plan.model import ObservedNode
    from labctl.source.load import Loaded

AUTO = "auto"
"""The name that stands for one that no other run has, with subnets and host ports of its own."""

PAUSE = 0.1
"""Seconds between two looks at what is waited for."""


class CommandFailedError(LabctlError):
    """A command in a node ended with another exit code than 0."""

    code = "LAB-RUN-005"

    def __init__(self, message: str, result: Completed) -> None:
        lines = [*result.stdout.splitlines()[-10:], *result.stderr.splitlines()[-10:]]
        super().__init__(message, details=lines)
        self.result = result


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended: its exit code, and what it printed as text (what is no UTF-8 is replaced)."""

    exit_code: int
    stdout: str
    stderr: str


class Lab:
    """A lab made from `file` (a path), from a mapping that says the same, or from the lab file found here.

    `name` is another name for this run; ``"auto"`` one of its own, so that any number of runs may be at once on a host
    (declared subnets and host ports are moved then). `timeout` is how long coming up may take; the lab ends by itself
    after `ttl`, should this process be killed. With `keep` it stays when the ``with`` ends.
    """

    def __init__(
        self,
        file: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        timeout: float = 600.0,
        ttl: float | None = 3600.0,
        keep: bool = False,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self._loaded = _named(_load(file), name)
        self._renamed = name is not None
        self.name = self._loaded.lab.name
        self._timeout, self._ttl, self._keep, self._emit = timeout, ttl, keep, on_event
        self._running: RunningLab | None = None

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._keep:
            self.down()

    def up(self) -> None:
        """Bring the lab up, or to what its file says now, and wait until all nodes are ready. Raises what failed."""
        from labctl import lifecycle

        files = [] if self._renamed else [file for file in self._loaded.files if file is not None]
        result = lifecycle.up(
            self._loaded.lab,
            files=files,
            emit=self._emit,
            confirm=_refuse,
            timeout=self._timeout,
            ttl=self._ttl if self._loaded.lab.ttl is None else None,
        )
        self._running = None
        if error := result.error():
            raise error

    def down(self, *, volumes: bool | None = None) -> None:
        """Take the lab down; with `volumes` its Retain volumes too, as is done when it has a name of its own."""
        from labctl import lifecycle

        self._running = None
        all_of_it = self._renamed if volumes is None else volumes
        outcome, _ = lifecycle.down(self.name, volumes=all_of_it, emit=self._emit, missing_ok=True)
        lifecycle.raise_for(outcome)

    # ------------------------------------------------------------ nodes

    def __getitem__(self, name: str) -> Node:
        """The node of that name. Raises `NotFoundError` with the nearest name."""
        return Node(self, self.running.node(name).name)

    def __iter__(self) -> Iterator[Node]:
        """All nodes."""
        return (Node(self, node.name) for node in self.running.nodes())

    def __len__(self) -> int:
        return len(self.running.nodes())

    def group(self, name: str) -> list[Node]:
        """The copies of a node with `count`, in order."""
        return [Node(self, node.name) for node in self.running.nodes([name])]

    @property
    def running(self) -> RunningLab:
        """The lab as it was when it was last looked at."""
        if self._running is None:
            self.refresh()
        assert self._running is not None
        return self._running

    def refresh(self) -> None:
        """Look again: a node was stopped or started past this object."""
        from labctl import api

        self._running = api.open_lab(self.name)

    def status(self) -> StatusDocument:
        """What ``labctl status -o json`` prints, as it is now."""
        from labctl.documents.make import status_document

        self.refresh()
        return status_document(self.running.observed, self._loaded.lab, unfinished=self.running.unfinished)

    def test(self, *names: str, timeout: float | None = None) -> ChecksDocument:
        """Try the checks of the file (all when none is named). Whether they hold is in the result."""
        from labctl import trial

        self.refresh()
        deadline = None if timeout is None else time.monotonic() + timeout
        results = trial.try_all(self.running, trial.chosen(self._loaded.lab, names), deadline=deadline)
        return trial.document(self.name, results)

    @property
    def ssh_config(self) -> Path:
        """The file for ``ssh -F``; `Host` is the bare name of a node."""
        return self.running.directory.ssh_config


class Node:
    """One node of a lab that is up."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab, self.name = lab, name

    def __repr__(self) -> str:
        return f"<Node {self.name} of lab {self.lab.name}>"

    @property
    def observed(self) -> ObservedNode:
        """What the engine said of it when the lab was last looked at."""
        return self.lab.running.node(self.name)

    @property
    def address(self) -> IPv4Address:
        """The address at which this host reaches it."""
        return self.lab.running.address(self.observed)

    def run(
        self,
        command: str | Sequence[str],
        *,
        user: str = "root",
        stdin: str | bytes = b"",
        timeout: float = 60.0,
        check: bool = True,
    ) -> Completed:
        """Run a command to its end: a string by ``sh -c``, a list as it is.

        With `check` another exit code than 0 raises `CommandFailedError`. Raises `DeadlineError` after `timeout`.
        """
        argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
        given = stdin.encode() if isinstance(stdin, str) else stdin
        shell = self.lab.running.shell(self.observed)
        done = shell.run(argv, user=user, stdin=given, timeout=timeout)
        result = Completed(done.code, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        if check and result.exit_code != 0:
            shown = command if isinstance(command, str) else " ".join(command)
            raise CommandFailedError(f"{self.name}: exit code {result.exit_code}: {shown}", result)
        return result

    def put(
        self, source: str | os.PathLike[str] | bytes, target: str, *, mode: int = 0o644, owner: str = "root"
    ) -> None:
        """Write a file of the node: `source` is a path of this host, or the content as bytes."""
        from labctl.recipe import Entry

        content = source if isinstance(source, bytes) else Path(source).read_bytes()
        self.lab.running.shell(self.observed).put([Entry(target, content, mode=mode)])
        if owner != "root":
            self.run(["chown", owner, target])

    def get(self, path: str, target: str | os.PathLike[str] | None = None) -> bytes:
        """The content of a file of the node, written to `target` on this host too. Raises `NotFoundError`."""
        content = self.lab.running.shell(self.observed).get(path)
        if target is not None:
            Path(target).write_bytes(content)
        return content

    def screenshot(self, target: str | os.PathLike[str] | None = None) -> bytes:
        """A picture of its desktop as PNG, written to `target` too."""
        from labctl import screen
        from labctl.world import look_at

        data = screen.png(*look_at(self.lab.running, self.observed))
        if target is not None:
            Path(target).write_bytes(data)
        return data

    def logs(self, *, lines: int = 100) -> list[str]:
        """The last lines that it printed."""
        return self.lab.running.provider.tail(self.observed, lines=lines)

    # ------------------------------------------------------------ waiting

    def wait_for_port(self, port: int, *, timeout: float = 30.0) -> None:
        """Wait until something takes TCP connections there. Raises `DeadlineError`."""

        def open_() -> bool:
            try:
                with socket.create_connection((str(self.address), port), timeout=1.0):
                    return True
            except OSError:
                return False

        self._wait(open_, f"port {port}", timeout)

    def wait_for_file(self, path: str, *, timeout: float = 30.0) -> None:
        """Wait until `path` is there, whatever it is. Raises `DeadlineError`."""
        self._wait(lambda: self._holds("test -e", path), path, timeout)

    def wait_for_service(self, name: str, *, timeout: float = 30.0) -> None:
        """Wait until a service of the lab file runs. Raises `DeadlineError`."""
        self._wait(lambda: self._holds(_SERVICE, name), f"service {name}", timeout)

    def _holds(self, script: str, argument: str) -> bool:
        script = f'{script} "$1"' if "$1" not in script else script
        return self.run(["sh", "-c", script, "sh", argument], check=False).exit_code == 0

    def _wait(self, holds: Callable[[], bool], what: str, timeout: float) -> None:
        end = time.monotonic() + timeout
        while not holds():
            if time.monotonic() >= end:
                raise DeadlineError(
                    f"{self.name}: no {what} within {timeout:g} s",
                    details=self.logs(lines=12),
                    hint=f"labctl why {self.name} -n {self.lab.name}",
                )
            time.sleep(PAUSE)

    @cached_property
    def host(self) -> Any:
        """The node for testinfra: ``lab["web"].host.package("nginx").is_installed``; needs ``labctl[pytest]``."""
        try:
            import testinfra
        except ImportError:
            raise UsageError("testinfra is not installed", hint="pip install 'labctl[pytest]'") from None
        return testinfra.get_host(f"ssh://{self.name}?sudo=True", ssh_config=str(self.lab.ssh_config))


_SERVICE = """
if [ -d "/run/lab/sv/$1" ]; then sv status "/run/lab/sv/$1" | grep -q '^run:'; else systemctl is-active -q "$1"; fi
"""


def _load(file: str | os.PathLike[str] | Mapping[str, Any] | None) -> Loaded:
    from labctl import api

    if not isinstance(file, Mapping):
        return api.load(None if file is None else [os.fspath(file)])
    from labctl.probe.user import invoking_user
    from labctl.source.load import load
    from labctl.source.yamlio import dump

    text = io.StringIO(dump({"name": "lab", **file}))
    return load(["-"], cwd=Path.cwd(), stdin=text, environ=os.environ, home=invoking_user().home)


def _named(loaded: Loaded, name: str | None) -> Loaded:
    from labctl import api
    from labctl.ci.unique import apart, renamed

    if name is None:
        return loaded
    if name == AUTO:
        return apart(loaded, api.provider().observe(loaded.lab.name))[0]
    return renamed(loaded, name)


def _refuse(plan: object) -> None:
    raise UsageError(
        "a node of this lab would have to be made anew, with the loss of what was changed in it",
        hint="take the lab down first (lab.down()), or give the run a lab of its own (name='auto')",
    )
