"""A plan on the terminal: the text that `plan.text` gives, with colour where it helps."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import TextIO

from labctl.plan.model import Plan
from labctl.plan.text import render
from labctl.ui.colour import Ink

_STYLES: Mapping[str, str] = MappingProxyType({"+": "green", "-": "red", "!": "bold yellow"})


def print_plan(plan: Plan, *, stream: TextIO | None = None, environ: Mapping[str, str] = os.environ) -> None:
    """Print `plan` to `stream` (stdout when None); steps that destroy something are counted below it."""
    out = stream or sys.stdout
    ink = Ink(out, environ)
    for line in render(plan).splitlines():
        out.write(f"{ink(line, _STYLES.get(line[:1], ''))}\n")
    losing = [step.ref for step in plan.steps if step.destroys]
    if losing:
        out.write(f"{ink('!', 'bold yellow')} loses what was changed inside: {', '.join(losing)}\n")
