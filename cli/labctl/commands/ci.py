"""`labctl ci`: the whole job of a pipeline in one command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.commands.complete import complete_labs
from labctl.commands.options import (
    File,
    Output,
    OutputFormat,
    Progress,
    ProgressMode,
    Quiet,
    Timeout,
    Ttl,
    Verbose,
    in_ci,
)
from labctl.errors import LabctlError, UsageError

if TYPE_CHECKING:
    from labctl.ci.evidence import Report
    from labctl.commands.session import Session
    from labctl.documents.verdicts import PipelineDocument
    from labctl.source.load import Loaded


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("ci")(ci)


def ci(
    *,
    file: File = None,
    name: Annotated[
        str | None,
        typer.Option(
            "-n",
            "--name",
            metavar="LAB",
            help="Another name for this run; auto: one of its own, with subnets and ports of its own.",
            autocompletion=complete_labs,
        ),
    ] = None,
    timeout: Timeout = 1800.0,
    ttl: Ttl = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write the result as JUnit XML to FILE.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="DIR", help="Keep logs, pictures, events and a page in DIR.")
    ] = None,
    keep_on_failure: Annotated[
        bool, typer.Option("--keep-on-failure", help="Leave a lab that failed running.")
    ] = False,
    pause_on_failure: Annotated[
        bool, typer.Option("--pause-on-failure", help="Wait for a key before a lab that failed is taken down.")
    ] = False,
    output: Output = OutputFormat.TABLE,
    progress: ProgressMode = Progress.AUTO,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Bring the lab up, try its checks, take it down again, whatever happens.

    One deadline for all of it; the exit code says what went wrong: 1 something is left behind, 3 the lab file, 4 the
    host, 8 busy, 7 not all nodes came up, 5 not in time, 6 a check failed, and 129, 130, 143 for signals.
    """
    from labctl.ci.evidence import Mask, Report
    from labctl.ci.run import refused

    if pause_on_failure and not (sys.stdin is not None and sys.stdin.isatty()):
        raise UsageError("--pause-on-failure needs a terminal", hint="--keep-on-failure leaves the lab running")
    mask = Mask()
    kept = Report(report, mask)
    try:
        loaded, notices = _loaded(file, name)
    except LabctlError as error:
        _write(refused(name or "lab", error), kept, junit)
        raise
    with_session = _session(loaded.lab.name, progress, quiet=quiet, verbose=verbose, output=output)
    with with_session as session:
        session.notices([*loaded.notices, *notices])
        document = _job(
            loaded,
            kept,
            session,
            timeout=timeout,
            ttl=ttl,
            own_files=name is None,
            keep=keep_on_failure,
            pause=_pause(session, loaded.lab.name) if pause_on_failure else None,
        )
    _write(document, kept, junit)
    with suppress(OSError):  # the terminal may be gone
        _tell(document, kept, output, quiet=session.quiet)
    raise typer.Exit(document.exit_code)


def _job(
    loaded: Loaded,
    report: Report,
    session: Session,
    *,
    timeout: float,
    ttl: float | None,
    own_files: bool,
    keep: bool,
    pause: Callable[[], None] | None,
) -> PipelineDocument:
    from labctl.ci.evidence import secrets_of
    from labctl.ci.run import Job, Wishes
    from labctl.events import Event

    report.mask.add(secrets_of(loaded.lab))

    def emit(event: Event) -> None:
        report.emit(event)
        session.emit(event)

    # A lab of another name is not the one that the commands in this directory mean.
    files = [file for file in loaded.files if file is not None] if own_files else []
    wishes = Wishes(timeout=timeout, ttl=ttl, keep_on_failure=keep, pause=pause, take_over=in_ci())
    return Job(loaded.lab, files, wishes, report, emit).run()


def _loaded(file: list[str] | None, name: str | None) -> tuple[Loaded, list[str]]:
    """The lab file, under the name of this run; and what was changed for it."""
    from labctl import api

    loaded = api.load(file)
    if name is None:
        return loaded, []
    from labctl.ci.unique import apart, renamed

    if name == "auto":
        return apart(loaded, api.provider().observe(loaded.lab.name))
    return renamed(loaded, name), []


def _session(lab: str, progress: Progress, *, quiet: bool, verbose: bool, output: OutputFormat) -> Session:
    from labctl.commands.session import Session

    return Session(lab, progress, quiet=quiet, verbose=verbose, output=output)


def _pause(session: Session, lab: str) -> Callable[[], None]:
    def pause() -> None:
        with session.pause():
            sys.stderr.write(f"the lab failed and waits: labctl ssh -n {lab} NODE; Enter takes it down ")
            sys.stderr.flush()
            sys.stdin.readline()

    return pause


def _write(document: PipelineDocument, report: Report, junit: Path | None) -> None:
    """Write JUnit XML and the report's pages."""
    from labctl.commands.test import write_junit
    from labctl.documents.junit import junit as as_junit
    from labctl.documents.report import Page, html, markdown

    masked = report.masked(document)
    report.write("junit.xml", as_junit(masked))
    report.document("result.json", masked)
    page = Page(masked, report.evidence.logs, report.evidence.pictures, report.evidence.missing)
    report.write("report.md", markdown(page))
    report.write("report.html", html(page))
    if junit is not None:
        write_junit(masked, junit)


def _tell(document: PipelineDocument, report: Report, output: OutputFormat, *, quiet: bool) -> None:
    from labctl.documents.report import headline
    from labctl.documents.verdicts import ChecksDocument
    from labctl.ui.checks import print_checks
    from labctl.ui.errors import print_error
    from labctl.ui.show import show

    checks = ChecksDocument(lab=document.lab, passed=document.exit_code == 0, checks=document.checks)
    show(document, output, table=lambda: print_checks(checks) if checks.checks else None)
    for phase in document.phases:
        if phase.error is not None:
            print_error(LabctlError(phase.error, details=phase.details, hint=phase.hint, code=phase.code))
    if document.kept:
        typer.echo(f"kept: labctl down -n {document.lab} --volumes takes the lab away", err=True)
    if not quiet:
        typer.echo(headline(document), err=True)
        if report.directory is not None:
            typer.echo(f"report: {report.directory / 'report.html'}", err=True)
