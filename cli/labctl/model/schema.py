"""The JSON Schema of lab files, from the models and the docstrings of their attributes."""

from __future__ import annotations

import ast
import inspect
from types import ModuleType
from typing import Any

from labctl.model import spec_checks, spec_node, spec_storage, topology

_MODULES: tuple[ModuleType, ...] = (topology, spec_node, spec_storage, spec_checks)


def json_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) that editors use to complete and check lab files."""
    schema = topology.Topology.model_json_schema(by_alias=True)
    descriptions = _descriptions()
    for name, model in (("Topology", schema), *schema["$defs"].items()):
        for key, value in model.get("properties", {}).items():
            # An attribute that shares its name with a keyword is written with an underscore in Python.
            words = descriptions.get((name, key)) or descriptions.get((name, f"{key}_"))
            if words:
                value["description"] = words
    _tidy(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "labctl lab file"}


def schema_text() -> str:
    """The schema as it is printed and published."""
    import json

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _tidy(value: Any) -> None:
    """Take out titles that only repeat a name, and defaults that only say that nothing was given."""
    if isinstance(value, dict):
        if isinstance(value.get("title"), str):
            del value["title"]
        if "default" in value and value["default"] is None:
            del value["default"]
        for item in value.values():
            _tidy(item)
    elif isinstance(value, list):
        for item in value:
            _tidy(item)


def _descriptions() -> dict[tuple[str, str], str]:
    """The docstrings below attributes, by class and attribute; inherited ones too."""
    found: dict[tuple[str, str], str] = {}
    parents: dict[str, list[str]] = {}
    for module in _MODULES:
        for node in ast.parse(inspect.getsource(module)).body:
            if not isinstance(node, ast.ClassDef):
                continue
            parents[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
            for attribute, text in zip(node.body, node.body[1:], strict=False):
                if isinstance(attribute, ast.AnnAssign) and isinstance(attribute.target, ast.Name):
                    words = _text(text)
                    if words:
                        found[(node.name, attribute.target.id)] = words
    for name, bases in parents.items():
        for base in bases:
            for (owner, attribute_name), words in list(found.items()):
                if owner == base:
                    found.setdefault((name, attribute_name), words)
    return found


def _text(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return inspect.cleandoc(node.value.value)
    return None
