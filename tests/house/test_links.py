"""What the pages of the project point at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(
    r"\]\(<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)|\b(?:src|href)=\"([^\"]+)\"", re.MULTILINE
)


def targets(text: str) -> list[str]:
    """The relative links of a page of Markdown, without the place in the page that they lead to."""
    code = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
    found = ("".join(groups) for groups in LINK.findall(code.sub("", text)))
    return [link.partition("#")[0] for link in found if not re.match(r"[a-z][a-z0-9+.-]*:|#|//", link)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    links = targets(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_links_are_found_as_they_are_written() -> None:
    text = """
[a](one.md) ![b](two.png "title") [c](three.md#part) [d](#part) [e](https://host/four.md) <img src="five.png">
[f](<six.md>)

[g]: seven.md

```
[not](a-link.md)
```
"""
    assert sorted(targets(text)) == ["five.png", "one.md", "seven.md", "six.md", "three.md", "two.png"]


def test_there_are_pages_to_look_at() -> None:
    assert {"README.md", "hosts.md"} <= {page.name for page in PAGES}
