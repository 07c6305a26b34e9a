"""What a plain YAML scalar means here: YAML 1.2's core, and an error where versions of YAML disagree."""

from __future__ import annotations

import re

_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_OLD_TRUTH = frozenset(word for base in ("yes", "no", "on", "off") for word in (base, base.title(), base.upper()))
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)?(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?\Z")
_OCTAL = re.compile(r"[-+]?0[0-9_]+\Z")
_BASED = re.compile(r"[-+]?0(?:[xX][0-9a-fA-F_]+|[oO][0-7_]+|[bB][01_]+)\Z")
_GROUPED = re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(?:\.[0-9_]*)?\Z")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?\Z")
_SPECIAL = re.compile(r"[-+]?\.(?:inf|Inf|INF|nan|NaN|NAN)\Z")
_NUMERIC_START = frozenset("+-.0123456789")
_DIGITS = 18


class AmbiguousScalar(ValueError):
    """A plain scalar that is not what it looks like; the message is a sentence for the writer."""


def resolve_plain(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar. Raises `AmbiguousScalar`."""
    if text in _NULL:
        return None
    if text in _TRUTH:
        return _TRUTH[text]
    if text in _OLD_TRUTH:
        raise AmbiguousScalar(
            f"unquoted `{text}` is a boolean in YAML 1.1 and a word in 1.2: "
            f'write "{text}" in quotes, or {"true" if text.lower() in ("yes", "on") else "false"}'
        )
    if text[0] not in _NUMERIC_START:
        return text
    return _number(text)


def _number(text: str) -> str | int | float:
    shown = text if len(text) <= 24 else f"{text[:20]}…"
    if _INTEGER.match(text):
        if len(text) > _DIGITS:
            raise AmbiguousScalar(f"a number of {len(text)} digits is too long, write it in quotes if it is a string")
        return int(text)
    if _OCTAL.match(text):
        raise AmbiguousScalar(f'unquoted `{shown}` begins with 0 and is octal in YAML 1.1: write "{shown}" in quotes')
    if _SEXAGESIMAL.match(text):
        raise AmbiguousScalar(f'unquoted `{shown}` is a base-60 number in YAML 1.1: write "{shown}" in quotes')
    if _BASED.match(text) or _GROUPED.match(text):
        raise AmbiguousScalar(
            f'unquoted `{shown}` is a number to some readers of YAML only: write "{shown}" in quotes, or in decimal'
        )
    if _SPECIAL.match(text):
        raise AmbiguousScalar(f"`{shown}` is not a number that a lab can use")
    if any(digit.isdigit() for digit in text) and _FLOAT.match(text):
        if len(text) > 2 * _DIGITS or not abs(float(text)) < 1e300:
            raise AmbiguousScalar("a number this long is too long, write it in quotes if it is a string")
        return float(text)
    return text


def is_old_truth(text: str) -> bool:
    """Whether YAML 1.1 reads `text` as a boolean although 1.2 does not."""
    return text in _OLD_TRUTH
