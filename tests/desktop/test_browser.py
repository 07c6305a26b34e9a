"""The gateway in a real browser: looking, typing, copying, resizing, and being refused."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Page, Route

from tests.desktop.lab import DesktopLab, ask, eventually, split
from tests.desktop.look import BACKGROUND, connected, is_drawn, pixels, share, type_line

pytestmark = [pytest.mark.engine, pytest.mark.browser, pytest.mark.timeout(900)]
Visit = Callable[..., Page]


def shows(page: Page, canvas: str = '.screen[data-open="true"] canvas') -> bool:
    return is_drawn(*pixels(page, canvas))


def has_size(lab: DesktopLab, node: str, size: tuple[int, int]) -> bool:
    return lab.size(node) == size


def test_the_page_lists_the_nodes_and_opens_desktops_in_tabs(lab: DesktopLab, visit: Visit) -> None:
    page = visit(lab.url())
    page.wait_for_selector("#desktops li:nth-child(3)")
    assert page.locator("#desktops .caption b").all_inner_texts() == ["ana", "ben", "cat"]
    assert page.locator("#others .caption b").all_inner_texts() == ["db"]
    for name in ("ana", "ben", "cat", "db"):
        page.wait_for_selector(f'li[data-node="{name}"][data-state="ready"]')
    for name in ("ana", "ben"):
        page.click("#home")
        page.click(f'#desktops [data-node="{name}"] button')
        connected(page)
        assert page.title() == f"{name} · {lab.name}"
    assert [text.rstrip("×") for text in page.locator(".tab").all_inner_texts()] == ["ana\n", "ben\n"]
    page.click('.tab[data-node="ana"] button')
    assert page.title() == f"ana · {lab.name}"
    page.click('.tab[data-node="ana"] .close')
    assert page.title() == f"ben · {lab.name}"


@pytest.mark.parametrize("node", ["ana", "ben", "cat"])
def test_a_desktop_is_drawn(lab: DesktopLab, visit: Visit, node: str) -> None:
    page = visit(lab.url(node))
    connected(page)
    eventually(partial(shows, page))
    width, height, _ = pixels(page)
    assert (width, height) == lab.size(node)
    assert (width, height) == (1280, 800)  # the window's 1280x844 without the page's own bar


def test_the_wall_shows_small_live_pictures_and_resizes_nothing(lab: DesktopLab, visit: Visit) -> None:
    before = {node: lab.size(node) for node in ("ana", "ben", "cat")}
    page = visit(lab.url(), width=900, height=600)
    for node in before:
        page.wait_for_selector(f'#desktops [data-node="{node}"] [data-screen="connected"]')
        eventually(partial(shows, page, f'#desktops [data-node="{node}"] canvas'))
    assert {node: lab.size(node) for node in before} == before


_SHOWN = """
(name) => {
  const card = document.querySelector(`#desktops [data-node="${name}"]`);
  const [copy, place] = [card.querySelector(".copy"), card.querySelector(".picture")];
  return [copy.width, copy.height, place.clientWidth, place.clientHeight];
}
"""
# How far the small picture is from the mean of the pixels that each of its own stands for, where the names are written
_ROUGHNESS = """
(name) => {
  const card = document.querySelector(`#desktops [data-node="${name}"]`);
  const [copy, source] = [card.querySelector(".copy"), card.querySelector(".rfb canvas")];
  const read = (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const [small, large] = [read(copy), read(source)];
  const scale = source.width / copy.width;
  let [sum, count] = [0, 0];
  for (let y = Math.floor(copy.height * 0.38); y < copy.height * 0.52; y++)
    for (let x = Math.floor(copy.width * 0.44); x < copy.width * 0.56; x++) {
      let [mean, number] = [0, 0];
      for (let v = Math.floor(y * scale); v < (y + 1) * scale; v++)
        for (let u = Math.floor(x * scale); u < (x + 1) * scale; u++) {
          mean += large[4 * (v * source.width + u)];
          number += 1;
        }
      sum += Math.abs(small[4 * (y * copy.width + x)] - mean / number);
      count += 1;
    }
  return sum / count;
}
"""
_MARGINS = """
() => {
  const cards = [...document.querySelectorAll("#desktops li")].map((card) => card.getBoundingClientRect());
  return [Math.min(...cards.map((card) => card.left)), innerWidth - Math.max(...cards.map((card) => card.right))];
}
"""


def test_a_small_picture_is_drawn_at_its_own_size_and_in_its_desktops_shape(lab: DesktopLab, visit: Visit) -> None:
    page = visit(lab.url(), width=2400, height=900)
    for node in ("ana", "ben", "cat"):
        page.wait_for_selector(f'#desktops [data-node="{node}"] .copy', state="attached")
        eventually(partial(shows, page, f'#desktops [data-node="{node}"] .rfb canvas'))
        page.wait_for_timeout(600)
        width, height = lab.size(node)
        drawn_width, drawn_height, shown_width, shown_height = page.evaluate(_SHOWN, node)
        assert abs(drawn_width - shown_width) <= 1
        assert abs(drawn_height - shown_height) <= 1
        assert abs(shown_height - shown_width * height / width) <= 1
        assert share(pixels(page, f'#desktops [data-node="{node}"] .copy')[2], BACKGROUND) > 0.3
        if node != "cat":  # its screen is hardly larger than its picture
            assert page.evaluate(_ROUGHNESS, node) < 4
    left, right = page.evaluate(_MARGINS)
    assert abs(left - right) <= 1


def test_typed_text_reaches_a_terminal(lab: DesktopLab, visit: Visit) -> None:
    page = visit(lab.url("ana"))
    lab.sh("ana", "rm -f /tmp/typed")
    type_line(page, "whoami > /tmp/typed", lambda: lab.sh("ana", "cat /tmp/typed", code=None) == "lab")


def test_the_clipboard_goes_both_ways(lab: DesktopLab, visit: Visit) -> None:
    page = visit(lab.url("ana"))
    connected(page)
    page.click(".screen[data-open] canvas")

    def copied_to_the_desktop() -> bool:
        page.evaluate("navigator.clipboard.writeText('from the browser: žluťoučký 🐎')")
        page.evaluate("window.dispatchEvent(new Event('focus'))")
        page.wait_for_timeout(300)
        return lab.sh("ana", "timeout 2 xclip -o -selection clipboard", user="lab", code=None) == (
            "from the browser: žluťoučký 🐎"
        )

    eventually(copied_to_the_desktop)

    def copied_to_the_browser() -> bool:
        lab.sh("ana", "printf 'from the desktop: ěšč' | xclip -i -selection clipboard > /dev/null 2>&1", user="lab")
        page.wait_for_timeout(300)
        return bool(page.evaluate("navigator.clipboard.readText()") == "from the desktop: ěšč")

    eventually(copied_to_the_browser)


def test_the_screen_follows_the_window(lab: DesktopLab, visit: Visit) -> None:
    page = visit(lab.url("ben"))
    connected(page)
    for width, height in ((1000, 700), (1500, 900)):
        page.set_viewport_size({"width": width, "height": height + 44})
        eventually(partial(has_size, lab, "ben", (width, height)))
        eventually(partial(shows, page))


def test_a_wrong_token_is_refused(lab: DesktopLab, visit: Visit) -> None:
    site, token = split(lab.url("ana"))
    page = visit(f"{site}#{token[:-1]}x")
    page.wait_for_selector('body[data-view="refused"]')
    assert page.locator("canvas").count() == 0
    assert "opens no desktop" in page.inner_text("#message")


def answering(change: Callable[[dict[str, Any]], None]) -> Callable[[Page], None]:
    """Lets a browser see another answer of the gateway than it gave."""

    def handle(route: Route) -> None:
        response = route.fetch()
        data = response.json()
        change(data)
        route.fulfill(response=response, body=json.dumps(data))

    def watch(page: Page) -> None:
        page.route("**/api/lab", handle)

    return watch


def test_a_wrong_password_is_refused(lab: DesktopLab, visit: Visit) -> None:
    def wrong(data: dict[str, Any]) -> None:
        data["nodes"][0]["password"] = "not this"

    page = visit(lab.url("ana"), before=answering(wrong))
    page.wait_for_selector('.screen[data-screen="refused"]')
    assert page.locator(".screen canvas").count() == 0


@pytest.mark.parametrize("disguised", [False, True])
def test_a_view_only_link_cannot_type_even_when_its_page_lies(
    lab: DesktopLab, visit: Visit, *, disguised: bool
) -> None:
    def claim(data: dict[str, Any]) -> None:
        assert data["view_only"] is True
        data["view_only"] = False

    page = visit(lab.url("ana", "--view-only"), before=answering(claim) if disguised else None)
    connected(page)
    assert page.locator("#badge").is_visible() is not disguised
    lab.sh("ana", "rm -f /tmp/viewed")
    with pytest.raises(AssertionError, match="no effect"):
        type_line(page, "touch /tmp/viewed", lambda: bool(lab.sh("ana", "ls /tmp/viewed", code=None)), tries=1)
    # The same link, asked by hand: it gives no more than the password that may only look.
    site, token = split(lab.url("ana", "--view-only"))
    known = lab.secrets()["nodes"]["ana"]
    given = json.loads(ask(f"{site}api/lab", token=token)[2])["nodes"][0]
    assert (given["password"], given["token"]) == (known["vnc_view_password"], known["view_token"])


def test_a_desktop_comes_back_in_the_page(lab: DesktopLab, visit: Visit) -> None:
    page = visit(lab.url("cat"))
    connected(page)
    lab.sh("cat", "pkill -9 Xtigervnc")
    page.wait_for_selector('.screen[data-screen="waiting"]')
    connected(page)
    eventually(partial(shows, page))
    lab.labctl("restart", "cat")
    connected(page)
    eventually(partial(shows, page))


def test_a_ticket_opens_the_page_once(lab: DesktopLab, visit: Visit) -> None:
    record = lab.directory / "browser"
    record.write_text(f'#!/bin/sh\nprintf %s "$1" > {lab.directory}/opened\n')
    record.chmod(0o755)
    lab.labctl("vnc", "ana", env={"BROWSER": str(record)})
    eventually((lab.directory / "opened").is_file)
    url = (lab.directory / "opened").read_text()
    known = lab.secrets()["nodes"]["ana"]
    assert "#open." in url
    assert known["token"] not in url
    page = visit(url)
    connected(page)
    assert split(page.url)[1] == known["token"]
    again = visit(url)
    again.wait_for_selector('body[data-view="refused"]')
    page.reload()
    connected(page)


def test_it_stays_open_over_a_restart_of_the_gateway(lab: DesktopLab, visit: Visit) -> None:
    page = visit(lab.url("ana"))
    connected(page)
    began = time.monotonic()
    lab.docker("restart", "-t", "5", lab.container("_gateway"))
    assert time.monotonic() - began < 5
    connected(page)
    eventually(partial(shows, page))
