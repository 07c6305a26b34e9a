"""Boxes that a user put on this host, beside those that are made from packages: `box: NAME` finds them.

Each is a file with a few words beside it. Nobody can make it again: only who put it there takes it away.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from labctl.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class OwnBox:
    """A box of a user's. `services` are those of labctl's features that are in it, `sha256` its file's digest."""

    name: str
    system: str
    sha256: str
    services: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        """Vagrant's name for it."""
        return f"labctl/{self.name}-{self.sha256[:12]}"


def place(root: Path) -> Path:
    """Where the boxes lie, below labctl's home."""
    return root / "boxes"


def file_of(root: Path, box: OwnBox) -> Path:
    """The box's file."""
    return place(root) / f"{box.name}-{box.sha256[:12]}.box"


def boxes(root: Path) -> list[OwnBox]:
    """All of them, by name; what cannot be read is left out."""
    return list(_read(root))


def names(root: Path) -> list[str]:
    """Their names."""
    directory = place(root)
    return sorted(path.stem for path in directory.glob("*.json")) if directory.is_dir() else []


def find(root: Path, name: str) -> OwnBox | None:
    """The box of that name. Raises `NotFoundError` when its file has gone."""
    box = next((each for each in boxes(root) if each.name == name), None)
    if box is not None and not file_of(root, box).is_file():
        raise NotFoundError(
            f"the file of box {name} is gone",
            details=[str(file_of(root, box))],
            hint=f"put it there again: labctl box add FILE --name {name} --sha256 {box.sha256}",
            code="LAB-FIND-004",
        )
    return box


def put(root: Path, box: OwnBox, file: Path) -> Path:
    """Have the file on the shelf under its name, in place of another of that name; returns where."""
    directory = place(root)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = file_of(root, box)
    file.replace(target)
    former = next((each for each in boxes(root) if each.name == box.name), None)
    words = directory / f"{box.name}.json"
    temporary = words.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(asdict(box)))
    temporary.replace(words)
    if former is not None and former.sha256 != box.sha256:
        file_of(root, former).unlink(missing_ok=True)
    return target


def remove(root: Path, box: OwnBox) -> None:
    """Take a box away; gone is fine."""
    (place(root) / f"{box.name}.json").unlink(missing_ok=True)
    file_of(root, box).unlink(missing_ok=True)


def _read(root: Path) -> Iterator[OwnBox]:
    for name in names(root):
        try:
            known = json.loads((place(root) / f"{name}.json").read_text())
            yield OwnBox(**{**known, "services": tuple(known["services"])})
        except (OSError, ValueError, KeyError, TypeError):
            continue
