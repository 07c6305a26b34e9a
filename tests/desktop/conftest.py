"""One lab with three desktops for the whole session, and a browser that looks at it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.desktop.browser import chromium, visit
from tests.desktop.lab import LAB, DesktopLab, environment

__all__ = ["chromium", "visit"]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DesktopLab]:
    """ana (icewm), ben (openbox), cat (xfce), and db without a desktop."""
    directory = tmp_path_factory.mktemp("desktops")
    made = DesktopLab(directory, f"c-desk-{os.getpid()}", environment(directory / "home"))
    (directory / "lab.yaml").write_text(LAB.format(name=made.name))
    try:
        made.labctl("up", "--yes")
        yield made
    finally:
        made.labctl("down", "--volumes")
