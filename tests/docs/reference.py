"""Writes `docs/reference.md` from the models of the lab file and the commands: ``python -m tests.docs.reference``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from labctl.app import EPILOG, PANELS, build
from labctl.model.schema import json_schema


def text() -> str:
    """The whole page."""
    lines = [
        "# Reference",
        "",
        "Written by `make docs` from the models and commands; [errors](errors.md) have a page of their own. The JSON",
        "Schema of the lab file is [lab.schema.json](lab.schema.json), that of what commands print with `-o json`",
        "[documents.schema.json](documents.schema.json).",
        "",
        "## The lab file",
        "",
        *_object("", json_schema(), json_schema().get("$defs", {})),
    ]
    for name, definition in json_schema().get("$defs", {}).items():
        if "properties" in definition:
            lines += [f"### {_title(name)}", "", *_object(name, definition, json_schema()["$defs"])]
    lines += ["## Commands", "", EPILOG, ""]
    for panel, commands in PANELS.items():
        lines += [f"### {panel}", ""]
        for name in commands:
            lines += list(_command(name, _built(name)))
    return "\n".join(lines).rstrip() + "\n"


# ---------------------------------------------------------------- the lab file


def _title(name: str) -> str:
    return name.removesuffix("Spec")


def _object(name: str, definition: Mapping[str, Any], defs: Mapping[str, Any]) -> Iterator[str]:
    if said := definition.get("description"):
        yield from (_flat(said), "")
    required = definition.get("required", [])
    yield from ("| Key | Value | Meaning |", "| --- | --- | --- |")
    for key, value in definition["properties"].items():
        mark = " (required)" if key in required else ""
        yield f"| `{key}`{mark} | {_cell(_type(value, defs))} | {_cell(_meaning(value, defs))} |"
    yield ""


def _type(value: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        target = defs[name]
        return _title(name) if "properties" in target else _type(target, defs)
    for word in ("anyOf", "oneOf"):
        if word in value:
            kinds = [_type(each, defs) for each in value[word] if each.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if "enum" in value:
        return ", ".join(f"`{each}`" for each in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    match value.get("type"):
        case "array":
            return f"list of {_type(value.get('items', {}), defs)}"
        case "object":
            inner = next(iter(value.get("patternProperties", {}).values()), value.get("additionalProperties"))
            return f"map of {_type(inner, defs)}" if isinstance(inner, dict) else "map"
        case None:
            return "any"
        case kind:
            return str(kind)


def _meaning(value: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    return _flat(str(value.get("description", "")))


def _flat(said: str) -> str:
    return " ".join(said.split())


def _cell(said: str) -> str:
    return said.replace("|", "\\|")


# ---------------------------------------------------------------- commands


def _built(name: str) -> Any:
    command: Any = build([name])
    return command.commands[name]


def _command(name: str, command: Any) -> Iterator[str]:
    if command.hidden:
        return
    if children := getattr(command, "commands", None):
        for child, each in children.items():
            yield from _command(f"{name} {child}", each)
        return
    import typer

    usage = " ".join(command.collect_usage_pieces(typer.Context(command)))
    yield from (
        f"#### labctl {name}",
        "",
        f"`labctl {name} {usage}`",
        "",
        _flat((command.help or "").split("\f")[0]),
        "",
    )
    options = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
    options = [each for each in options if "--help" not in each.opts]
    if options:
        yield from ("| Option | Meaning |", "| --- | --- |")
        for each in options:
            names = ", ".join(f"`{opt}`" for opt in (*each.opts, *each.secondary_opts))
            takes = f" {each.metavar}" if each.metavar and not getattr(each, "is_flag", False) else ""
            yield f"| {names}{_cell(takes)} | {_cell(_flat(each.help or ''))} |"
        yield ""


if __name__ == "__main__":
    sys.stdout.write(text())
