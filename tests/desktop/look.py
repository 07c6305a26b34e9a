"""What a desktop shows: the pixels of noVNC's canvas, and what a user does with it."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable

from playwright.sync_api import Page

BACKGROUND = (0x1D, 0x2B, 0x39)
BAR = (0x18, 0x21, 0x2B)

_PIXELS = """
(selector) => {
  const canvas = document.querySelector(selector);
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let text = "";
  for (let at = 0; at < data.length; at += 32768) text += String.fromCharCode(...data.subarray(at, at + 32768));
  return [canvas.width, canvas.height, btoa(text)];
}
"""


def connected(page: Page) -> None:
    """Wait until the desktop in front is connected."""
    page.wait_for_selector('.screen[data-open="true"][data-screen="connected"]')


def pixels(page: Page, selector: str = '.screen[data-open="true"] canvas') -> tuple[int, int, list[tuple[int, ...]]]:
    """Width, height and the colours of a canvas, row by row."""
    width, height, text = page.evaluate(_PIXELS, selector)
    data = base64.b64decode(text)
    return width, height, list(zip(data[0::4], data[1::4], data[2::4], strict=True))


def share(colours: list[tuple[int, ...]], wanted: tuple[int, ...], *, tolerance: int = 6) -> float:
    """Which part of the pixels has a colour; pictures on the way are compressed, so that near is enough."""
    counted = Counter(colours)
    near = sum(
        number
        for colour, number in counted.items()
        if max(abs(a - b) for a, b in zip(colour, wanted, strict=True)) <= tolerance
    )
    return near / len(colours)


def is_drawn(width: int, height: int, colours: list[tuple[int, ...]]) -> bool:
    """The background lies on the screen, names in light text stand on it, and the bar is at its foot."""
    foot = colours[(height - 30) * width : (height - 6) * width]
    middle = colours[height // 3 * width : height // 2 * width]
    return share(colours, BACKGROUND) > 0.3 and share(middle, (0xF1, 0xF5, 0xF9)) > 0.0005 and share(foot, BAR) > 0.6


def type_line(page: Page, line: str, done: Callable[[], bool], *, tries: int = 3) -> None:
    """Open a terminal from the desktop's key, type a line there, and see that it worked.

    A browser drops connections when the host gets a network interface: then it is done once more.
    """
    for _ in range(tries):
        connected(page)
        canvas = page.locator('.screen[data-open="true"] canvas')
        box = canvas.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + box["width"] - 40, box["y"] + 60)
        page.keyboard.press("Control+Alt+t")
        page.wait_for_timeout(2500)
        page.keyboard.type(line + "; exit\n", delay=15)
        for _ in range(30):
            if done():
                return
            page.wait_for_timeout(100)
    raise AssertionError(f"what was typed had no effect: {line}")
