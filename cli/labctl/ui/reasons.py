"""The pages of `labctl why`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TextIO

from labctl.documents.verdicts import WhyDocument
from labctl.ui.colour import Ink
from labctl.ui.words import clean


def print_reasons(
    document: WhyDocument, *, stream: TextIO | None = None, environ: Mapping[str, str] = os.environ
) -> None:
    """One block for each node: its conditions with what the probes say, what to try, and its last lines."""
    out = stream or sys.stdout
    ink = Ink(out, environ)
    for place, node in enumerate(document.nodes):
        out.write("\n" * (place > 0) + f"{ink(node.node, 'bold')}: {clean(node.state)}\n")
        for each in node.conditions:
            mark = ink("ok", "green") if each.holds else ink("no", "bold red")
            first, *rest = [clean(line) for line in each.said.splitlines()] or [""]
            out.write(f"  {mark}  {each.what}: {first}\n")
            out.writelines(f"        {line}\n" for line in rest[-12:])
            if each.hint:
                out.write(f"      {ink('try:', 'bold')} {each.hint}\n")
        if node.log:
            out.write("  it printed last:\n")
            out.writelines(f"    {clean(line)}\n" for line in node.log)
    out.flush()
