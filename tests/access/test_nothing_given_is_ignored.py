"""What is given on the command line and cannot be is said at once: a file that is not there, a user without a key."""

from __future__ import annotations

import json
import time

import pytest

from tests.access.conftest import Labctl

pytestmark = pytest.mark.engine


@pytest.mark.parametrize(
    "argv",
    [
        ("status",),
        ("inspect",),
        ("logs", "dev"),
        ("cp", "dev:/etc/hostname", "."),
        ("forward", "dev", "22"),
        ("ssh-config",),
        ("stop", "dev"),
        ("down",),
        ("test",),
        ("plan",),
        ("up",),
    ],
    ids=lambda argv: argv[0],
)
def test_a_lab_file_that_does_not_exist(labctl: Labctl, argv: tuple[str, ...]) -> None:
    done = labctl(*argv, "-f", "nosuch.yaml")
    assert done.returncode == 9, done
    assert b"nosuch.yaml does not exist" in done.stderr
    assert b"hint: " in done.stderr


@pytest.mark.parametrize(
    ("argv", "code"),
    [(["dev", "-f", "--tail", "1"], 9), (["-f", "dev"], 9), (["dev", "-f", "x.yaml"], 9), (["dev", "-f"], 2)],
)
def test_the_habit_of_tail(labctl: Labctl, argv: list[str], code: int) -> None:
    done = labctl("logs", *argv)
    assert done.returncode == code, done
    assert b"-F, or --follow" in done.stderr
    assert b"no node" not in done.stderr


def test_a_user_without_a_key(labctl: Labctl) -> None:
    began = time.monotonic()
    for user, hint in (("root", b"labctl exec dev -- bash"), ("nobody", b"labctl exec -u nobody dev -- bash")):
        done = labctl("ssh", "-u", user, "dev", "--", "true")
        assert done.returncode == 125
        assert b"these can: lab\n" in done.stderr
        assert hint in done.stderr
        assert b"Permission denied" not in done.stderr
    assert time.monotonic() - began < 20


def test_a_user_with_a_key_that_the_lab_file_does_not_know(labctl: Labctl) -> None:
    make = "useradd -m -s /bin/bash carol; cp /etc/lab/authorized_keys/lab /etc/lab/authorized_keys/carol"
    labctl.ok("exec", "dev", "--", "sh", "-c", make)
    try:
        assert labctl.ok("ssh", "-u", "carol", "dev", "--", "id -un") == b"carol\n"
    finally:
        labctl.ok("exec", "dev", "--", "sh", "-c", "userdel -r carol 2>&1; rm /etc/lab/authorized_keys/carol")


def test_nodes_that_do_not_run_are_not_asked(labctl: Labctl) -> None:
    file = labctl.directory / "asleep.yaml"
    text = (labctl.directory / "lab.yaml").read_text().partition("checks:")[0]
    file.write_text(
        f"""{text}
checks:
  from: {{tcp: "web-1:22", from: dev}}
  to: {{tcp: "dev:22", from: web-1}}
  to-by-host: {{http: "http://dev.{labctl.name}.internal/"}}
  on: {{run: "true", on: dev}}
  awake: {{tcp: "web-1:22"}}
"""
    )
    labctl.ok("stop", "dev")
    try:
        began = time.monotonic()
        done = labctl("test", "-f", "asleep.yaml", "-o", "json", "from", "to", "to-by-host", "on", "awake")
        took = time.monotonic() - began
    finally:
        labctl.ok("start", "dev")
    assert done.returncode == 6
    assert took < 8
    found = {
        check["name"]: (check["state"], check["attempts"], check["output"])
        for check in json.loads(done.stdout)["checks"]
    }
    asleep = ("failed", 0, "dev is not running (exited)")
    assert {found[name] for name in ("from", "to", "to-by-host", "on")} == {asleep}
    assert found["awake"][0] == "passed"
    assert b"hint: labctl start dev\n" in done.stderr
    assert b"not tried" in done.stderr


def test_a_restart_leaves_no_error_of_sshd(labctl: Labctl) -> None:
    labctl.ok("restart", "dev")
    assert b"kex_exchange" not in labctl.ok("logs", "dev", "--since", "60s")


def test_a_picture_of_a_lab_that_is_up_has_its_addresses(labctl: Labctl) -> None:
    nodes = json.loads(labctl.ok("status", "-o", "json"))["nodes"]
    addresses = {address for node in nodes for address in node["addresses"].values()}
    assert len(addresses) >= 4
    for form in ("svg", "mermaid", "dot"):
        picture = labctl.ok("graph", "--format", form).decode()
        assert [address for address in addresses if address not in picture] == []
