"""What a job leaves for people: logs of every node, pictures of every desktop, events, plan and status, in a directory.

Everything that is written passes the `Mask`: values that the lab file or labctl holds secret are not in it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labctl.documents.events import event_data
from labctl.errors import LabctlError, UsageError
from labctl.events import Event, PlanReady

if TYPE_CHECKING:
    from labctl.api import RunningLab
    from labctl.documents.verdicts import PipelineDocument
    from labctl.model.lab import Lab
    from labctl.plan.model import ObservedNode

RUN_LOG = "/var/log/lab/run.log"
LINES = 20_000
"""The last lines of a node's log that are kept."""
TAIL = 60
"""Those of them that the page shows."""
SHORTEST = 5
"""Characters that a value has at least to be masked: shorter ones are words of every log."""


class Mask:
    """Replaces secret values in texts."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._secrets: list[str] = []
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Know these values too, each line of a longer one by itself."""
        lines = {line.strip() for value in secrets for line in value.splitlines()}
        with self._lock:
            known = {*self._secrets, *(line for line in lines if len(line) >= SHORTEST)}
            self._secrets = sorted(known, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "********")
        return text


def secrets_of(lab: Lab) -> list[str]:
    """The values that a lab file gives and that no page may show."""
    values = [value for node in lab.nodes.values() for value in node.environment.values()]
    values += [value for n in lab.nodes.values() for each in n.services for value in each.environment.values()]
    values += [user.password for node in lab.nodes.values() for user in node.users if user.password]
    return values + [volume.chap_password for volume in lab.volumes.values() if volume.chap_password]


@dataclass
class Evidence:
    """What was kept, by node: the end of its log, the file of its picture; and what could not be had, with why."""

    logs: dict[str, list[str]] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


class Report:
    """The directory of a job's report. Writing that fails is noted in `missing` and never ends the job."""

    def __init__(self, directory: Path | None, mask: Mask, *, clock: Callable[[], float] = time.time) -> None:
        self.directory, self.mask, self.clock = directory, mask, clock
        self.evidence = Evidence()
        self.events: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        if directory is not None:
            try:
                directory.mkdir(parents=True, exist_ok=True)
                (directory / "events.ndjson").write_text("")
            except OSError as error:
                raise UsageError(
                    f"the report cannot be written to {directory}: {error.strerror}",
                    hint="name another directory",
                    code="LAB-USE-003",
                ) from error

    def emit(self, event: Event) -> None:
        """Keep an event, and the plan when it is one."""
        data = event_data(event, clock=self.clock)
        line = self.mask(json.dumps(data, ensure_ascii=False))
        with self._lock:
            self.events.append(data)
            if self.directory is not None:
                with suppress(OSError), (self.directory / "events.ndjson").open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
        if isinstance(event, PlanReady) and event.steps and not any(step[1] == "remove" for step in event.steps[:1]):
            width = max(len(step[0]) for step in event.steps)
            self.write("plan.txt", "".join(f"{step[0]:<{width}}  {step[3]}\n" for step in event.steps))

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file of the report, directories above it included."""
        if self.directory is None:
            return
        path = self.directory / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.write_text(self.mask(content), encoding="utf-8", errors="replace")
        except OSError as error:
            self.evidence.missing.append(f"{name}: {error.strerror}")

    def document(self, name: str, document: object) -> None:
        """Write a document as JSON."""
        self.write(name, json.dumps(asdict(document), indent=2, ensure_ascii=False) + "\n")  # type: ignore[call-overload]

    def masked(self, document: PipelineDocument) -> PipelineDocument:
        """`document` without secret values."""
        mask = self.mask
        return replace(
            document,
            because=mask(document.because),
            phases=[
                replace(
                    phase,
                    error=None if phase.error is None else mask(phase.error),
                    details=[mask(line) for line in phase.details],
                    hint=None if phase.hint is None else mask(phase.hint),
                )
                for phase in document.phases
            ],
            checks=[
                replace(check, subject=mask(check.subject), output=mask(check.output)) for check in document.checks
            ],
        )

    # ------------------------------------------------------------ what the lab has

    def collect(self, lab: RunningLab, wanted: Lab | None, *, seconds: float) -> None:
        """Keep the logs, run output, pictures and status of the lab, as far as they can be had in that time."""
        from labctl.documents.make import status_document

        self.mask.add(_known_secrets(lab))
        self.document("status.json", status_document(lab.observed, wanted, unfinished=lab.unfinished))
        jobs: dict[str, Callable[[], None]] = {}
        for node in lab.nodes():
            jobs[f"log of {node.name}"] = lambda node=node: self._log(lab, node)  # type: ignore[misc]
            if node.kind == "box":
                jobs[f"run output of {node.name}"] = lambda node=node: self._run_output(lab, node)  # type: ignore[misc]
            if node.desktop is not None and node.state == "running":
                jobs[f"picture of {node.name}"] = lambda node=node: self._picture(lab, node)  # type: ignore[misc]
        pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="evidence")
        futures = {pool.submit(job): what for what, job in jobs.items()}
        done, late = wait(futures, timeout=seconds)
        pool.shutdown(wait=False, cancel_futures=True)
        for future in done:
            if error := future.exception():
                self.evidence.missing.append(f"{futures[future]}: {error}")
        self.evidence.missing += [f"{futures[future]}: not there within {seconds:g} s" for future in late]

    def _log(self, lab: RunningLab, node: ObservedNode) -> None:
        lines = [line.data for line in islice(lab.provider.access(node).logs(tail=LINES), LINES)]
        text = b"".join(lines).decode(errors="replace")
        self.write(f"logs/{node.name}.log", text)
        self.evidence.logs[node.name] = self.mask(text).splitlines()[-TAIL:]

    def _run_output(self, lab: RunningLab, node: ObservedNode) -> None:
        import tarfile

        access = lab.provider.access(node)
        if access.look(RUN_LOG) is None:
            return
        with access.pack(RUN_LOG) as stream, tarfile.open(mode="r|", fileobj=stream) as tar:
            member = tar.next()
            file = tar.extractfile(member) if member is not None and member.isreg() else None
            if file is not None:
                self.write(f"logs/{node.name}.run.log", file.read().decode(errors="replace"))

    def _picture(self, lab: RunningLab, node: ObservedNode) -> None:
        from labctl import screen
        from labctl.world import look_at

        data = screen.png(*look_at(lab, node, timeout=5.0))
        self.write(f"screens/{node.name}.png", data)
        self.evidence.pictures[node.name] = data


def _known_secrets(lab: RunningLab) -> list[str]:
    """What labctl made for the lab and keeps in its directory."""
    if not lab.directory.has_key:
        return []
    screens = [node.name for node in lab.nodes() if node.desktop]
    known = set(screens) - lab.directory.without_secrets(screens)
    found = [lab.directory.key.read_text()]
    with suppress(LabctlError, OSError):
        for each in lab.directory.secrets(*sorted(known)).values():
            found += [each.vnc_password, each.vnc_view_password, each.token, each.view_token]
        found += [lab.directory.page_token(), lab.directory.page_view_token()]
    return found
