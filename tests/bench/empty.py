"""A Typer app with as many commands as it is told, none of which does anything: ``empty.py COUNT --help``."""

from __future__ import annotations

import sys

import typer


def nothing() -> None:
    """Do nothing at all."""


if __name__ == "__main__":
    app = typer.Typer(name="empty")
    for number in range(int(sys.argv.pop(1))):
        app.command(f"command-{number}")(nothing)
    app()
