"""How wide text gets in a picture that cannot ask a font."""

from __future__ import annotations

_NARROW = frozenset("iIl.,:;|'!()[]/\\ tfjr-·")
_WIDE = frozenset("mwMW@%&→×")


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """About how many pixels `text` takes in a common sans-serif font of `size`; rather too many than too few."""
    units = sum(0.34 if char in _NARROW else 0.9 if char in _WIDE or ord(char) > 0x2E7F else 0.58 for char in text)
    return units * size * (1.07 if bold else 1.0)


def cut(text: str, size: float, width: float, *, bold: bool = False) -> str:
    """`text` in at most `width` pixels, with an ellipsis where it was longer."""
    if text_width(text, size, bold=bold) <= width:
        return text
    while text and text_width(text + "…", size, bold=bold) > width:
        text = text[:-1]
    return text + "…"
