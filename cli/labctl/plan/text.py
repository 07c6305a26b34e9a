"""The plan as text: one line per step, every step with its cause. This text is what the tests compare."""

from __future__ import annotations

from labctl.plan.model import Plan


def render(plan: Plan) -> str:
    """One line per step (``+ create node/web  not there``), without a final newline; destroying steps are marked."""
    if not plan.steps:
        return "nothing to do"
    width = max(len(step.id) for step in plan.steps)
    lines = []
    for step in plan.steps:
        mark = "!" if step.destroys else "-" if step.verb in ("remove", "stop") else "+"
        lines.append(f"{mark} {step.id:<{width}}  {step.because}")
    return "\n".join(lines)
