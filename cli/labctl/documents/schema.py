"""The JSON Schema of the documents, generated from their types; `docs/documents.schema.json` is its output."""

from __future__ import annotations

import dataclasses
import inspect
import json
from typing import Any

from labctl.documents import model, verdicts
from labctl.documents.model import Document


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) that every document that labctl prints fulfils, descriptions from the docstrings."""
    from pydantic import TypeAdapter

    generated: dict[str, Any] = TypeAdapter(Document).json_schema(mode="serialization")
    classes = {**vars(verdicts), **vars(model)}
    for name, definition in generated["$defs"].items():
        definition["additionalProperties"] = False
        definition["required"] = [field.name for field in dataclasses.fields(classes[name])]
        definition["description"] = inspect.cleandoc(classes[name].__doc__ or "").replace("\n", " ")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "labctl documents",
        "description": "What labctl prints with -o json; `kind` says which document it is.",
        **generated,
    }


def schema_text() -> str:
    """`schema` as the text of its file."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(schema_text())
