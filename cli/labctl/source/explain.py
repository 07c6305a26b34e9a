"""Where every value of the resolved lab came from: a line of a file, or a default."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from labctl.errors import KeyPath
from labctl.model.spell import spell
from labctl.source.load import Loaded, Origin
from labctl.source.tree import Mapping, Scalar, Sequence, Value


class Explained(NamedTuple):
    """A value of the resolved lab; `origin` is None when it is a default."""

    path: KeyPath
    value: object
    origin: Origin | None

    @property
    def name(self) -> str:
        """The path in one word: ``nodes.web-1.memory``."""
        parts = (str(part) for part in self.path)
        return ".".join(part if part.replace("-", "").replace("_", "").isalnum() else f'"{part}"' for part in parts)


def resolved(loaded: Loaded) -> dict[str, Any]:
    """The lab as a lab file again, everything spelled out and secrets masked."""
    return spell(loaded.lab, scenarios=loaded.document.get("scenarios"))


def explain(loaded: Loaded) -> list[Explained]:
    """Every value of `resolved`, in its order."""
    return [
        Explained(path, value, _origin(loaded, path))
        for path, value in _leaves(resolved(loaded))
        if not str(path[-1]).startswith("x-")
    ]


def _leaves(data: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, object]]:
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(data, list) and data:
        for index, value in enumerate(data):
            yield from _leaves(value, (*path, index))
    else:
        yield path, data


def _origin(loaded: Loaded, path: KeyPath) -> Origin | None:
    here: Value = loaded.origins.tree
    for position, part in enumerate(path):
        if isinstance(here, Mapping) and part in here.items:
            here = here.items[str(part)]
        elif isinstance(here, Sequence) and isinstance(part, int) and part < len(here.items):
            here = here.items[part]
        elif isinstance(here, Mapping) and part == "content" and "source" in here.items:
            return loaded.origins.near((*path[:position], "source"))
        elif isinstance(here, Mapping) or (isinstance(here, Scalar) and here.value is None):
            return None
        else:
            # A short form says it all: `desktop: true`, a list of networks.
            return loaded.origins.near(path[:position])
    return loaded.origins.near(path)
