"""The table of `labctl test`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from labctl.documents.verdicts import ChecksDocument
from labctl.ui.tables import print_table

_STYLES: Mapping[str, str] = MappingProxyType({"passed": "green", "failed": "bold red", "skipped": "yellow"})


def print_checks(document: ChecksDocument) -> None:
    """Print one line for each check; what a failed or skipped one said follows in its last column's first line."""
    rows = [
        (
            check.name,
            (check.state, _STYLES[check.state]),
            f"{check.type} {check.subject}",
            check.node or "this host",
            str(check.attempts or ""),
            f"{check.seconds:.1f}s",
            "" if check.state == "passed" else check.output.partition("\n")[0],
        )
        for check in document.checks
    ]
    print_table(("CHECK", "RESULT", "WHAT", "FROM", "TRIES", "TOOK", "SAID"), rows)
