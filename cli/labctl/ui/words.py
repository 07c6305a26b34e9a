"""The words that all displays share: steps as phrases, durations, and text that is safe to show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from labctl.events import Finished

_DOING: Mapping[str, str] = MappingProxyType(
    {
        "build": "building",
        "create": "creating",
        "start": "starting",
        "configure": "configuring",
        "verify": "waiting for",
        "stop": "stopping",
        "remove": "removing",
        "suspend": "suspending",
        "resume": "resuming",
        "save": "saving",
        "restore": "restoring",
    }
)
_DONE: Mapping[str, str] = MappingProxyType(
    {
        "build": "built",
        "create": "created",
        "start": "started",
        "configure": "configured",
        "verify": "ready",
        "stop": "stopped",
        "remove": "removed",
        "suspend": "suspended",
        "resume": "resumed",
        "save": "saved",
        "restore": "restored",
    }
)
_UNSAFE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    # What turns the direction of writing around, and line ends that a terminal may not take for such.
    r"|[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)


def thing(ref: str) -> str:
    """What a step is about, to be read: ``node/web-1`` is ``node web-1``."""
    return ref.replace("/", " ", 1)


def doing(verb: str) -> str:
    """The verb while it goes on: ``starting``."""
    return _DOING.get(verb, verb)


def done(verb: str) -> str:
    """The verb when it is over: ``started``."""
    return _DONE.get(verb, verb)


def duration(seconds: float) -> str:
    """A duration in few characters: ``0.4s``, ``12s``, ``3m05s``, ``2h10m``."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def clean(line: str) -> str:
    """A line of somebody else's output without escape sequences and control characters.

    Of what a carriage return overwrote, the last is kept.
    """
    shown = line.rstrip("\r\n").rsplit("\r", 1)[-1]
    return _UNSAFE.sub("", shown).replace("\t", "    ").rstrip()


def clean_text(text: str) -> str:
    """`clean` for each line of a text; here a carriage return overwrites nothing."""
    return "\n".join(clean(line) for line in text.replace("\r\n", "\n").replace("\r", " ").split("\n"))


def summary(event: Finished) -> str:
    """How it went, in one sentence: ``shop: 10 steps done, 1 failed in 8.4s``."""
    counts = [
        f"{event.counts[outcome]} {outcome}" for outcome in ("done", "failed", "skipped") if event.counts.get(outcome)
    ]
    if not counts:
        return f"{event.lab}: nothing to do, {duration(event.seconds)}"
    counts[0] = counts[0].replace(" ", " step " if counts[0].startswith("1 ") else " steps ")
    return f"{event.lab}: {', '.join(counts)} in {duration(event.seconds)}"
