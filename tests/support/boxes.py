"""The boxes of machines: built once for whoever runs the tests, used by all tests."""

from __future__ import annotations

import os
from pathlib import Path

from labctl.lab import cache


def share_boxes(home: Path) -> None:
    """Let labctl's home of a test have the boxes that were built before, and keep those that the test builds."""
    built = cache({name: value for name, value in os.environ.items() if name != "LABCTL_HOME"}) / "boxes"
    built.mkdir(parents=True, exist_ok=True)
    place = home / "cache" / "boxes"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(built)
