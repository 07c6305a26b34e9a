"""Any text gives a topology, or errors whose lines exist. Generators start from valid labs and mutate them."""

from __future__ import annotations

import copy
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labctl.errors import InvalidLabError
from labctl.model.resolve import resolve
from labctl.source.load import load
from labctl.source.tree import plain
from labctl.source.yamlio import dump, parse, split_lines

ROOT = Path(__file__).parents[2]
TEXTS = [
    (Path(__file__).parent / "topology_full" / "lab.yaml").read_text(),
    *(path.read_text() for path in sorted((ROOT / "templates" / "labs").glob("*/lab.yaml"))),
]
LABS: list[Any] = [plain(value) for value in (parse(text, 0).value for text in TEXTS) if value is not None]
COUNTED: Counter[str] = Counter()


def times(count: int) -> settings:
    """That many examples, however long each takes; nothing is kept on disk."""
    return settings(
        max_examples=count, deadline=None, database=None, print_blob=True, suppress_health_check=list(HealthCheck)
    )


def outcome(text: str, place: Path) -> str:
    """``valid``, or ``invalid`` after it was seen that every error points at a line and column that are there."""
    lines = split_lines(text)
    try:
        load(["-"], cwd=place, stdin=io.StringIO(text), environ={}, home=place / "home", boxes=("debian-13",))
    except InvalidLabError as error:
        details = error.details
    else:
        return "valid"
    assert details
    for detail in details:
        name, line, column = detail.split(":")[:3]
        assert name == "<stdin>"
        assert 1 <= int(line) <= len(lines), detail
        assert 1 <= int(column) <= len(lines[int(line) - 1]) + 1, detail
    return "invalid"


def paths(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path below the root."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from paths(value, (*path, key))


def at(data: Any, path: tuple[Any, ...]) -> Any:
    """The value at a path."""
    for part in path:
        data = data[part]
    return data


WORDS = st.sampled_from(
    [
        *("lan", "san-1", "san-2", "home", "pg", "web", "web-1", "db", "dev", "nas", "dc-a", "rack-a1", "site"),
        *("10.77.0.10", "10.77.0.1", "10.77.1.10", "10.77.0.0/25", "512MiB", "90s", "6379:6379", "ReadWriteOnce"),
        *("pg:/srv/pg", "home:/etc", "./src:/srv", "debian-13", "valkey/valkey:8", "vagrant", "on", "no"),
    ]
)
VALUES = st.one_of(WORDS, st.integers(-1, 400), st.booleans(), st.none(), st.just([]), st.just({}), st.text(max_size=5))


@st.composite
def mutated_lab(draw: st.DrawFn) -> str:
    """A valid lab with a few values, names or references changed."""
    data = copy.deepcopy(draw(st.sampled_from(LABS)))
    for _ in range(draw(st.integers(1, 3))):
        every = list(paths(data))
        if not every:
            break
        path = draw(st.sampled_from(every))
        holder, key = at(data, path[:-1]), path[-1]
        change = draw(
            st.sampled_from(["reference", "reference", "swap", "swap", "rename", "delete", "repeat", "value"])
        )
        if change == "value":
            holder[key] = draw(VALUES)
        elif change == "delete":
            del holder[key]
        elif change == "rename" and isinstance(holder, dict):
            holder[draw(WORDS)] = holder.pop(key)
        elif change == "repeat" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif change == "swap":
            # A value of the same kind from elsewhere: well formed, and wrong in its new place only as a reference.
            same = [other for other in every if other[-1] == key and other != path] or [path]
            holder[key] = copy.deepcopy(at(data, draw(st.sampled_from(same))))
        elif isinstance(holder[key], str):
            holder[key] = draw(WORDS)
    return dump(data)


PIECES = [
    *("&a ", "*a", "<<: *a\n", '"\\0"', '"\\ud800"', "!!str ", "0o17", "12:30", "? ", "- ", "---\n", "lan: "),
    "x-a: &a {b: *a}\n",
]
"""What YAML gives a meaning to."""


@st.composite
def broken_text(draw: st.DrawFn) -> str:
    """The text of a valid lab with characters put in, taken out or doubled."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        insert = draw(
            st.one_of(
                st.sampled_from(PIECES),
                st.sampled_from(list("{}[]:,&*!|>'\"#%@`-? \t\n\r\x85\u2028\0é図")),
                st.text(max_size=4),
            )
        )
        text = text[:start] + insert + text[end:]
    return text


@pytest.fixture
def counted(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place, with every lab counted that the cross-checks see whole: no value of it is wrong by itself."""
    (place / "app.py").write_text("pass\n")
    original = resolve

    def spy(*arguments: Any, **named: Any) -> Any:
        result = original(*arguments, **named)
        COUNTED["crossed"] += not named["broken"]
        COUNTED["refused by cross-checks"] += not named["broken"] and result[0] is None
        return result

    monkeypatch.setattr("labctl.source.load.resolve", spy)
    return place


def test_mutated_labs_are_labs_or_errors_and_enough_reach_the_cross_checks(counted: Path) -> None:
    COUNTED.clear()

    @times(400)
    @given(mutated_lab())
    def run(text: str) -> None:
        COUNTED["all"] += 1
        COUNTED[outcome(text, counted)] += 1

    run()
    assert COUNTED["crossed"] >= 0.3 * COUNTED["all"], COUNTED
    assert COUNTED["refused by cross-checks"] >= 0.03 * COUNTED["all"], COUNTED
    assert COUNTED["valid"], COUNTED


@times(250)
@given(broken_text())
def test_broken_text_gives_a_lab_or_errors_whose_lines_exist(place: Path, text: str) -> None:
    outcome(text, place)


@times(400)
@given(st.text(max_size=200))
def test_any_text_gives_a_lab_or_errors_whose_lines_exist(place: Path, text: str) -> None:
    outcome(text, place)
