"""Where the files that come with labctl are: in the installed package, or in the checkout of an editable install."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def assets(kind: str) -> Path:
    """The directory of one kind of shipped files: ``templates`` or ``boxes``."""
    packaged = _PACKAGE / "_assets" / kind
    return packaged if packaged.is_dir() else _PACKAGE.parent.parent / kind
