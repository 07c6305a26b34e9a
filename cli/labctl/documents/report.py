"""A job's page: what failed and why, as Markdown for a job's summary and as one HTML file for people.

The HTML needs nothing beside itself: pictures and styles are in it, there is no script, and nothing is fetched.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from types import MappingProxyType

from labctl.documents.verdicts import CheckDocument, PhaseDocument, PipelineDocument

_MARKS: Mapping[str, str] = MappingProxyType({"passed": "✅", "failed": "❌", "skipped": "⏭️"})


@dataclass(frozen=True)
class Page:
    """What a page shows: the result, the end of each node's log, each desktop's picture (PNG), what is missing."""

    job: PipelineDocument
    logs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    missing: Sequence[str] = ()


def headline(job: PipelineDocument) -> str:
    """How it went, in one sentence."""
    checks = [check for check in job.checks if check.state != "skipped"]
    if job.exit_code == 0:
        held = f", {len(checks)} check{'s' * (len(checks) != 1)} hold{'s' * (len(checks) == 1)}" if checks else ""
        return f"lab {job.lab}: passed in {job.seconds:.1f} s{held}"
    return f"lab {job.lab}: failed with exit code {job.exit_code} after {job.seconds:.1f} s: {job.because}"


# ---------------------------------------------------------------- Markdown


def markdown(page: Page) -> str:
    """The page as Markdown: failures first, then phases and checks as tables, then the ends of the logs."""
    job = page.job
    parts = [f"# {_marked(headline(job))}"]
    if job.kept:
        parts.append(f"The lab was kept: `labctl down -n {job.lab} --volumes` takes it away.")
    failed = [phase for phase in job.phases if phase.state == "failed"]
    for phase in failed:
        parts.append(f"## {phase.name}: {_marked(phase.error or '')} ({phase.code})")
        if phase.details:
            parts.append(_fenced(phase.details))
        if phase.hint:
            parts.append(f"What to do: {_marked(phase.hint)}")
    parts.append(_table(("", "Phase", "Took"), [(_MARKS[p.state], p.name, f"{p.seconds:.1f} s") for p in job.phases]))
    if job.checks:
        rows = [(_MARKS[c.state], c.name, _what(c), f"{c.seconds:.1f} s", _said(c)) for c in job.checks]
        parts.append(_table(("", "Check", "What", "Took", "Said"), rows))
    parts += [f"![The desktop of {node}](screens/{node}.png)" for node in page.pictures]
    if failed:
        parts += [_folded(f"log of {node}", _fenced(lines[-30:])) for node, lines in page.logs.items() if lines]
    if page.missing:
        parts.append("Not collected:\n\n" + "\n".join(f"- {_marked(line)}" for line in page.missing))
    return "\n\n".join(parts) + "\n"


def _marked(text: str) -> str:
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>#|" else c for c in " ".join(text.split()))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return "\n".join(lines + [f"| {' | '.join(_marked(cell) for cell in row)} |" for row in rows])


def _fenced(lines: Sequence[str]) -> str:
    text = "\n".join(lines)
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{escape(title)}</summary>\n\n{body}\n\n</details>"


def _what(check: CheckDocument) -> str:
    return f"{check.type} {check.subject} from {check.node or 'this host'}"


def _said(check: CheckDocument) -> str:
    return check.output.partition("\n")[0][:200]


# ---------------------------------------------------------------- HTML

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em; color: #1c2430; }
h1 { font-size: 1.4em; border-left: .4em solid; padding-left: .5em; } .passed { color: #1a7f37; }
.failed { color: #b3261e; } .skipped { color: #8a6d00; } table { border-collapse: collapse; margin: 1em 0; }
td, th { text-align: left; padding: .25em 1em .25em 0; vertical-align: top; border-bottom: 1px solid #dde2e8; }
pre { background: #f4f6f8; padding: .8em; overflow-x: auto; white-space: pre-wrap; } img { max-width: 100%; }
figure { margin: 1em 0; } summary { cursor: pointer; } .error { border-left: .4em solid #b3261e; padding-left: 1em; }
@media (prefers-color-scheme: dark) { body { background: #12161c; color: #dbe2ea; } pre { background: #1b222b; }
td, th { border-color: #2c3642; } .passed { color: #56c271; } .failed { color: #ff8a80; } }
"""


def html(page: Page) -> str:
    """The page as one HTML document."""
    job = page.job
    state = "passed" if job.exit_code == 0 else "failed"
    body = [f'<h1 class="{state}">{escape(headline(job))}</h1>']
    if job.kept:
        body.append(f"<p>The lab was kept: <code>labctl down -n {escape(job.lab)} --volumes</code> takes it away.</p>")
    body += [_failure(phase) for phase in job.phases if phase.state == "failed"]
    body.append(_rows(("Phase", "State", "Took"), [(p.name, p.state, f"{p.seconds:.1f} s") for p in job.phases]))
    if job.checks:
        rows = [(c.name, c.state, f"{c.seconds:.1f} s", _what(c), c.output) for c in job.checks]
        body.append(_rows(("Check", "State", "Took", "What", "Said"), rows))
    for node, picture in page.pictures.items():
        data = base64.b64encode(picture).decode()
        image = f'<img alt="The desktop of {escape(node)}" src="data:image/png;base64,{data}">'
        body.append(f"<figure>{image}<figcaption>{escape(node)}</figcaption></figure>")
    for node, lines in page.logs.items():
        text = escape("\n".join(lines))
        body.append(f"<details><summary>log of {escape(node)} (its end)</summary><pre>{text}</pre></details>")
    if page.missing:
        items = "".join(f"<li>{escape(each)}</li>" for each in page.missing)
        body.append(f"<h2>Not collected</h2><ul>{items}</ul>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{escape(headline(job))}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _failure(phase: PhaseDocument) -> str:
    details = f"<pre>{escape(chr(10).join(phase.details))}</pre>" if phase.details else ""
    hint = f"<p>What to do: {escape(phase.hint)}</p>" if phase.hint else ""
    title = f"{phase.name}: {escape(phase.error or '')} ({phase.code})"
    return f'<section class="error"><h2>{title}</h2>{details}{hint}</section>'


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = [
        f'<tr class="{escape(row[1])}">' + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>" for row in rows
    ]
    return f"<table><tr>{top}</tr>{''.join(lines)}</table>"


def _cell(text: str) -> str:
    return f"<pre>{escape(text)}</pre>" if "\n" in text else escape(text)
