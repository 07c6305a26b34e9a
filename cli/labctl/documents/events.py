"""Events as plain data: one JSON object each, with `version`, `type` and `time`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from labctl.documents.model import stamp
from labctl.events import Event, Finished, Notice, PlanReady, StepEnded, StepOutput, StepStarted

TYPES: Mapping[type[Event], str] = MappingProxyType(
    {
        PlanReady: "plan",
        StepStarted: "step-started",
        StepOutput: "step-output",
        StepEnded: "step-ended",
        Notice: "notice",
        Finished: "finished",
    }
)


def event_data(event: Event, *, clock: Callable[[], float]) -> dict[str, Any]:
    """`event` as plain data; its steps, if it has any, as objects. One without a time of its own gets the clock's."""
    fields = asdict(event)
    at = fields.pop("time", None)
    if isinstance(event, PlanReady):
        words = ("id", "verb", "ref", "because")
        fields["steps"] = [dict(zip(words, step, strict=True)) for step in event.steps]
    return {"version": 1, "type": TYPES[type(event)], "time": stamp(clock() if at is None else at), **fields}
