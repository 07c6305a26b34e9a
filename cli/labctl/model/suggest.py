"""The nearest known name, for errors about unknown ones."""

from __future__ import annotations

from collections.abc import Iterable

_MANY = 100
"""Of more names only those that begin alike are compared: a file may have thousands of mistakes."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that `word` was most likely meant to be, None when nothing is near."""
    # difflib is imported on the way to an error only: a good file does not pay for it.
    from difflib import get_close_matches

    names = list(dict.fromkeys(known))
    if len(names) > _MANY:
        names = [name for name in names if name[:2] == word[:2]][:_MANY]
    folded = {name.lower().replace("_", "").replace("-", ""): name for name in names}
    plain = word.lower().replace("_", "").replace("-", "")
    if plain in folded:
        return folded[plain]
    found = get_close_matches(word[:80], names, n=1, cutoff=0.6)
    if found or not plain:
        return found[0] if found else None
    swapped = [name for name in names if sorted(name) == sorted(word)]
    begun = [name for name in names if len(plain) >= 3 and (name.startswith(plain) or plain.startswith(name))]
    return next(iter(swapped + begun), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A part of a sentence: ``, did you mean `lan`?``, or what there is, or nothing."""
    names = list(dict.fromkeys(known))
    best = nearest(word, names)
    if best is not None:
        return f", did you mean `{best}`?"
    if 0 < len(names) <= 8:
        return f" (there {'is' if len(names) == 1 else 'are'} {', '.join(names)})"
    return ""
