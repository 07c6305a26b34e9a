"""`labctl test`: the facts of the lab file's `checks`, tried on the running lab."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.commands.options import File, Name, parse_duration
from labctl.errors import LabctlError

if TYPE_CHECKING:
    from labctl.api import RunningLab
    from labctl.documents.verdicts import ChecksDocument, PipelineDocument
    from labctl.model.lab import Lab


class Form(StrEnum):
    """How the results are printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"
    JUNIT = "junit"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("test")(try_checks)


def try_checks(
    *,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[CHECK]...", help="Checks of the lab file; all if none.")
    ] = None,
    file: File = None,
    name: Name = None,
    output: Annotated[Form, typer.Option("-o", "--output", help="How to print the results.")] = Form.TABLE,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write the results as JUnit XML to FILE too.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="DURATION", parser=parse_duration, help="End all checks after this time."),
    ] = None,
) -> None:
    """Try the checks of the lab file, all at once; exit code 6 when one does not hold."""
    from labctl import trial

    lab, running = _opened(file, name)
    checks = trial.chosen(lab, names or ())
    if not checks:
        typer.echo(f"lab {lab.name} has no checks", err=True)
    deadline = None if timeout is None else time.monotonic() + timeout
    results = trial.try_all(running, checks, deadline=deadline)
    document = trial.document(lab.name, results)
    _print(document, output)
    if junit is not None:
        write_junit(document, junit)
    if error := trial.failure(results):
        raise error


def _opened(file: list[str] | None, name: str | None) -> tuple[Lab, RunningLab]:
    """The lab file and the running lab; by name alone, the files that the lab was made from."""
    from labctl import api

    if name is not None and file is None:
        running = api.open_lab(name)
        source = running.directory.source()
        if source is None:
            raise LabctlError(
                f"it is not known which file lab {name} was made from", hint="name it with -f", code="LAB-FILE-004"
            )
        return api.load_lab(source[0]), running
    lab = api.load_lab(file)
    return lab, api.open_lab(name or lab.name)


# ---------------------------------------------------------------- results


def _print(document: ChecksDocument, form: Form) -> None:
    if form is Form.JUNIT:
        from labctl.documents.junit import junit

        sys.stdout.write(junit(document))
        return
    from labctl.ui.checks import print_checks
    from labctl.ui.show import show

    show(document, form.value, table=lambda: print_checks(document))


def write_junit(document: ChecksDocument | PipelineDocument, path: Path) -> None:
    """Write the document as JUnit XML. Raises `LabctlError` when the file cannot be written."""
    from labctl.documents.junit import junit

    try:
        path.write_text(junit(document), encoding="utf-8")
    except OSError as error:
        raise LabctlError(f"{path} cannot be written: {error.strerror}", code="LAB-USE-003") from error
