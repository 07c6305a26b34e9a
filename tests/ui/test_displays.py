"""Plain lines and NDJSON, as text; which display is chosen when."""

from __future__ import annotations

import io
import json
import threading
from datetime import UTC

import pytest

from labctl.events import Notice
from labctl.ui.display import Mode, choose_mode, open_display
from labctl.ui.plain import PlainDisplay
from labctl.ui.words import clean, duration
from tests.ui.events import BEGAN, run

PLAIN = """\
14:00:00 shop: 6 steps
14:00:00 `ide` is left out
14:00:00 warning: the disk is nearly full
14:00:00 building image labctl/debian-13:0a1b
14:00:00 creating network lan
14:00:00 created network lan (0.1s)
14:01:10 built image labctl/debian-13:0a1b (1m10s)
14:01:10 starting node web-1
14:01:10 starting node web-2
14:01:10 failed: start node web-2 (0.3s): port 127.0.0.1:80 is taken
14:01:10   bind: address already in use
14:01:10   hint: stop what listens there
14:01:10 skipped: verify node web-2: start node/web-2 did not succeed
14:01:10 started node web-1 (0.5s)
14:01:10 waiting for node web-1
14:01:12 node web-1 is ready (1.5s)
14:00:00 shop: 4 steps done, 1 failed, 1 skipped in 1m12s
"""


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    """A stream whose reader went away."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def plain(*, verbose: bool = False, stream: io.StringIO | None = None, environ: dict[str, str] | None = None) -> str:
    out = stream or io.StringIO()
    display = PlainDisplay(out, verbose=verbose, environ=environ or {}, clock=lambda: BEGAN, zone=UTC)
    with display:
        for event in run():
            display.emit(event)
    return out.getvalue()


def test_plain_is_one_line_per_event() -> None:
    assert plain() == PLAIN


def test_verbose_adds_what_steps_print_made_harmless() -> None:
    added = [line for line in plain(verbose=True).splitlines() if line not in PLAIN.splitlines()]
    assert added == ["14:00:01 image labctl/debian-13:0a1b | Setting up icewm (3.3)"]


def test_colour_only_on_terminals_that_want_it() -> None:
    assert "\x1b[" in plain(stream=Terminal(), environ={"TERM": "xterm"})
    assert "\x1b[" not in plain(stream=Terminal(), environ={"TERM": "xterm", "NO_COLOR": "1"})
    assert "\x1b[" not in plain(stream=Terminal(), environ={"TERM": "dumb"})
    assert "\x1b[" in plain(environ={"FORCE_COLOR": "1"})


def test_json_is_one_event_per_line() -> None:
    out, err = io.StringIO(), io.StringIO()
    with open_display("json", stdout=out, stderr=err, clock=lambda: BEGAN) as display:
        for event in run():
            display.emit(event)
    assert err.getvalue() == ""
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["type"] for line in lines[:5]] == ["plan", "notice", "notice", "step-started", "step-started"]
    assert all(line["version"] == 1 and line["time"].endswith("Z") for line in lines)
    assert lines[0]["steps"][1] == {
        "id": "create network/lan",
        "verb": "create",
        "ref": "network/lan",
        "because": "not there",
    }
    assert lines[10] == {
        "version": 1,
        "type": "step-ended",
        "time": "2026-11-20T14:01:10.300Z",
        "id": "start node/web-2",
        "verb": "start",
        "ref": "node/web-2",
        "outcome": "failed",
        "seconds": 0.3,
        "error": "port 127.0.0.1:80 is taken",
        "details": ["bind: address already in use"],
        "hint": "stop what listens there",
    }
    assert lines[-1]["counts"] == {"done": 4, "failed": 1, "skipped": 1}


def test_json_leaves_stdout_to_a_document() -> None:
    out, err = io.StringIO(), io.StringIO()
    with open_display("json", data_on_stdout=True, stdout=out, stderr=err, clock=lambda: BEGAN) as display:
        display.emit(Notice("hello"))
    assert out.getvalue() == ""
    assert json.loads(err.getvalue())["text"] == "hello"


def test_quiet_says_nothing() -> None:
    out = io.StringIO()
    with open_display("quiet", stdout=out, stderr=out) as display:
        for event in run():
            display.emit(event)
    assert out.getvalue() == ""


@pytest.mark.parametrize("mode", ["plain", "json", "live"])
def test_a_reader_that_went_away_stops_nothing(mode: Mode) -> None:
    with open_display(mode, stdout=Gone(), stderr=Gone(), environ={}) as display:
        for event in run():
            display.emit(event)


@pytest.mark.parametrize("mode", ["plain", "json"])
def test_lines_of_many_threads_stay_whole(mode: Mode) -> None:
    out = io.StringIO()
    with open_display(mode, stdout=out, stderr=out, environ={}, clock=lambda: BEGAN) as display:

        def shout(number: int) -> None:
            for _ in range(50):
                display.emit(Notice(f"<{number * 11111}>"))

        threads = [threading.Thread(target=shout, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = out.getvalue().splitlines()
    assert len(lines) == 400
    assert all(line.count("<") == line.count(">") == 1 for line in lines)


@pytest.mark.parametrize(
    ("asked", "terminal", "environ", "mode"),
    [
        ("auto", True, {"TERM": "xterm"}, "live"),
        ("auto", False, {"TERM": "xterm"}, "plain"),
        ("auto", True, {"TERM": "dumb"}, "plain"),
        ("auto", True, {}, "plain"),
        ("auto", True, {"TERM": "xterm", "CI": "true"}, "plain"),
        ("auto", True, {"TERM": "xterm", "CI": "false"}, "live"),
        ("live", False, {"CI": "1"}, "live"),
        ("json", True, {"TERM": "xterm"}, "json"),
        ("plain", True, {"TERM": "xterm"}, "plain"),
    ],
)
def test_choice(asked: str, *, terminal: bool, environ: dict[str, str], mode: str) -> None:
    stream = Terminal() if terminal else io.StringIO()
    assert choose_mode(asked, stderr=stream, environ=environ) == mode
    assert choose_mode(asked, quiet=True, stderr=stream, environ=environ) == "quiet"


def test_durations_are_short() -> None:
    assert [duration(value) for value in (0, 0.44, 9.94, 9.96, 59.6, 185, 7800)] == [
        "0.0s",
        "0.4s",
        "9.9s",
        "10s",
        "1m00s",
        "3m05s",
        "2h10m",
    ]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain", "plain"),
        ("a\tb", "a    b"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b[?25lhidden\x1b[1;31m red\x1b[0m", "hidden red"),
        ("old\rnew\r\n", "new"),
        ("bell\x07 null\x00 \x9b31m", "bell null 31m"),
        ("漢字 é", "漢字 é"),
    ],
)
def test_output_cannot_drive_the_terminal(line: str, shown: str) -> None:
    assert clean(line) == shown
