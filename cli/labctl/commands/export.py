"""`labctl export`: the lab for other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from labctl.commands.options import File


def register(app: typer.Typer) -> None:
    """Add the command group of this module to `app`."""
    group = typer.Typer(no_args_is_help=True, help="Write the lab for other programs: vagrant.")
    group.callback()(lambda: None)
    group.command("vagrant")(vagrant)
    app.add_typer(group, name="export")


def vagrant(
    *,
    file: File = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a Vagrantfile that labctl did not write.")] = False,
) -> None:
    """Write the lab's virtual machines as a Vagrantfile beside the lab file, for plain `vagrant` there.

    It holds what the lab file gives to the machines, passwords too, and is readable by you alone.
    """
    from labctl import api, exporting
    from labctl.errors import UsageError
    from labctl.lab import cache
    from labctl.probe.user import invoking_user

    lab = api.load_lab(file)
    target = lab.directory / "Vagrantfile"
    if not force and target.exists() and not _ours(target):
        raise UsageError(f"{target} is there, and not written by labctl", hint="--force replaces it")
    given = os.environ.get("VAGRANT_HOME")
    home = Path(given) if given else invoking_user().home / ".vagrant.d"
    written = exporting.vagrantfile(lab, cache=cache(), vagrant_home=home)
    _write(target, written.text)
    typer.echo(os.path.relpath(target))
    for notice in written.notices:
        typer.echo(f"note: {notice}", err=True)
    from labctl.providers.vagrant.boxes import path_of

    for box in written.boxes:
        if not path_of(cache(), box).is_file():
            typer.echo(f"note: its box {box} is not on this host yet: `labctl up` makes it", err=True)


def _ours(path: Path) -> bool:
    try:
        return "written by `labctl export vagrant`" in path.read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, ValueError):
        return False


def _write(target: Path, text: str) -> None:
    from labctl.errors import LabctlError

    temporary = target.with_name(f".{target.name}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise LabctlError(f"cannot write {target}: {error.strerror}", code="LAB-USE-003") from None
