"""The kinds dns, mount and desktop: what they ask of a node, and what they make of the answer."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from labctl.checks import CheckResult, run_check
from labctl.checks.desktop import judge
from labctl.model.lab import Check
from labctl.providers.base import Result
from tests.checks.test_checks import FakeShell, World, host_check, node_check

# ---------------------------------------------------------------- dns


def answered(text: str, name: str = "web-1") -> CheckResult:
    return node_check(FakeShell(Result(0, text.encode(), b"")), "dns", name)


def test_a_name_of_the_lab_has_the_address_that_it_has_in_the_lab() -> None:
    assert answered("10.1.0.2\n").output == "web-1 is 10.1.0.2"
    wrong = answered("10.9.9.9\n10.1.0.2\n")
    assert (wrong.state, wrong.output) == (
        "failed",
        "web-1 is 10.1.0.2, 10.9.9.9; in this lab it is 10.1.0.2, 10.2.0.2",
    )


def test_a_name_of_elsewhere_may_have_any_address() -> None:
    assert answered("192.0.2.7\n", "example.invalid").state == "passed"


def test_what_does_not_resolve_is_said() -> None:
    result = node_check(FakeShell(Result(1, b"", b"nosuch does not resolve\n")), "dns", "nosuch")
    assert (result.state, result.output) == ("failed", "nosuch does not resolve")
    assert "it has neither" in node_check(FakeShell(Result(97, b"", b"it has neither\n")), "dns", "x").output


def test_dns_from_this_host_translates_names_of_the_lab() -> None:
    assert host_check("dns", "web-1").output == "web-1 is 10.1.0.2, 10.2.0.2"
    assert host_check("dns", "localhost").state == "passed"
    assert host_check("dns", "no-such-name.invalid").output.startswith("no-such-name.invalid does not resolve")


# ---------------------------------------------------------------- mount


def test_what_is_mounted_read_only_is_only_read() -> None:
    asked = []
    for read_only in (frozenset[str](), frozenset({"dev"})):
        shell = FakeShell(Result(0, b"nfs4 is mounted", b""))
        run_check(Check("c", "mount", "/x y", "dev", read_only=read_only), World(dev=shell))
        asked.append(list(shell.commands[0][-2:]))
    assert asked == [["/x y", "rw"], ["/x y", "ro"]]


def mounted(path: str, access: str) -> tuple[int, str]:
    from labctl.checks.mount import _MOUNTED

    done = subprocess.run(["sh", "-c", _MOUNTED, "sh", path, access], capture_output=True, text=True, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def test_a_directory_is_no_mount(tmp_path: Path) -> None:
    assert mounted(str(tmp_path), "rw") == (1, f"nothing is mounted on {tmp_path}")


def test_a_mount_that_takes_nothing_fails_unless_it_is_read_only() -> None:
    code, said = mounted("/proc", "rw")
    assert code == 1, said
    assert mounted("/proc", "ro") == (0, "proc is mounted, to be read only")


# ---------------------------------------------------------------- desktop

BLACK, GREY = b"\0\0\0", b"\x40\x40\x40"


def noise(count: int) -> bytes:
    return random.Random(1).randbytes(3 * count)


@pytest.mark.parametrize(
    ("rgb", "said"),
    [
        (BLACK * 100_000, "the screen (400x250) is black"),
        (b"\1\2\3" * 99_900 + noise(100), "the screen (400x250) is black"),
        (GREY * 100_000, "the screen (400x250) is all of one colour, #404040"),
        (GREY * 99_900 + noise(100), "the screen (400x250) is all of one colour, #404040"),
        (b"", "the screen (400x250) has no pixels"),
    ],
)
def test_what_is_no_desktop(rgb: bytes, said: str) -> None:
    finding = judge(400, 250, rgb)
    assert (finding.holds, finding.output) == (False, said)


@pytest.mark.parametrize("rgb", [GREY * 97_000 + noise(3000), BLACK * 97_000 + b"\xff\xff\xff" * 3000])
def test_a_panel_alone_is_a_desktop(rgb: bytes) -> None:
    assert judge(400, 250, rgb).holds


def test_the_screen_of_the_node_is_looked_at() -> None:
    world = World(dev=FakeShell(Result(0, b"", b"")))
    check = Check("c", "desktop", "dev", "dev", retries=1, interval=0.01)
    world.pixels = BLACK * 8
    assert run_check(check, world).output == "the screen (4x2) is black"
    world.pixels = BLACK * 4 + GREY * 4
    assert run_check(check, world).state == "passed"
