"""The table of `labctl doctor`: one line for each finding, and its remedy below it."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping
from types import MappingProxyType
from typing import TextIO

from labctl.documents.model import HostDocument
from labctl.ui.colour import Ink, is_terminal

_STYLES: Mapping[str, str] = MappingProxyType(
    {"ok": "green", "missing": "bold red", "limited": "yellow", "unknown": "cyan"}
)
_NARROWEST = 60


def print_findings(
    document: HostDocument, *, stream: TextIO | None = None, environ: Mapping[str, str] = os.environ
) -> None:
    """Print the findings; words say what colours say, and on a terminal lines fit its width."""
    out = stream or sys.stdout
    ink = Ink(out, environ)
    first = max((len(finding.title) for finding in document.findings), default=0)
    indent = " " * (first + len("missing") + 4)
    width = max(_NARROWEST, shutil.get_terminal_size().columns) if is_terminal(out) else None
    for finding in document.findings:
        head = f"{finding.title:<{first}}  {ink(f'{finding.status:<7}', _STYLES[finding.status])}  "
        lines = _wrapped(finding.evidence, width=width, indent=indent)
        if finding.remedy and finding.status != "ok":
            lines += _wrapped(f"→ {finding.remedy}", width=width, indent=indent)
        out.write(head + f"\n{indent}".join(lines) + "\n")
    out.write("\n" + _sentence(document, ink) + "\n")


def _wrapped(text: str, *, width: int | None, indent: str) -> list[str]:
    if width is None:
        return [text]
    return textwrap.wrap(text, max(20, width - len(indent)), break_long_words=False, break_on_hyphens=False) or [""]


def _sentence(document: HostDocument, ink: Ink) -> str:
    labs = {"docker": "labs of containers", "vagrant": "labs of virtual machines"}
    what = " and ".join(labs[provider] for provider in document.providers)
    missing = [finding for finding in document.findings if finding.status == "missing"]
    if not missing:
        return ink(f"This host can run {what}", "green")
    named = ", ".join(finding.title for finding in missing)
    fixable = any(finding.fix or finding.packages for finding in missing)
    kind = (
        "" if document.providers == ["docker"] else f" --for {'all' if 'docker' in document.providers else 'vagrant'}"
    )
    then = f"; labctl doctor --fix{kind} mends what it can" if fixable else ""
    return ink(f"This host cannot run {what} yet: {named}{then}", "bold red")
