"""A YAML document with places: every value knows its file, line and column. Merging, reading and finding, all pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from labctl.errors import KeyPath


class Place(NamedTuple):
    """Where something stands: index of the file, line and column from 0, and how many columns it takes."""

    file: int
    line: int
    column: int
    width: int = 1


@dataclass(slots=True)
class Scalar:
    """A string, number, boolean or null."""

    value: str | int | float | bool | None
    place: Place


@dataclass(slots=True)
class Sequence:
    """A list."""

    place: Place
    items: list[Value] = field(default_factory=list)


@dataclass(slots=True)
class Mapping:
    """A mapping; its keys are strings and know their own places."""

    place: Place
    items: dict[str, Value] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)
    incomplete: bool = False
    """Something that stands in the file could not be read and is not here."""


Value = Scalar | Sequence | Mapping


def plain(value: Value) -> object:
    """`value` as dicts, lists and scalars."""
    if isinstance(value, Scalar):
        return value.value
    if isinstance(value, Sequence):
        return [plain(item) for item in value.items]
    return {key: plain(item) for key, item in value.items.items()}


def from_plain(data: object, place: Place) -> Value:
    """The reverse of `plain`, all at one place."""
    if isinstance(data, dict):
        items = {str(key): from_plain(item, place) for key, item in data.items()}
        return Mapping(place, items, dict.fromkeys(items, place))
    if isinstance(data, list | tuple):
        return Sequence(place, [from_plain(item, place) for item in data])
    if data is None or isinstance(data, str | int | float | bool):
        return Scalar(data, place)
    return Scalar(str(data), place)


def is_null(value: Value) -> bool:
    """Whether the file says null (or nothing) here."""
    return isinstance(value, Scalar) and value.value is None


def means_null(path: KeyPath) -> bool:
    """Whether null is a value at `path` and so does not remove: a variable's, an address's."""
    return len(path) >= 2 and path[-2] in ("environment", "networks") and path[0] in ("nodes", "defaults")


def merge(base: Value, over: Value, path: KeyPath = ()) -> Value:
    """`over` on top of `base`: maps key by key, lists and scalars replaced, null removes."""
    if not (isinstance(base, Mapping) and isinstance(over, Mapping)):
        return over
    items, keys = dict(base.items), dict(base.keys)
    for key, value in over.items.items():
        here = (*path, key)
        if key in items and is_null(value) and not means_null(here):
            del items[key], keys[key]
            continue
        if key in items:
            value = merge(items[key], value, here)
        items[key], keys[key] = value, over.keys[key]
    return Mapping(over.place, items, keys, incomplete=base.incomplete or over.incomplete)


def with_defaults(document: Value) -> Value:
    """The document with its `defaults` merged under every node: `image` drops the default `box`, and the reverse."""
    if not isinstance(document, Mapping):
        return document
    defaults, nodes = document.items.get("defaults"), document.items.get("nodes")
    if not (isinstance(defaults, Mapping) and isinstance(nodes, Mapping)):
        return document
    merged = {}
    for name, node in nodes.items.items():
        written = Mapping(nodes.keys[name]) if is_null(node) else node
        under: Value = defaults
        if isinstance(written, Mapping):
            # A node that names its own origin has nothing to do with the default one.
            drop = {"image": "box", "box": "image"}
            dropped = {
                drop[key] for key in ("image", "box") if key in written.items and not is_null(written.items[key])
            }
            kept = {key: value for key, value in defaults.items.items() if key not in dropped}
            under = Mapping(defaults.place, kept, defaults.keys)
        merged[name] = merge(under, written, ("nodes", name))
    items = document.items | {"nodes": Mapping(nodes.place, merged, nodes.keys, incomplete=nodes.incomplete)}
    return Mapping(document.place, items, document.keys, incomplete=document.incomplete)


def without_nulls(document: Value, path: KeyPath = ()) -> Value:
    """The document without keys that say null where null means "not given"."""
    if isinstance(document, Sequence):
        return Sequence(document.place, [without_nulls(v, (*path, i)) for i, v in enumerate(document.items)])
    if not isinstance(document, Mapping):
        return document
    kept = {}
    for key, value in document.items.items():
        here = (*path, key)
        if is_null(value) and len(path) != 1 and not means_null(here):
            continue
        kept[key] = without_nulls(value, here)
    return Mapping(document.place, kept, document.keys, incomplete=document.incomplete)


def find(document: Value, path: KeyPath) -> Value | None:
    """The value at `path`, None when there is none."""
    here: Value | None = document
    for part in path:
        if isinstance(here, Mapping) and isinstance(part, str):
            here = here.items.get(part)
        elif isinstance(here, Sequence) and isinstance(part, int) and 0 <= part < len(here.items):
            here = here.items[part]
        else:
            return None
    return here


def locate(document: Value, path: KeyPath, *, key: bool = False) -> Place:
    """The place of the value (or of its key) at `path`, or of the nearest thing above that is there."""
    here, place = document, document.place
    for position, part in enumerate(path):
        last = position == len(path) - 1
        if isinstance(here, Mapping) and isinstance(part, str) and part in here.items:
            value = here.items[part]
            # A value without text (a key with nothing behind it, a block) is better shown by its key.
            by_key = (key and last) or (is_null(value)) or (last and not isinstance(value, Scalar))
            place = here.keys.get(part, value.place) if by_key else value.place
            here = value
        elif isinstance(here, Sequence) and isinstance(part, int) and 0 <= part < len(here.items):
            here = here.items[part]
            place = here.place
        else:
            if isinstance(part, str) and isinstance(here, Mapping) and position:
                break
            break
    return place


def walk(document: Value, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Value]]:
    """Every value with its path, parents first."""
    yield path, document
    if isinstance(document, Mapping):
        for name, item in document.items.items():
            yield from walk(item, (*path, name))
    elif isinstance(document, Sequence):
        for index, item in enumerate(document.items):
            yield from walk(item, (*path, index))
