"""Validation that does not stop at the first error: what is wrong is reported and left out, the rest is a topology."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from labctl.errors import KeyPath, Problem
from labctl.model.scalars import NAME_PATTERN
from labctl.model.topology import Topology

_ROUNDS = 6
_STUBS: dict[str, Any] = {"volumes": {"type": "local"}, "nodes": {}, "networks": {}, "domains": {}}
"""What stands in for a thing whose own definition is wrong: its name exists all the same."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A topology without its wrong parts (None when nothing sensible is left), and what is wrong.

    `broken` are the paths that were left out; `kept` has, for each list that lost items, the indexes of the others.
    """

    topology: Topology | None
    problems: list[Problem]
    broken: frozenset[KeyPath] = frozenset()
    kept: Mapping[KeyPath, list[int]] = field(default_factory=dict)

    def written(self, path: KeyPath) -> KeyPath:
        """The path in the file of something that stands at `path` in the topology."""
        result: list[str | int] = []
        for part in path:
            indexes = self.kept.get(tuple(result)) if isinstance(part, int) else None
            result.append(indexes[part] if indexes and isinstance(part, int) and part < len(indexes) else part)
        return tuple(result)


def check(data: object, broken: Collection[KeyPath] = ()) -> Checked:
    """`data` as a topology; `broken` are paths already known to be wrong."""
    try:
        return Checked(Topology.model_validate(data), [], frozenset(broken))
    except ValidationError as error:
        # Only a file with mistakes pays for the words about them.
        from labctl.model import words

        problems = words.problems(error, data)
        if not isinstance(data, dict):
            return Checked(None, problems, frozenset(broken))
        left_out, kept = set(broken), dict[KeyPath, list[int]]()
        pruned = _copy(data)
        for _ in range(_ROUNDS):
            # From the end, so that the indexes of what is still to be cut stay right.
            for location in reversed([item["loc"] for item in error.errors(include_url=False)]):
                path, missing = words.document_path(location, pruned)
                left_out.add((*path, missing) if missing else path)
                _cut(pruned, path, kept)
            try:
                return Checked(Topology.model_validate(pruned), problems, frozenset(left_out), kept)
            except ValidationError as next_error:
                error = next_error
        return Checked(None, problems, frozenset(left_out), kept)


def _copy(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _copy(value) for key, value in data.items()}
    return [_copy(value) for value in data] if isinstance(data, list) else data


def _cut(data: dict[str, Any], path: KeyPath, kept: dict[KeyPath, list[int]]) -> None:
    """Take out the value at `path`, or put something harmless there when its place must not be empty."""
    if len(path) < 2:
        for key in path:
            data.pop(str(key), None)
        data.setdefault("name", "lab")
        data.setdefault("nodes", {})
        return
    holder: Any = data
    for part in path[:-1]:
        holder = holder[part]
    last: Any = path[-1]
    if len(path) == 2 and path[0] in _STUBS:
        stub = _copy(_STUBS[str(path[0])])
        if holder[last] != stub and re.match(NAME_PATTERN, str(last)):
            holder[last] = stub
            return
    if isinstance(holder, list):
        kept.setdefault(path[:-1], list(range(len(holder))))
        del kept[path[:-1]][last]
    del holder[last]
