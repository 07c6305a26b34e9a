"""The boxes that come with labctl, read from their files."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from labctl.assets import assets
from labctl.errors import LabctlError, NotFoundError
from labctl.model.box import Box
from labctl.plan.model import BaseImage
from labctl.source.yamlio import load_plain


def boxes() -> tuple[Box, ...]:
    """All boxes: the default one first, the others by name. Raises `LabctlError` for a file that defines none."""
    return _read(assets("boxes"))


def box(name: str) -> Box:
    """The box of that name. Raises `NotFoundError` with the nearest name."""
    known = {each.name: each for each in boxes()}
    if name not in known:
        near = get_close_matches(name, known, n=1)
        raise NotFoundError(
            f"there is no box {name}",
            details=[f"boxes: {', '.join(known)}"],
            hint=f"did you mean {near[0]}?" if near else "labctl box list",
            code="LAB-FIND-004",
        )
    return known[name]


def default_box() -> Box:
    """The box of nodes that name none."""
    return boxes()[0]


def base_image(box: Box) -> BaseImage:
    """The plain operating system of a box, as a thing to plan with."""
    return BaseImage(
        tag=box.base_tag,
        box=box.name,
        pull=box.container.pull,
        suite=box.suite,
        include=box.container.include,
        variant=box.container.variant,
    )


@cache
def _read(directory: Path) -> tuple[Box, ...]:
    found = []
    for path in sorted(directory.glob("*.yaml")):
        try:
            found.append(Box.model_validate(load_plain(path.read_text(encoding="utf-8"))))
        except (ValidationError, ValueError) as error:
            raise LabctlError(f"{path} defines no box", details=str(error).splitlines(), code="LAB-FIND-004") from error
    defaults = [each.name for each in found if each.default]
    if len(defaults) != 1:
        raise LabctlError(
            f"exactly one box of {directory} must be the default", details=[f"now: {defaults}"], code="LAB-FIND-004"
        )
    return tuple(sorted(found, key=lambda each: (not each.default, each.name)))
