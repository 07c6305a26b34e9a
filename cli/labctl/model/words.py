"""pydantic's errors in the words of a lab file: what was expected, what was found, at which key. Pure."""

from __future__ import annotations

import types
import typing
from typing import Annotated, Any

from pydantic import BaseModel, Tag, ValidationError

from labctl.errors import KeyPath, Problem
from labctl.model.secret import MASK, is_secret
from labctl.model.spec_checks import CHECK_KINDS
from labctl.model.suggest import did_you_mean, nearest
from labctl.model.topology import Topology

_WANTED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "nothing",
    "finite_number": "a number",
}
_LIMITS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


def problems(error: ValidationError, data: object) -> list[Problem]:
    """One problem for each of pydantic's errors about `data`."""
    return [_problem(item, data) for item in error.errors(include_url=False, include_context=True)]


def kind(value: object, *, secret: bool = False) -> str:
    """What a value is, for the end of a sentence: ``the string "two"``, ``a list``; a secret one is not shown."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'the string "{MASK if secret else _short(value)}"'
    if isinstance(value, int | float):
        return f"the number {MASK if secret else value}"
    return "a list" if isinstance(value, list) else "a mapping"


def _problem(item: Any, data: object) -> Problem:
    location: tuple[str | int, ...] = item["loc"]
    path, missing = document_path(location, data)
    found, type_, context = item["input"], item["type"], item.get("ctx", {})
    if location and location[-1] == "[key]":
        # pydantic marks an error about a key of a mapping this way.
        return Problem(path, f"`{_short(str(found))}`: {_sentence(type_, context, found)}", at_key=True)
    if type_ == "extra_forbidden":
        known = _known_keys(location[:-1])
        return Problem(
            path, f"unknown key `{_short(str(location[-1]))}`{did_you_mean(str(location[-1]), known)}", at_key=True
        )
    if type_ == "missing":
        return Problem(path, f"`{missing}` is missing here", at_key=True)
    if type_ == "volume_type":
        return _volume_type(path, found)
    if type_ == "check_kind":
        return _check_kind(path, found)
    if type_ == "shape":
        # The message is the union's own: what it takes, in words.
        return Problem(path, f"{item['msg']}, found {kind(found, secret=is_secret(path))}")
    return Problem(path, _sentence(type_, context, found, secret=is_secret(path)))


def _sentence(type_: str, context: dict[str, Any], found: object, *, secret: bool = False) -> str:
    shown = kind(found, secret=secret)
    if type_ == "plain":
        sentence = str(context["sentence"])
        return f"{sentence}, found {shown}" if sentence.startswith("expected") else sentence
    if type_ == "literal_error":
        words = str(context["expected"]).replace("'", "")
        extra = did_you_mean(found, words.replace(" or ", ", ").split(", ")) if isinstance(found, str) else ""
        if not isinstance(found, str) and str(found) in words.replace(" or ", ", ").split(", "):
            extra = f': write "{found}" in quotes'
        return f"expected {words}, found {shown}{extra if 'did you' in extra or 'write' in extra else ''}"
    if type_ in _LIMITS:
        words, key = _LIMITS[type_]
        return f"expected {words} {context[key]:g}, found {MASK if secret else found}"
    if type_ == "string_type":
        quotes = "" if isinstance(found, list | dict) or found is None else ": write it in quotes"
        return f"expected a string, found {shown}{quotes}"
    return f"expected {_WANTED.get(type_, 'another value')}, found {shown}"


def _volume_type(path: KeyPath, found: object) -> Problem:
    if not isinstance(found, dict):
        return Problem(path, f"expected a mapping with `type` (local, nfs or iscsi), found {kind(found)}")
    if "type" not in found:
        near = nearest("type", [str(key) for key in found])
        also = f" (is `{near}` meant to be it?)" if near and near[:1] == "t" and near != "target" else ""
        return Problem(path, f"`type` is missing here: local, nfs or iscsi{also}", at_key=True)
    return Problem(
        (*path, "type"),
        f"expected local, nfs or iscsi, found {kind(found['type'])}"
        + (did_you_mean(found["type"], ("local", "nfs", "iscsi")) if isinstance(found["type"], str) else ""),
    )


def _check_kind(path: KeyPath, found: object) -> Problem:
    if not isinstance(found, dict):
        return Problem(path, f"expected a mapping with one of {', '.join(CHECK_KINDS)}, found {kind(found)}")
    kinds = [key for key in CHECK_KINDS if key in found]
    if kinds:
        return Problem((*path, kinds[1]), f"a check is of one kind, this one has {' and '.join(kinds)}", at_key=True)
    return Problem(path, f"a check needs one of {', '.join(CHECK_KINDS)}", at_key=True)


def document_path(location: tuple[str | int, ...], data: object) -> tuple[KeyPath, str | None]:
    """The path in the file for pydantic's location, which also names branches of unions; what is missing there."""
    path: list[str | int] = []
    here = data
    for part in location:
        inside: Any = here if isinstance(here, dict | list) else {}
        there = part in inside if isinstance(inside, dict) else isinstance(part, int) and part < len(inside)
        if there:
            here = inside[part]
            path.append(part)
    last = location[-1] if location else None
    return tuple(path), str(last) if last is not None and (not path or path[-1] != last) else None


def _known_keys(location: tuple[str | int, ...]) -> list[str]:
    """The keys of the model at pydantic's location."""
    here: Any = Topology
    for part in location:
        here = _step(here, part)
    here = _bare(here)
    if isinstance(here, type) and issubclass(here, BaseModel):
        return [field.alias or name for name, field in here.model_fields.items()]
    return []


def _step(annotation: Any, part: str | int) -> Any:
    here = _bare(annotation)
    if isinstance(here, type) and issubclass(here, BaseModel):
        for name, field in here.model_fields.items():
            if part == (field.alias or name):
                return field.annotation if not field.metadata else Annotated[field.annotation, *field.metadata]
        return None
    origin, arguments = typing.get_origin(here), typing.get_args(here)
    if origin in (dict, list):
        return arguments[-1]
    for branch in arguments:
        if any(isinstance(mark, Tag) and mark.tag == part for mark in getattr(branch, "__metadata__", ())):
            return branch
    return None


def _bare(annotation: Any) -> Any:
    """The annotation without what pydantic does not count as a step: Annotated, and "or nothing"."""
    while True:
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is Annotated:
            annotation = arguments[0]
        elif origin in (typing.Union, types.UnionType) and type(None) in arguments and len(arguments) == 2:
            annotation = next(branch for branch in arguments if branch is not type(None))
        else:
            return annotation


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 40 else f"{flat[:36]}…"
