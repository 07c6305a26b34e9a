"""What a hostile tester broke once: closed streams, a desktop open to all users, a sweep that came too late."""

from __future__ import annotations

import subprocess
from ipaddress import IPv4Network
from pathlib import Path
from typing import cast

import pytest

from labctl import garbage
from labctl.garbage import Garbage
from labctl.lab import home
from labctl.plan.model import ObservedNetwork
from labctl.providers.base import Provider
from tests.desktop.lab import LABCTL, DesktopLab, environment


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_error_of_labctl(redirection: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        ["sh", "-c", f'exec "$0" schema {redirection}', LABCTL],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0
    assert "Error" not in ran.stderr
    assert "error" not in ran.stderr


class _NoSnapshots:
    def parts(self, lab: str | None = None) -> list[object]:
        return []


class _Engine:
    """A provider whose lab `late` has a network; it is in use, or not."""

    expires = None

    def __init__(self) -> None:
        self.removed: list[str] = []
        self.needed = False

    def observe(self, lab: str) -> _Engine:
        return self

    @property
    def nodes(self) -> dict[str, object]:
        class Started:
            started = True

        return {"a": Started()} if self.needed else {}

    @property
    def networks(self) -> dict[str, ObservedNetwork]:
        return {"lan": ObservedNetwork("lan", "id", "labctl-late-lan", IPv4Network("10.9.9.0/24"), internal=False)}

    @property
    def volumes(self) -> dict[str, object]:
        return {}

    @property
    def snapshots(self) -> _NoSnapshots:
        return _NoSnapshots()

    def remove(self, target: ObservedNetwork) -> None:
        self.removed.append(target.name)


@pytest.mark.parametrize(("needed", "removed"), [(False, ["lan"]), (True, [])])
def test_what_came_up_while_gc_asked_is_left(
    *, needed: bool, removed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABCTL_HOME", str(tmp_path))
    assert home() == tmp_path
    engine = _Engine()
    found = [Garbage("network lan of late", "no node is on it", "late", engine.networks["lan"])]
    engine.needed = needed
    garbage.remove(found, cast(Provider, engine))
    assert engine.removed == removed


@pytest.mark.engine
@pytest.mark.timeout(900)
def test_other_users_of_a_node_cannot_type_into_its_desktop(tmp_path: Path) -> None:
    """The desktop's user becomes root without a password: who can type there is root."""
    lab = DesktopLab(tmp_path, "j-screen", environment(tmp_path / "home"))
    (tmp_path / "lab.yaml").write_text(f"name: {lab.name}\nnodes: {{dev: {{desktop: true, users: {{ana: {{}}}}}}}}\n")
    try:
        lab.labctl("up")
        for user in ("lab", "root"):
            lab.sh("dev", "xwininfo -root", user=user)
        for user in ("ana", "nobody"):
            lab.sh("dev", "xwininfo -root", user=user, code=1)
        assert "@/tmp/.X11-unix/X1" not in lab.sh("dev", "cat /proc/net/unix")
        assert lab.sh("dev", "pgrep -xl sleep", code=None) == ""
        lab.sh("dev", "pkill -9 -x Xtigervnc")
        lab.sh("dev", "until [ -S /tmp/.X11-unix/X1 ] && /usr/lib/lab/desktop-drawn; do sleep 0.2; done >/dev/null")
        lab.sh("dev", "xwininfo -root", user="ana", code=1)
    finally:
        lab.labctl("down")
