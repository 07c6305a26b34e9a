"""The starting points of `labctl init`: `templates/labs/NAME/lab.yaml`, its first comment its description."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from labctl.assets import assets
from labctl.errors import LabctlError, NotFoundError, UsageError
from labctl.model.suggest import nearest

_NAME_LINE = re.compile(r"^name:.*$", re.MULTILINE)
_FILE = "lab.yaml"


def templates() -> dict[str, str]:
    """The templates, each with its one-line description."""
    found = {}
    for path in sorted((assets("templates") / "labs").glob(f"*/{_FILE}")):
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        found[path.parent.name] = first.removeprefix("#").strip()
    return found


def write(template: str, directory: Path, *, environ: Mapping[str, str]) -> list[Path]:
    """Copy a template into `directory` (made when missing), its lab named after it; the files, lab.yaml first.

    Under sudo the files belong to the user behind it. Raises `NotFoundError` for an unknown template, `UsageError` when
    a file is in the way: nothing is overwritten, and then nothing is written.
    """
    known = templates()
    if template not in known:
        near = nearest(template, known)
        hint = f"did you mean {near}?" if near else "labctl init --list shows them"
        raise NotFoundError(f"there is no template {template}", details=[f"templates: {', '.join(known)}"], hint=hint)
    directory = Path(os.path.normpath(directory))
    source = assets("templates") / "labs" / template
    sources = [path for path in sorted(source.rglob("*")) if path.is_file()]
    for path in sources:
        target = directory / path.relative_to(source)
        if target.exists() or target.is_symlink():
            raise UsageError(f"{target} is there already", hint="nothing is overwritten: choose another directory")
    try:
        made = list(_directories(directory))
        for path in sources:
            target = directory / path.relative_to(source)
            made += list(_directories(target.parent))
            shutil.copyfile(path, target)
            shutil.copymode(path, target)
            made.append(target)
        file = directory / _FILE
        text = _NAME_LINE.sub(f"name: {lab_name(directory)}", file.read_text(encoding="utf-8"), count=1)
        file.write_text(text, encoding="utf-8")
        _hand_over(made, environ)
    except OSError as error:
        raise LabctlError(
            f"{error.filename or directory} cannot be written: {error.strerror}",
            hint="check its permissions",
            code="LAB-USE-003",
        ) from error
    return [file, *(path for path in made if path.is_file() and path != file)]


def lab_name(directory: Path) -> str:
    """A lab's name made of a directory's: a DNS label of at most 40 characters, quoted where YAML needs it."""
    name = re.sub(r"[^a-z0-9]+", "-", directory.resolve().name.lower()).strip("-")[:40].strip("-") or "lab"
    # A name that YAML could take for a number or a boolean.
    plain = re.fullmatch(r"[a-z][a-z0-9-]*", name) and name not in ("yes", "no", "on", "off", "true", "false", "null")
    return name if plain else f'"{name}"'


def _directories(path: Path) -> Iterator[Path]:
    """Make `path` and what is missing above it; those that were made."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    yield from missing


def _hand_over(paths: list[Path], environ: Mapping[str, str]) -> None:
    """Let `paths` belong to the user who called sudo."""
    user, group = environ.get("SUDO_UID", ""), environ.get("SUDO_GID", "")
    if os.geteuid() == 0 and user.isdigit() and group.isdigit():
        for path in paths:
            os.chown(path, int(user), int(group), follow_symlinks=False)
