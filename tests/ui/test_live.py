"""The live display, on a terminal that a program plays."""

from __future__ import annotations

import io
import threading
import time
from contextlib import suppress

import pyte
import pytest

from labctl.events import Event, Notice, PlanReady, StepOutput
from labctl.ui.board import Board
from labctl.ui.colour import Ink
from labctl.ui.live import Canvas, LiveDisplay
from tests.ui.events import BEGAN, done, run, started

IMAGE = "image/labctl/debian-13:0a1b"


class Screen(io.StringIO):
    """A terminal of a given size; `lines` is what can be read on it."""

    def __init__(self, columns: int = 60, height: int = 16) -> None:
        super().__init__()
        self.screen = pyte.HistoryScreen(columns, height, history=500)
        self.screen.set_mode(pyte.modes.LNM)
        self.stream = pyte.Stream(self.screen)
        self.size = (columns, height)
        self.writes: list[str] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.writes.append(text)
        self.stream.feed(text)
        return len(text)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display if line.strip()]


def live(screen: Screen, clock: float = BEGAN, *, verbose: bool = False) -> LiveDisplay:
    return LiveDisplay(
        screen, verbose=verbose, environ={"TERM": "xterm"}, clock=lambda: clock, size=lambda: screen.size
    )


def until(screen: Screen, words: str) -> None:
    end = time.monotonic() + 5
    while not any(words in line for line in screen.lines):
        assert time.monotonic() < end, f"never saw {words!r} in {screen.lines}"
        time.sleep(0.02)


def test_tree_then_summary() -> None:
    screen = Screen()
    events = run()
    with live(screen, BEGAN + 5) as display:
        for event in events[:7]:
            display.emit(event)
        until(screen, "Setting up icewm (3.3)")
        assert screen.lines[:2] == ["`ide` is left out", "warning: the disk is nearly full"]
        shown = [line.translate({ord(frame): "*" for frame in "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"}) for line in screen.lines[2:]]
        assert shown == [
            "shop  1/6 steps  0.0s",
            "├─ network lan  created",
            "├─ image debian-13  * building  5.0s",
            "│    Setting up icewm (3.3)",
            "├─ web-1            · waiting",
            "└─ web-2            · waiting",
        ]
        for event in events[7:]:
            display.emit(event)
    assert screen.lines == [
        "`ide` is left out",
        "warning: the disk is nearly full",
        "✗ failed: start node web-2 (0.3s): port 127.0.0.1:80 is take",
        "n",
        "    bind: address already in use",
        "  hint: stop what listens there",
        "✗ shop: 4 steps done, 1 failed, 1 skipped in 1m12s",
    ]


def test_cursor_comes_back_also_after_an_error() -> None:
    screen = Screen()
    with suppress(KeyboardInterrupt), live(screen) as display:
        display.emit(PlanReady("shop", (("start node/a", "start", "node/a", "x"),)))
        until(screen, "shop")
        assert screen.screen.cursor.hidden
        raise KeyboardInterrupt
    assert not screen.screen.cursor.hidden
    assert screen.lines == []


def test_verbose_output_scrolls_by_above() -> None:
    screen = Screen()
    with live(screen, verbose=True) as display:
        for event in run()[:7]:
            display.emit(event)
        until(screen, "| Setting up icewm (3.3)")


def test_a_pause_leaves_the_terminal_alone() -> None:
    screen = Screen()
    with live(screen) as display:
        display.emit(PlanReady("shop", (("start node/a", "start", "node/a", "x"),)))
        until(screen, "shop")
        with display.pause():
            assert screen.lines == []
            assert not screen.screen.cursor.hidden
            count = len(screen.writes)
            time.sleep(0.3)
            assert len(screen.writes) == count
        until(screen, "shop")


def test_every_picture_is_one_write_and_never_clears_the_screen() -> None:
    screen = Screen()
    with live(screen) as display:
        for event in run():
            display.emit(event)
            time.sleep(0.02)
    pictures = screen.writes[1:-1]
    assert all("\x1b[2J" not in text and "\x1b[H" not in text for text in pictures)
    assert all(text.endswith("\x1b[J") for text in pictures)


@pytest.mark.parametrize(("columns", "height"), [(12, 5), (20, 4), (30, 8), (60, 2), (1, 1)])
def test_narrow_and_low_terminals(columns: int, height: int) -> None:
    screen = Screen(columns, height)
    with live(screen) as display:
        for event in many(30):
            display.emit(event)
        time.sleep(0.25)
        if columns > 4 and height > 1:
            assert screen.lines[0].startswith("shop")
    assert len(screen.screen.history.top) <= 1


def many(count: int) -> list[Event]:
    refs = [f"node/web-{number}" for number in range(count)]
    plan = PlanReady("shop", tuple((f"start {ref}", "start", ref, "x") for ref in refs))
    return [plan, *(started("start", ref, 0) for ref in refs)]


def test_lines_that_a_narrower_window_wrapped_are_all_taken_back() -> None:
    out = io.StringIO()
    size = [(40, 20)]
    canvas = Canvas(out, ink=Ink(out, {}), size=lambda: size[0])
    canvas.draw([[("x" * 30, "")], [("y" * 10, "")]])
    size[0] = (12, 20)
    out.truncate(0)
    out.seek(0)
    canvas.draw([])
    assert out.getvalue().startswith("\r\x1b[4A")


def test_wide_characters_count_twice() -> None:
    screen = Screen(20, 6)
    with live(screen) as display:
        display.emit(PlanReady("shop", ((f"build {IMAGE}", "build", IMAGE, "x"),)))
        display.emit(started("build", IMAGE, 0))
        display.emit(StepOutput(f"build {IMAGE}", IMAGE, "漢" * 30, BEGAN))
        until(screen, "…")
        assert len(screen.lines) == 3


def test_events_from_many_threads() -> None:
    screen = Screen(80, 24)
    with live(screen) as display:
        display.emit(PlanReady("shop", ()))

        def shout() -> None:
            for _ in range(100):
                display.emit(Notice("x"))

        threads = [threading.Thread(target=shout) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert "".join(screen.writes).count("x\x1b[K\n") == 800


def words(board: Board, *, height: int) -> list[str]:
    return ["".join(text for text, _ in line) for line in board.lines(now=BEGAN + 3, height=height, spinner="*")]


def test_too_many_nodes_are_counted_and_trouble_is_shown_first() -> None:
    board = Board()
    for event in many(6):
        board.apply(event, now=BEGAN)
    for number in range(3):
        board.apply(done("start", f"node/web-{number}", 1, 1.0), now=BEGAN)
    for event in run()[10:11]:
        board.apply(event, now=BEGAN)
    assert words(board, height=6) == [
        "shop  4/6 steps  3.0s",
        "├─ web-2  ✗ failed",
        "├─ web-3  * starting  3.0s",
        "├─ web-4  * starting  3.0s",
        "├─ web-5  * starting  3.0s",
        "└─ … 2 done",
    ]


def test_a_second_plan_takes_the_place_of_the_first() -> None:
    board = Board()
    board.apply(PlanReady("shop", (("create network/lan", "create", "network/lan", "x"),)), now=BEGAN)
    board.apply(done("create", "network/lan", 0, 1.0), now=BEGAN)
    board.apply(PlanReady("shop", (("start node/a", "start", "node/a", "x"),)), now=BEGAN + 2)
    assert words(board, height=10) == ["shop  0/1 steps  3.0s", "└─ a  · waiting"]
