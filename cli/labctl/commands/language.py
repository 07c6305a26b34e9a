"""The commands about the lab file itself: init, validate, config, schema."""

from __future__ import annotations

from typing import Annotated

import typer

from labctl.commands.options import File, OutputFormat


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("init")(init)
    app.command("validate")(validate)
    app.command("config")(config)
    app.command("schema")(schema)


def _template_names(incomplete: str) -> list[str]:
    from labctl.source.templates import templates

    return [name for name in templates() if name.startswith(incomplete)]


def init(
    *,
    directory: Annotated[str, typer.Argument(metavar="[DIR]", help="Where to write lab.yaml.")] = ".",
    template: Annotated[
        str,
        typer.Option("-t", "--template", metavar="NAME", help="The starting point.", autocompletion=_template_names),
    ] = "hello",
    list_: Annotated[bool, typer.Option("--list", help="List the templates and write nothing.")] = False,
) -> None:
    """Write a lab file to start from."""
    import os
    from pathlib import Path
    from shlex import quote

    from labctl.source.templates import templates, write

    if list_:
        found = templates()
        width = max(len(name) for name in found)
        for name, description in found.items():
            typer.echo(f"{name:{width}}  {description}")
        return
    written = write(template, Path.cwd() / directory, environ=os.environ)
    for path in written:
        typer.echo(os.path.relpath(path))
    typer.echo(f"wrote the template {template}", err=True)
    where = "" if written[0].parent == Path.cwd() else f"cd {quote(os.path.relpath(written[0].parent))} && "
    typer.echo(f"next: {where}labctl up", err=True)


def validate(
    *,
    file: File = None,
    output: Annotated[
        OutputFormat, typer.Option("-o", "--output", help="How to print the result.")
    ] = OutputFormat.TABLE,
) -> None:
    """Check a lab file and say all that is wrong with it."""
    from labctl.api import load
    from labctl.errors import InvalidLabError

    try:
        loaded = load(file)
    except InvalidLabError as error:
        if output in (OutputFormat.JSON, OutputFormat.YAML):
            _print({"version": 1, "kind": "validation", "valid": False, "problems": list(error.details)}, output)
        raise
    lab = loaded.lab
    if output is OutputFormat.NAME:
        typer.echo(lab.name)
    elif output is OutputFormat.TABLE:
        counts = ((lab.nodes, "node"), (lab.networks, "network"), (lab.volumes, "volume"), (lab.checks, "check"))
        words = [f"{len(things)} {word}{'s' * (len(things) != 1)}" for things, word in counts if things]
        typer.echo(f"lab {lab.name} is valid: {', '.join(words)}")
        for notice in loaded.notices:
            typer.echo(f"note: {notice}", err=True)
    else:
        files = [str(path) if path else "-" for path in loaded.files]
        document = {"version": 1, "kind": "validation", "valid": True, "lab": lab.name, "files": files}
        _print(document | {"nodes": list(lab.nodes), "notices": list(loaded.notices), "problems": []}, output)


def config(
    *,
    file: File = None,
    output: Annotated[OutputFormat, typer.Option("-o", "--output", help="How to print it.")] = OutputFormat.YAML,
    origins: Annotated[bool, typer.Option("--explain", help="Say for each value where it came from.")] = False,
) -> None:
    """Print the lab as labctl understands it: merged, defaults filled in, copies counted out, secrets masked."""
    from labctl.api import load
    from labctl.source.explain import explain, resolved

    loaded = load(file)
    for notice in loaded.notices:
        typer.echo(f"note: {notice}", err=True)
    if output is OutputFormat.NAME:
        typer.echo(loaded.lab.name)
        return
    if not origins:
        _print(resolved(loaded), OutputFormat.YAML if output is OutputFormat.TABLE else output)
        return
    values = explain(loaded)
    if output is OutputFormat.JSON:
        entries = [
            {"path": value.name, "value": value.value, "origin": str(value.origin) if value.origin else "default"}
            for value in values
        ]
        _print({"version": 1, "kind": "origins", "lab": loaded.lab.name, "values": entries}, output)
        return
    import json

    left = [f"{value.name}: {json.dumps(value.value, ensure_ascii=False)}" for value in values]
    width = min(max(len(text) for text in left), 76)
    for text, value in zip(left, values, strict=True):
        typer.echo(f"{text:{width}}  # {value.origin or 'default'}")


def schema() -> None:
    """Print the JSON Schema of lab files, for editors."""
    from labctl.model.schema import schema_text

    typer.echo(schema_text(), nl=False)


def _print(document: object, output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        import json

        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        from labctl.source.yamlio import dump

        typer.echo(dump(document), nl=False)
