"""`labctl explain`: what the code of an error means."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated

import typer

from labctl.errors import NotFoundError


def _codes(incomplete: str) -> list[str]:
    from labctl.codes import CODES

    return [code for code in CODES if code.startswith(incomplete.upper())]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("explain")(explain)


def explain(
    code: Annotated[
        str | None, typer.Argument(metavar="[CODE]", help="The code of an error; all if none.", autocompletion=_codes)
    ] = None,
    *,
    markdown: Annotated[bool, typer.Option("--markdown", help="All codes as the page of the docs.")] = False,
) -> None:
    """Explain the code of an error (LAB-NET-002): what it means and what to do."""
    from labctl.codes import CODES, by_area
    from labctl.codes import markdown as page

    if markdown:
        typer.echo(page(), nl=False)
        return
    if code is None:
        for title, explanations in by_area():
            typer.echo(title)
            for each in explanations:
                typer.echo(f"  {each.code}  {each.title}")
        return
    found = CODES.get(code.strip("[]:").upper())
    if found is None:
        near = get_close_matches(code.upper(), CODES, n=1, cutoff=0.5)
        raise NotFoundError(f"there is no error {code}", hint=f"did you mean {near[0]}?" if near else "labctl explain")
    typer.echo(f"{found.code}: {found.title}\n\n{found.text}")
