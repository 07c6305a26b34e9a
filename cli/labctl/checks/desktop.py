"""The kind `desktop`: a desktop is drawn, which a black screen and one of a single colour are not."""

from __future__ import annotations

from collections import Counter

from labctl.checks.attempt import Attempt, Finding

_STEP = 7
"""Every so many pixels one is looked at: prime to the widths of screens, so that it falls on all columns."""

_DARK = 24
"""A pixel whose three parts together are below this is black to the eye."""

_LEAST = 0.005
"""The share of the screen that has to be something else than the rest: a panel alone takes more."""


def desktop(attempt: Attempt) -> Finding:
    """A picture of the screen, as a viewer gets it, shows more than one colour and more than darkness."""
    assert attempt.node is not None
    width, height, rgb = attempt.world.screen(attempt.node, timeout=attempt.timeout)
    return judge(width, height, rgb)


def judge(width: int, height: int, rgb: bytes) -> Finding:
    """Whether a desktop is drawn on a screen of that size; `rgb` has three bytes a pixel."""
    step = 3 * _STEP
    colours = Counter(zip(rgb[0::step], rgb[1::step], rgb[2::step], strict=False))
    size = f"{width}x{height}"
    if not colours:
        return Finding(holds=False, output=f"the screen ({size}) has no pixels")
    total = colours.total()
    dark = sum(count for colour, count in colours.items() if sum(colour) < _DARK)
    if total - dark < total * _LEAST:
        return Finding(holds=False, output=f"the screen ({size}) is black")
    most, count = colours.most_common(1)[0]
    if total - count < total * _LEAST:
        return Finding(holds=False, output=f"the screen ({size}) is all of one colour, #{bytes(most).hex()}")
    return Finding(holds=True, output=f"a desktop of {size} is drawn, in {len(colours)} colours")
