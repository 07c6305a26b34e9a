"""What all tests share: a labctl of their own in every test, and what they may ask of the host."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.host_state import describe, read_host, settled
from tests.support.requirements import MARKERS, lacking, required


def pytest_configure() -> None:
    """Be interruptible: a shell ignores SIGINT for what it puts into the background, `nohup` ignores SIGHUP, and
    children inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``-n``: the tests that use the engine in one process, one after another."""
    from tests.support.scheduling import EngineApart

    return EngineApart(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose host lacks what it needs; fail it when LABCTL_REQUIRE says that it must be there."""
    for marker, needs in MARKERS.items():
        if item.get_closest_marker(marker) is None:
            continue
        for need in needs:
            reason = lacking(need)
            if reason is not None and need in required():
                pytest.fail(f"LABCTL_REQUIRE has {need}: {reason}", pytrace=False)
            if reason is not None:
                pytest.skip(reason)


@pytest.fixture(autouse=True)
def labctl_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """labctl's home of this test alone, and an environment without anybody's settings for labctl."""
    for name in [*os.environ]:
        if name.startswith("LABCTL_") and name != "LABCTL_REQUIRE":
            monkeypatch.delenv(name)
    for name in ("CI", "FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "labctl-home"
    monkeypatch.setenv("LABCTL_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def session_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory below which all labs of this session lie (`tmp_path` is below it too)."""
    return tmp_path_factory.getbasetemp().resolve()


@pytest.fixture
def host_state(session_directory: Path, labctl_home: Path) -> Iterator[None]:
    """After the test the host has nothing that it had not before; cached images may stay.

    Containers, networks, volumes, loop devices, mounts, links, iptables rules, listeners, processes, and labctl's own
    state (`LABCTL_HOME`, as long as the test keeps to it).
    """
    before = read_host(session_directory)
    yield
    left = settled(before, session_directory)
    if labs := sorted(path.name for path in labctl_home.glob("labs/*")):
        left["state"] = labs
    assert not left, f"left behind:\n{describe(left)}"
