"""One run of `up` as events, with times that do not depend on the clock."""

from __future__ import annotations

from labctl.events import Event, Finished, Notice, PlanReady, StepEnded, StepOutput, StepStarted

BEGAN = 1_795_183_200.0
STEPS = (
    ("build image/labctl/debian-13:0a1b", "build", "image/labctl/debian-13:0a1b", "not there"),
    ("create network/lan", "create", "network/lan", "not there"),
    ("start node/web-1", "start", "node/web-1", "not there"),
    ("start node/web-2", "start", "node/web-2", "not there"),
    ("verify node/web-1", "verify", "node/web-1", "just started"),
    ("verify node/web-2", "verify", "node/web-2", "just started"),
)


def started(verb: str, ref: str, at: float) -> StepStarted:
    return StepStarted(f"{verb} {ref}", verb, ref, BEGAN + at)


def done(verb: str, ref: str, at: float, seconds: float) -> StepEnded:
    return StepEnded(f"{verb} {ref}", verb, ref, "done", seconds, BEGAN + at)


def run() -> list[Event]:
    """A node fails, what waits for it is skipped, the rest comes up; a step prints what a terminal would obey."""
    image = "image/labctl/debian-13:0a1b"
    return [
        PlanReady("shop", STEPS),
        Notice("`ide` is left out"),
        Notice("the disk is nearly full", "warning"),
        started("build", image, 0),
        started("create", "network/lan", 0),
        done("create", "network/lan", 0.1, 0.1),
        StepOutput(f"build {image}", image, "10%\r50%\rSetting up \x1b[31micewm\x1b[2J\x07 (3.3)", BEGAN + 1),
        done("build", image, 70, 70.4),
        started("start", "node/web-1", 70),
        started("start", "node/web-2", 70),
        StepEnded(
            "start node/web-2",
            "start",
            "node/web-2",
            "failed",
            0.3,
            BEGAN + 70.3,
            error="port 127.0.0.1:80 is taken",
            details=("bind: address already in use",),
            hint="stop what listens there",
        ),
        StepEnded(
            "verify node/web-2",
            "verify",
            "node/web-2",
            "skipped",
            0.0,
            BEGAN + 70.3,
            error="start node/web-2 did not succeed",
        ),
        done("start", "node/web-1", 70.5, 0.5),
        started("verify", "node/web-1", 70.5),
        done("verify", "node/web-1", 72, 1.5),
        Finished("shop", 72.0, 7, {"done": 4, "failed": 1, "skipped": 1}),
    ]
