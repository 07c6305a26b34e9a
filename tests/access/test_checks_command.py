"""`labctl test` on the real lab: what the checks of its file show, and how that is printed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.access.conftest import Labctl

pytestmark = pytest.mark.engine

EXPECTED = {
    "tcp-from-node": ("passed", "connected to web-2:7001"),
    "tcp-from-host": ("passed", "connected to web-2."),
    "tcp-from-image": ("passed", "connected to web-1:22"),
    "closed": ("failed", "Connection refused"),
    "http-from-image": ("failed", "thing cannot try http: it has no curl; try it from a box node (`from:`)"),
    "http-from-node": ("passed", "status 200"),
    "http-from-host": ("passed", "status 200"),
    "wrong-status": ("failed", "status 200, not 404\nhello"),
    "as-root": ("passed", "uid 0"),
    "as-it-is": ("passed", "a  b"),
    "everywhere": ("passed", "web-1: web-1\nweb-2: web-2"),
    "somewhere": ("failed", "web-2: exit code 1"),
    "hangs": ("failed", "no end within 1 s"),
    "name": ("passed", "web-2 is "),
    "name-from-image": ("passed", "web is "),
    "name-from-host": ("passed", ".internal is "),
    "no-name": ("failed", ".internal does not resolve"),
    "mounted": ("passed", "is mounted and can be written to"),
    "mounted-to-read": ("passed", "is mounted, to be read only"),
}


def test_every_check_finds_what_is_there(labctl: Labctl) -> None:
    done = labctl("test", "-o", "json")
    assert done.returncode == 6
    document = json.loads(done.stdout)
    assert (document["version"], document["kind"], document["passed"]) == (1, "checks", False)
    found = {check["name"]: (check["state"], check["output"]) for check in document["checks"]}
    assert list(found) == list(EXPECTED)
    for name, (state, said) in EXPECTED.items():
        assert (found[name][0], said in found[name][1]) == (state, True), (name, found[name])
    tries = {check["name"]: check["attempts"] for check in document["checks"]}
    assert (tries["closed"], tries["hangs"], tries["name"]) == (2, 1, 1)


def test_a_mount_that_is_gone_or_takes_nothing_fails(labctl: Labctl) -> None:
    file = labctl.directory / "mounts.yaml"
    text = (labctl.directory / "lab.yaml").read_text().partition("checks:")[0]
    writable = text.replace("data:/srv/read me:ro", "data:/srv/read me")
    absent = writable.replace("data:/srv/data", "data:/srv/absent")
    checks = "checks:\n  mounted: {mount: /srv/absent, on: dev, retries: 1}\n"
    file.write_text(absent + checks + "  read: {mount: /srv/read me, on: alone, retries: 1}\n")
    done = labctl("test", "-f", "mounts.yaml", "-o", "json")
    said = [(check["state"], check["output"]) for check in json.loads(done.stdout)["checks"]]
    assert said[0] == ("failed", "nothing is mounted on /srv/absent")
    assert said[1][0] == "failed"
    assert "nothing can be written to it" in said[1][1]


def test_failures_are_told_with_the_last_output(labctl: Labctl) -> None:
    done = labctl("test", "closed", "as-root")
    assert done.returncode == 6
    rows = done.stdout.decode().splitlines()
    assert [row.split()[:2] for row in rows] == [["CHECK", "RESULT"], ["closed", "failed"], ["as-root", "passed"]]
    text = done.stderr.decode()
    assert "1 of 2 checks failed" in text
    assert "Connection refused" in text
    assert "hint: " in text


def test_chosen_checks_that_hold(labctl: Labctl, tmp_path: Path) -> None:
    done = labctl("test", "as-root", "name", "--junit", str(tmp_path / "j.xml"), "-o", "name")
    assert (done.returncode, done.stdout) == (0, b"")
    suite = ElementTree.parse(tmp_path / "j.xml").getroot()[0]
    assert {key: suite.get(key) for key in ("tests", "failures", "skipped")} == {
        "tests": "2",
        "failures": "0",
        "skipped": "0",
    }


def test_junit_on_standard_output(labctl: Labctl) -> None:
    done = labctl("test", "-o", "junit", "wrong-status", "as-root")
    assert done.returncode == 6
    cases = {case.get("name"): case for case in ElementTree.fromstring(done.stdout)[0]}
    failure = cases["wrong-status"].find("failure")
    assert failure is not None
    assert failure.text == "status 200, not 404\nhello"
    assert cases["as-root"].find("failure") is None


def test_works_by_name_from_anywhere(labctl: Labctl, tmp_path: Path) -> None:
    elsewhere = Labctl(tmp_path, labctl.name, labctl.environ)
    assert elsewhere("test", "-n", labctl.name, "as-root").returncode == 0


def test_unknown_check(labctl: Labctl) -> None:
    done = labctl("test", "as-rot")
    assert done.returncode == 9
    assert b"did you mean as-root?" in done.stderr


def test_one_deadline_for_all(labctl: Labctl) -> None:
    began = time.monotonic()
    done = labctl("test", "closed", "hangs", "--timeout", "500ms")
    assert done.returncode == 6
    assert time.monotonic() - began < 15
    assert not labctl("exec", "dev", "--", "pgrep", "-f", "sleep 7788").stdout


def test_interrupt_ends_it(labctl: Labctl) -> None:
    import signal

    process = labctl.start("test", "hangs", "--timeout", "30s")
    time.sleep(2.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) in (130, 6)


def test_a_stopped_node_is_the_checks_failure(labctl: Labctl) -> None:
    file = labctl.directory / "stopped.yaml"
    text = (labctl.directory / "lab.yaml").read_text().partition("checks:")[0]
    file.write_text(text + 'checks:\n  down: {run: "true", on: alone, retries: 1}\n')
    labctl.ok("stop", "alone")
    try:
        done = labctl("test", "-f", "stopped.yaml")
    finally:
        labctl.ok("start", "alone")
    assert done.returncode == 6
    assert b"alone is not running (exited)" in done.stderr


def test_no_checks(labctl: Labctl) -> None:
    file = labctl.directory / "none.yaml"
    file.write_text((labctl.directory / "lab.yaml").read_text().partition("checks:")[0])
    done = labctl("test", "-f", "none.yaml")
    assert done.returncode == 0
    assert b"has no checks" in done.stderr
