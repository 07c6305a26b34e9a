"""One answer about the host, and the way all questions are asked: at once, each with its own deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from labctl.probe.host import Host

Status = Literal["ok", "missing", "limited", "unknown"]
Argv = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the host has, or has not.

    `status`: ``ok``; ``missing``, without it such labs cannot run; ``limited``, labs run, but not everything or not as
    well; ``unknown``, it could not be found out. `evidence` is what was seen, `remedy` the one thing to do about it.
    `packages` (Debian's names) and then `fix` (argument vectors, for root) are what `doctor --fix` runs.
    """

    id: str
    title: str
    status: Status
    evidence: str
    remedy: str | None = None
    packages: tuple[str, ...] = ()
    fix: tuple[Argv, ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """A question: `ask` reads the host and answers with findings, and has `deadline` seconds for it.

    No answer counts as unknown; to an `essential` question, without whose answer no lab can be promised, as missing.
    """

    id: str
    title: str
    ask: Callable[[Host], Sequence[Finding]]
    deadline: float = 5.0
    essential: bool = False

    def unanswered(self, why: str) -> Finding:
        """The finding that stands in when there is no answer."""
        return Finding(self.id, self.title, "missing" if self.essential else "unknown", why)


def ask_all(probes: Sequence[Probe], host: Host) -> list[Finding]:
    """The findings of all probes, in their order. A probe that hangs is left behind in a daemon thread.

    A probe that fails in a way nobody foresaw is a finding too: one broken question must not hide the other answers.
    """
    answers: dict[int, Sequence[Finding]] = {}

    def ask(index: int, probe: Probe) -> None:
        try:
            answers[index] = probe.ask(host)
        except Exception as error:  # noqa: BLE001 - see the docstring
            answers[index] = [probe.unanswered(f"{type(error).__name__}: {error}")]

    threads = [
        threading.Thread(target=ask, args=(index, probe), daemon=True, name=f"probe-{probe.id}")
        for index, probe in enumerate(probes)
    ]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    findings: list[Finding] = []
    for index, (probe, thread) in enumerate(zip(probes, threads, strict=True)):
        thread.join(max(0.0, begin + probe.deadline - time.monotonic()))
        findings.extend(answers.get(index, [probe.unanswered(f"no answer within {probe.deadline:g} s")]))
    return findings
