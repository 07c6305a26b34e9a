"""Where the files that come with labctl are: in the installed package, or in the checkout of an editable install."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def assets(kind: str) -> Path:
    """The directory of one kind of shipped files: ``templates`` or ``boxes``."""
    packaged = _PACKAGE / "_assets" / kind
    return packaged if packaged.is_dir() else _PACKAGE.parent.parent / kind


@cache
def tree(*parts: str) -> tuple[tuple[str, bytes], ...]:
    """The files below one template directory, sorted: the path each has in a node (absolute), and its content."""
    root = assets("templates").joinpath(*parts)
    return tuple(
        (f"/{path.relative_to(root).as_posix()}", path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file()
    )
