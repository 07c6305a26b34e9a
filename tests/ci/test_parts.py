"""The parts of a job that need no engine: its exit code, its page, what it masks, a lab of its own for every run."""

from __future__ import annotations

import os
import random
import signal
import time
from html.parser import HTMLParser
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from xml.etree import ElementTree

import pytest

from labctl import api
from labctl.ci.evidence import Mask, Report
from labctl.ci.interrupts import Interrupts, Stopped
from labctl.ci.unique import apart, renamed
from labctl.ci.verdict import of_up, verdict
from labctl.documents.junit import junit
from labctl.documents.report import Page, headline, html, markdown
from labctl.documents.verdicts import CheckDocument, PhaseDocument, PipelineDocument
from labctl.errors import InvalidLabError, UsageError
from labctl.events import PlanReady, StepOutput
from labctl.plan.model import Observed
from labctl.source.load import Loaded

# ---------------------------------------------------------------- one exit code


@pytest.mark.parametrize(
    ("codes", "left", "number", "code"),
    [
        ([0, 0, 0], False, None, 0),
        ([6, 0], True, None, 1),
        ([3, 5], False, None, 3),
        ([6, 5, 7, 8, 4], False, None, 4),
        ([6, 5, 7, 8], False, None, 8),
        ([6, 5, 7], False, None, 7),
        ([6, 5], False, None, 5),
        ([6], False, None, 6),
        ([5], False, signal.SIGTERM, 143),
        ([5], True, signal.SIGTERM, 1),
        ([9], False, None, 9),
    ],
)
def test_the_first_of_what_went_wrong_wins(codes: list[int], *, left: bool, number: int | None, code: int) -> None:
    assert verdict(codes, left=left, signal=number) == code


def test_a_lab_of_which_nothing_came_up_does_not_look_like_leftovers() -> None:
    assert [of_up(code) for code in (0, 1, 4, 5)] == [0, 7, 4, 5]


# ---------------------------------------------------------------- signals and the deadline


def told(number: int) -> None:
    """Get a signal, and be in the midst of something."""
    os.kill(os.getpid(), number)
    time.sleep(5)


def test_a_signal_ends_the_work_and_not_the_cleaning() -> None:
    with Interrupts() as interrupts:
        with pytest.raises(Stopped), interrupts.work(time.monotonic() + 60):
            told(signal.SIGTERM)
        with interrupts.cleaning(time.monotonic() + 60):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
        assert (interrupts.signal, interrupts.late) == (signal.SIGTERM, False)
        with pytest.raises(Stopped), interrupts.work(time.monotonic() + 60):
            raise AssertionError


def test_the_deadline_ends_the_work_and_a_later_one_the_cleaning() -> None:
    began = time.monotonic()
    with Interrupts() as interrupts:
        with pytest.raises(Stopped), interrupts.work(began + 0.1):
            time.sleep(5)
        assert interrupts.late
        with pytest.raises(Stopped), interrupts.cleaning(time.monotonic() + 0.1):
            time.sleep(5)
    assert time.monotonic() - began < 2


# ---------------------------------------------------------------- the page

CHECK = CheckDocument(
    name="site",
    type="http",
    subject="http://web/<x>",
    node="dev",
    state="failed",
    attempts=3,
    seconds=2.5,
    output="status 500, not 200\n<b>Oops | `x`</b>\x1b",
)
JOB = PipelineDocument(
    lab="shop",
    exit_code=6,
    because="1 of 2 checks failed",
    seconds=12.34,
    phases=[
        PhaseDocument(name="up", state="passed", seconds=8.0),
        PhaseDocument(
            name="checks",
            state="failed",
            seconds=2.5,
            error="1 of 2 checks failed",
            details=["site: it said", "```", "<script>"],
            hint="look at <it>",
        ),
        PhaseDocument(name="down", state="passed", seconds=1.0),
    ],
    checks=[CHECK],
    left=[],
    kept=False,
    signal=None,
)
PAGE = Page(JOB, {"web": ["line <1>", "line 2"]}, {"dev": b"\x89PNG"}, ["log of db: <gone>"])


class Elements(HTMLParser):
    """What an HTML text has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_html_needs_nothing_else_and_runs_nothing() -> None:
    page = Elements(html(PAGE))
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert [link.partition(",")[0] for link in page.links] == ["data:image/png;base64"]
    for words in ("1 of 2 checks failed", "status 500, not 200", "line <1>", "log of db: <gone>", "look at <it>"):
        assert words in page.text


def test_the_markdown_says_first_what_failed_and_stays_a_table() -> None:
    lines = markdown(PAGE).splitlines()
    assert lines[0] == "# lab shop: failed with exit code 6 after 12.3 s: 1 of 2 checks failed"
    text = "\n".join(lines)
    assert "````text\nsite: it said\n```\n<script>\n````" in text
    assert "| ❌ | site | http http://web/\\<x\\> from dev | 2.5 s | status 500, not 200 |" in text
    assert "![The desktop of dev](screens/dev.png)" in text


def test_a_job_that_passed_says_so() -> None:
    from dataclasses import replace

    passed = replace(JOB, exit_code=0, because="", checks=[replace(CHECK, state="passed")])
    assert headline(passed) == "lab shop: passed in 12.3 s, 1 check holds"


def test_junit_has_the_checks_and_the_job() -> None:
    root = ElementTree.fromstring(junit(JOB).partition("\n")[2])
    assert {key: root.get(key) for key in ("tests", "failures", "skipped")} == {
        "tests": "3",
        "failures": "1",
        "skipped": "0",
    }
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert list(cases) == ["site", "up", "down"]
    assert cases["site"].findtext("failure") == "status 500, not 200\n<b>Oops | `x`</b>?"


# ---------------------------------------------------------------- secrets


def test_secrets_are_masked_in_all_that_is_written(tmp_path: Path) -> None:
    mask = Mask(["canary-1", "four", "first line of a key\nsecond line of it"])
    report = Report(tmp_path / "r", mask, clock=lambda: 0.0)
    report.emit(StepOutput("s", "node/web", "it says canary-1 and four", 0.0))
    report.emit(PlanReady("shop", (("create node/web", "create", "node/web", "canary-1"),)))
    report.write("logs/web.log", "canary-1\nsecond line of it\nfour\n")
    texts = "".join(path.read_text() for path in sorted((tmp_path / "r").rglob("*")) if path.is_file())
    assert "canary" not in texts
    assert "second line of it" not in texts
    assert "four" in texts


def test_a_report_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="the report cannot be written"):
        Report(tmp_path / "file", Mask())


# ---------------------------------------------------------------- a lab of its own

LAB = """\
name: shop
networks:
  lan: {{subnet: 10.77.0.0/24}}
  back: {{subnet: 10.77.4.0/22, internal: true}}
  free: {{}}
nodes:
  web:
    networks: {{lan: 10.77.0.10, back: 10.77.6.7, free: null}}
    ports: ["8080:80", "443"]
    {more}
checks:
  {check}
"""


def loaded(directory: Path, *, more: str = "run: [date]", check: str = "a: {tcp: 'web:22'}") -> Loaded:
    (directory / "lab.yaml").write_text(LAB.format(more=more, check=check))
    return api.load([str(directory / "lab.yaml")])


def test_hosts_keep_their_part_of_the_address(tmp_path: Path) -> None:
    taken = (IPv4Network("10.192.0.0/13"), IPv4Network("0.0.0.0/0"))
    seen = set()
    for seed in range(20):
        moved, notes = apart(loaded(tmp_path), Observed("shop", taken_subnets=taken), chance=random.Random(seed))
        lab = moved.lab
        assert lab.name.startswith("shop-")
        seen.add(lab.name)
        lan, back = lab.networks["lan"].subnet, lab.networks["back"].subnet
        assert lan is not None
        assert back is not None
        assert (lan.prefixlen, back.prefixlen) == (24, 22)
        assert not any(each.overlaps(taken[0]) or each.overlaps(IPv4Network("10.77.0.0/16")) for each in (lan, back))
        assert not lan.overlaps(back)
        web = lab.nodes["web"]
        assert web.interfaces == {
            "lan": lan.network_address + 10,
            "back": IPv4Address(int(back.network_address) + 2 * 256 + 7),
            "free": None,
        }
        assert [port.host for port in web.ports] == [None, None]
        assert f"network lan is {lan} in this run, not 10.77.0.0/24" in notes
        assert "port 80 of web is published on a free port in this run, not on 8080" in notes
    assert len(seen) == 20


@pytest.mark.parametrize(
    ("more", "check", "line", "words"),
    [
        ("run: ['ping -c1 10.77.0.10']", "a: {tcp: 'web:22'}", 10, "write the name instead: web"),
        (
            "environment: {PEER: 'http://10.77.7.1/'}",
            "a: {tcp: 'web:22'}",
            10,
            "10.77.7.1 is an address",
        ),
        ("files: {/x: {content: 'nfs 10.77.0.9'}}", "a: {tcp: 'web:22'}", 10, "an address of network lan"),
        ("files: {/x: {source: ./x.conf}}", "a: {tcp: 'web:22'}", 10, "line 2 of that file: 10.77.0.9"),
        ("run: [date]", "a: {http: 'http://10.77.0.10/'}", 12, "write the name instead: web"),
        ("run: [date]", "a: {tcp: 'web.shop.internal:22'}", 12, "write web alone"),
        ("run: [date]", "a: {tcp: 'localhost:8080'}", 12, "port 8080 of the host is another one in each run"),
    ],
)
def test_a_literal_address_in_text_stops_at_its_line(
    tmp_path: Path, more: str, check: str, line: int, words: str
) -> None:
    (tmp_path / "x.conf").write_text("first\naddress 10.77.0.9\n")
    with pytest.raises(InvalidLabError) as raised:
        apart(loaded(tmp_path, more=more, check=check), Observed("shop"))
    (block,) = raised.value.details
    assert f"lab.yaml:{line}:" in block
    assert words in block


def test_addresses_of_elsewhere_are_no_literals_of_the_lab(tmp_path: Path) -> None:
    apart(loaded(tmp_path, more="run: ['ping 10.78.0.10; ping 110.77.0.10; echo 10.77.0.10.5']"), Observed("shop"))


def test_another_name(tmp_path: Path) -> None:
    assert renamed(loaded(tmp_path), "other").lab.name == "other"
    for name in ("Other", "a_b", "x" * 41, "-a"):
        with pytest.raises(UsageError):
            renamed(loaded(tmp_path), name)
