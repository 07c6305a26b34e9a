"""Print a document in the format that was asked for, on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TextIO

from labctl.documents.model import Document, names, plain


def show(document: Document, form: str, *, table: Callable[[], None], stream: TextIO | None = None) -> None:
    """Print `document` as `form`: json, yaml, name, or by calling `table`."""
    out = stream or sys.stdout
    match form:
        case "json":
            out.write(json.dumps(plain(document), indent=2, ensure_ascii=False) + "\n")
        case "yaml":
            from labctl.source.yamlio import dump

            out.write(dump(plain(document)))
        case "name":
            out.writelines(f"{name}\n" for name in names(document))
        case _:
            table()
