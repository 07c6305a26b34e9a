"""`labctl doctor`: what this host can and cannot do for labs, and mending it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.commands.options import File, Output, OutputFormat, Yes
from labctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from labctl.documents.model import HostDocument
    from labctl.model.lab import ProviderName
    from labctl.probe.finding import Finding, Probe
    from labctl.probe.host import Host

_ROUNDS = 5
"""How often `--fix` looks again: installing shows what has to be started, starting shows what has to be set up."""


class Kind(StrEnum):
    """Which labs the host is to run: of containers, of virtual machines, or both."""

    DOCKER = "docker"
    VAGRANT = "vagrant"
    ALL = "all"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("doctor")(doctor)


def doctor(
    *,
    file: File = None,
    kind: Annotated[
        Kind | None,
        typer.Option(
            "--for", help="Labs of which kind; that of the lab file with -f, else docker.", show_default=False
        ),
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Install and start what is missing (Debian, Ubuntu).")] = False,
    yes: Yes = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Say what this host can and cannot do, with one remedy each; 4 when such labs cannot run."""
    from labctl.probe.finding import ask_all
    from labctl.probe.host import this_host
    from labctl.probe.questions import able

    host = this_host()
    providers, probes = _asked(file, kind)
    findings = ask_all(probes, host)
    if fix:
        findings = _mend(probes, findings, host, yes=yes)
    _print(_document(providers, findings), output)
    if not able(findings):
        raise typer.Exit(ExitCode.HOST)


def _asked(file: File, kind: Kind | None) -> tuple[frozenset[ProviderName], Sequence[Probe]]:
    """The kinds of machines that are asked about, and the questions."""
    from labctl.lab import cache
    from labctl.probe.questions import has_boxes, has_desktops_here, kinds_of, questions

    kinds: frozenset[ProviderName] = frozenset(["docker", "vagrant"] if kind is Kind.ALL else ["docker"])
    if kind is Kind.VAGRANT:
        kinds = frozenset(["vagrant"])
    boxes, desktops = True, False
    if file:
        from labctl import api

        lab = api.load_lab([str(path) for path in file])
        boxes, desktops = has_boxes(lab), has_desktops_here(lab)
        if kind is None:
            kinds = kinds_of(lab)
    return kinds, questions(kinds, boxes=boxes, cache=cache(), desktops=desktops)


# ---------------------------------------------------------------- mending


def _mend(probes: Sequence[Probe], findings: list[Finding], host: Host, *, yes: bool) -> list[Finding]:
    """Carry out what helps, look again, and so on until nothing more can be done. Returns the last findings."""
    import time

    from labctl.probe.finding import ask_all
    from labctl.probe.fix import as_root, carry_out, repair

    done: set[tuple[str, ...]] = set()
    for _ in range(_ROUNDS):
        commands = [step for step in repair(findings, host, now=time.time()) if step not in done]
        if not commands:
            break
        for command in commands:
            _say(f"  {_shell_words(as_root(command, host))}")
        _confirm(yes=yes)
        for command in commands:
            _say(f"+ {_shell_words(as_root(command, host))}")
            carry_out(command, host, say=_say)
            done.add(command)
            if command[:1] == ("usermod",):
                group, name = command[-2:]
                _say(f"{name} is in the group {group} from the next login on (as good as root on this host)")
        findings = ask_all(probes, host)
    return findings


def _confirm(*, yes: bool) -> None:
    """Ask on the terminal. Raises `UsageError` when the answer is no, or nobody can be asked."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "nothing was changed: there is no terminal to ask on", hint="labctl doctor --fix --yes", code="LAB-USE-002"
        )
    if not typer.confirm("Run these commands?", default=False, err=True):
        raise UsageError("nothing was changed", code="LAB-USE-002")


def _shell_words(command: Sequence[str]) -> str:
    import shlex

    return shlex.join(command)


def _say(line: str) -> None:
    typer.echo(line, err=True)


# ---------------------------------------------------------------- showing


def _document(providers: frozenset[ProviderName], findings: Sequence[Finding]) -> HostDocument:
    from labctl.documents.model import FindingDocument, HostDocument
    from labctl.probe.questions import able

    return HostDocument(
        providers=sorted(providers),
        able=able(findings),
        findings=[
            FindingDocument(
                id=finding.id,
                title=finding.title,
                status=finding.status,
                evidence=finding.evidence,
                remedy=finding.remedy,
                packages=list(finding.packages),
                fix=[list(step) for step in finding.fix],
            )
            for finding in findings
        ],
    )


def _print(document: HostDocument, output: OutputFormat) -> None:
    from labctl.ui.findings import print_findings
    from labctl.ui.show import show

    show(document, output, table=lambda: print_findings(document))
