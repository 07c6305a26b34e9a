"""`labctl test`: the facts of the lab file's `checks`, tried on the running lab."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.commands.options import File, Name, parse_duration
from labctl.errors import ChecksFailedError, LabctlError, NotFoundError

if TYPE_CHECKING:
    from labctl.api import RunningLab
    from labctl.checks import CheckResult
    from labctl.documents.model import ChecksDocument
    from labctl.model.lab import Check, Lab


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
    from labctl.checks import run_checks
    from labctl.world import LabWorld

    lab, running = _opened(file, name)
    checks = _chosen(lab, names or ())
    if not checks:
        typer.echo(f"lab {lab.name} has no checks", err=True)
    deadline = None if timeout is None else time.monotonic() + timeout
    results = run_checks(checks, LabWorld(running), deadline=deadline)
    document = _document(lab.name, results)
    _print(document, output)
    if junit is not None:
        _write_junit(document, junit)
    _raise_for_failures(results)


def _opened(file: list[str] | None, name: str | None) -> tuple[Lab, RunningLab]:
    """The lab file and the running lab; by name alone, the files that the lab was made from."""
    from labctl import api

    if name is not None and file is None:
        running = api.open_lab(name)
        source = running.directory.source()
        if source is None:
            raise LabctlError(f"it is not known which file lab {name} was made from", hint="name it with -f")
        return api.load_lab(source[0]), running
    lab = api.load_lab(file)
    return lab, api.open_lab(name or lab.name)


def _chosen(lab: Lab, names: Sequence[str]) -> list[Check]:
    from difflib import get_close_matches

    for each in names:
        if each not in lab.checks:
            near = get_close_matches(each, lab.checks, n=1)
            raise NotFoundError(
                f"lab {lab.name} has no check {each}",
                details=[f"checks: {', '.join(lab.checks) or 'none'}"],
                hint=f"did you mean {near[0]}?" if near else None,
            )
    return [lab.checks[each] for each in dict.fromkeys(names)] if names else list(lab.checks.values())


# ---------------------------------------------------------------- results


def _document(lab: str, results: Sequence[CheckResult]) -> ChecksDocument:
    from labctl.documents.model import CheckDocument, ChecksDocument

    return ChecksDocument(
        lab=lab,
        passed=all(result.state != "failed" for result in results),
        checks=[
            CheckDocument(
                name=result.name,
                type=result.kind,
                subject=result.subject,
                node=result.node,
                state=result.state,
                attempts=result.attempts,
                seconds=round(result.seconds, 3),
                output=result.output,
            )
            for result in results
        ],
    )


def _print(document: ChecksDocument, form: Form) -> None:
    if form is Form.JUNIT:
        from labctl.documents.junit import junit

        sys.stdout.write(junit(document))
        return
    from labctl.ui.checks import print_checks
    from labctl.ui.show import show

    show(document, form.value, table=lambda: print_checks(document))


def _write_junit(document: ChecksDocument, path: Path) -> None:
    from labctl.documents.junit import junit

    try:
        path.write_text(junit(document), encoding="utf-8")
    except OSError as error:
        raise LabctlError(f"{path} cannot be written: {error.strerror}") from error


def _raise_for_failures(results: Sequence[CheckResult]) -> None:
    failed = [result for result in results if result.state == "failed"]
    if not failed:
        return
    raise ChecksFailedError(
        f"{len(failed)} of {len(results)} checks failed",
        details=[
            line
            for result in failed
            for line in (
                f"{result.name}: {result.kind} {result.subject} from {result.node or 'this host'}, {_tries(result)}:",
                *(f"  {said}" for said in result.output.splitlines()[-10:] or ["nothing"]),
            )
        ],
        hint=_what_to_do(failed),
    )


def _tries(result: CheckResult) -> str:
    if result.attempts == 0:
        return "not tried"
    tries = f"{result.attempts} tr{'y' if result.attempts == 1 else 'ies'}"
    return f"{tries} in {result.seconds:.1f} s; the last one said"


def _what_to_do(failed: Sequence[CheckResult]) -> str:
    hints = {result.hint for result in failed if result.hint is not None}
    if len(hints) > 1:
        return "labctl start"  # nodes that do not run are all that is known before the first try
    return hints.pop() if hints else f"once more, it alone: labctl test {failed[0].name}"
