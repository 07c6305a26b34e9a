"""Who runs which tests when they are spread over processes (``pytest -n 2 --dist loadfile``)."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from xdist.scheduler import LoadScopeScheduling

from tests.support.requirements import MARKERS

ENGINE = "engine"


class EngineApart(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """All tests of the files that use the engine or libvirt run one after another in one process, the rest beside them.

    Labs that come up at the same time as others need longer than their deadlines on a small machine, and what a test
    leaves behind cannot be told from what another one is using.
    """

    def _split_scope(self, nodeid: str) -> Any:
        file = nodeid.partition("::")[0]
        return ENGINE if _uses_engine(Path(self.config.rootpath, file)) else file


@functools.cache
def _uses_engine(file: Path) -> bool:
    text = file.read_text(encoding="utf-8")
    return any(f"mark.{marker}" in text for marker, needs in MARKERS.items() if {"docker", "vm"} & {*needs})
