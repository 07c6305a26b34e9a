"""A real browser that looks at desktops, as fixtures."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.requirements import BROWSERS

PATIENCE = 40_000  # milliseconds
_running: list[Browser] = []
"""The one browser of a process: modules that import the fixture have one each, and Playwright runs once."""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if _running:
        yield _running[0]
        return
    path = next(filter(None, map(shutil.which, BROWSERS)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        _running.append(browser)
        yield browser
        _running.clear()
        browser.close()


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a link in a browser of its own; ``visit(url, width=…, height=…)``."""
    contexts = []

    def open_link(
        url: str, *, width: int = 1280, height: int = 844, before: Callable[[Page], None] | None = None
    ) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url.partition("/#")[0])
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        if before is not None:
            before(page)
        page.goto(url)
        return page

    yield open_link
    for context in contexts:
        for page in context.pages:
            page.unroute_all(behavior="ignoreErrors")  # else a request on its way fails the test that comes next
        context.close()
