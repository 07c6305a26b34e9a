"""One real machine with a desktop, a published port and a healthcheck, in a lab without any container."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from labctl import screen
from labctl.features.gateway import ON_HOST
from tests.desktop.browser import chromium, visit
from tests.desktop.lab import DesktopLab, ask, environment, eventually, split
from tests.desktop.look import connected, is_drawn, pixels
from tests.support.boxes import share_boxes
from tests.support.requirements import lacking
from tests.vagrant.left import left

__all__ = ["chromium", "visit"]

pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not all(Path(file).is_file() for file in ON_HOST.values()), reason="no noVNC and websockify"),
]
needs_browser = pytest.mark.skipif(lacking("browser") is not None, reason="no browser")
Visit = Callable[..., Page]

LAB = """\
name: {name}
nodes:
  one:
    provider: vagrant
    desktop: {{geometry: 1024x768}}
    ports: ["22"]
    healthcheck: {{test: "{test}", interval: 2s, retries: 4}}
checks:
  drawn: {{desktop: one}}
"""
HEALTHY = "pgrep -x icewm"


class MachineLab(DesktopLab):
    """The same lab, asked over ssh where a container is asked by its engine."""

    def write(self, test: str = HEALTHY) -> None:
        """The lab file."""
        (self.directory / "lab.yaml").write_text(LAB.format(name=self.name, test=test))

    def sh(self, node: str, script: str, *, user: str = "root", code: int | None = 0) -> str:
        return self.run(
            "exec", node, "-u", user, "--", "sh", "-c", f"export DISPLAY=:1; {script}", code=code or 0
        ).stdout

    def node(self) -> dict[str, Any]:
        """What labctl knows of the machine."""
        known: dict[str, Any] = json.loads(self.labctl("inspect", "one", "-o", "json"))["nodes"][0]
        return {"id": known["id"], **known["node"]}

    def process(self, kind: str) -> int | None:
        """The lab's process of that kind, by the kernel's word; None when there is none."""
        with socket.socket(socket.AF_UNIX) as asking:
            try:
                asking.connect(f"\0labctl/{self.name}/{kind}")
            except ConnectionRefusedError:
                return None
            return int.from_bytes(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4), "little")

    def drawn(self) -> bool:
        """Whether a viewer sees the desktop whole."""
        address = self.node()["addresses"]["lan"]
        width, height, rgb = screen.pixels(address, self.secrets()["nodes"]["one"]["vnc_view_password"])
        return is_drawn(width, height, list(zip(rgb[0::3], rgb[1::3], rgb[2::3], strict=True)))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MachineLab]:
    directory = tmp_path_factory.mktemp("machine")
    home = directory / "home"
    share_boxes(home)
    made = MachineLab(directory, f"b-desk-{os.getpid()}", environment(home))
    made.write()
    try:
        made.labctl("up", "--yes")
        assert made.drawn(), "`up` ends when the window manager has drawn"
        yield made
    finally:
        if (home / "labs" / made.name).exists():
            made.labctl("down", "-n", made.name)


def test_it_is_healthy_and_its_check_holds(lab: MachineLab) -> None:
    assert lab.node()["health"] == "healthy"
    lab.labctl("test")
    assert json.loads(lab.labctl("plan", "-o", "json"))["steps"] == []
    assert lab.sh("one", "systemctl --failed --no-legend").strip() == ""


@needs_browser
def test_a_link_to_look_only_cannot_type_whatever_the_page_says(lab: MachineLab, visit: Visit) -> None:
    def meddle(page: Page) -> None:
        # the server refuses: a page that forgets that it is to look only is no way in
        page.route("**/api/lab", lambda route: route.fulfill(json={**route.fetch().json(), "view_only": False}))

    page = visit(lab.url("one", "--view-only"), before=meddle)
    connected(page)
    eventually(lambda: is_drawn(*pixels(page)), within=60)
    canvas = page.locator('.screen[data-open="true"] canvas')
    canvas.click(position={"x": 900, "y": 60})
    page.keyboard.press("Control+Alt+t")
    lab.sh("one", "timeout 15 sh -c 'until pgrep -x lxterminal; do sleep 1; done'", code=124)


@needs_browser
def test_a_browser_shows_it_and_what_is_typed_has_effect(lab: MachineLab, visit: Visit) -> None:
    page = visit(lab.url("one"))
    connected(page)
    eventually(lambda: is_drawn(*pixels(page)), within=60)
    assert pixels(page)[:2] == (1280, 800)  # the size of the window without the page's own bar
    canvas = page.locator('.screen[data-open="true"] canvas')
    canvas.click(position={"x": 900, "y": 60})
    page.keyboard.press("Control+Alt+t")
    lab.sh("one", "timeout 90 sh -c 'until pgrep -x bash; do sleep 1; done'")
    page.keyboard.type("touch /tmp/typed; exit\n", delay=50)
    lab.sh("one", "timeout 60 sh -c 'until test -e /tmp/typed; do sleep 1; done'")


@needs_browser
def test_the_page_of_the_lab_has_it(lab: MachineLab, visit: Visit) -> None:
    page = visit(lab.url())
    page.wait_for_selector('#desktops li[data-node="one"][data-state="ready"]')


def test_nothing_is_open_to_others(lab: MachineLab) -> None:
    listed = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    for kind in ("gateway", "ports"):
        places = [line.split()[3] for line in listed.splitlines() if f"pid={lab.process(kind)}," in line]
        assert len(places) == 1
        assert places[0].startswith("127.0.0.1:")
    site, token = split(lab.url("one"))
    assert ask(f"{site}api/lab", token=token)[0] == 200
    assert ask(f"{site}api/lab", token=token[:-1])[0] == 403
    assert ask(f"{site}api/lab", token=token, Host="lab.example")[0] == 403


def test_its_port_is_the_hosts(lab: MachineLab) -> None:
    (port,) = lab.node()["ports"]
    with socket.create_connection(("127.0.0.1", port["host"]), timeout=20) as connection:
        assert connection.recv(8) == b"SSH-2.0-"


def test_no_secret_is_seen(lab: MachineLab) -> None:
    known = lab.secrets()
    secrets = [known["page"], known["page_view"], *known["nodes"]["one"].values()]
    machines = Path(lab.environ["LABCTL_HOME"]) / "labs" / lab.name / "machines"
    seen = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    seen += subprocess.run(
        ["virsh", "-c", "qemu:///system", "dumpxml", f"labctl-{lab.name}-one"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    seen += "".join(path.read_text(errors="replace") for path in machines.iterdir() if path.is_file())
    for kind in ("gateway", "ports"):
        place = Path(f"/proc/{lab.process(kind)}")
        seen += place.joinpath("cmdline").read_text() + place.joinpath("environ").read_text()
        seen += (machines.parent / "processes" / kind / "log").read_text()
    assert [secret for secret in secrets if secret in seen] == []


def test_another_healthcheck_is_tried_without_another_machine(lab: MachineLab) -> None:
    before = lab.node()["id"]
    lab.write(test="echo not today; exit 3")
    said = lab.run("up", "--yes", code=5).stderr
    assert "healthcheck: exit code 3" in said
    assert "not today" in said
    assert lab.node()["health"] == "unhealthy"
    lab.write()
    lab.labctl("up", "--yes")
    known = lab.node()
    assert (known["id"], known["health"]) == (before, "healthy")


@pytest.mark.parametrize("by", [("url", "one"), ("up", "--yes")])
def test_killed_it_is_started_by_who_needs_it_with_the_same_links(lab: MachineLab, by: tuple[str, ...]) -> None:
    link = lab.url("one")
    killed = lab.process("gateway")
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: lab.process("gateway") is None)
    lab.labctl(*by)
    assert lab.process("gateway") not in (None, killed)
    assert lab.url("one") == link
    site, token = split(link)
    eventually(lambda: json.loads(ask(f"{site}api/lab", token=token)[2])["nodes"][0]["state"] == "ready")


def test_down_by_name_leaves_nothing_when_the_file_and_a_process_are_gone(lab: MachineLab) -> None:
    site, _ = split(lab.url())
    shutil.move(lab.directory / "lab.yaml", lab.directory / "elsewhere")
    killed = lab.process("ports")
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    lab.labctl("down", "-n", lab.name)
    assert left(lab.name) == []
    assert (lab.process("gateway"), lab.process("ports")) == (None, None)
    assert not (Path(lab.environ["LABCTL_HOME"]) / "labs" / lab.name).exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(site.split(":")[-1].strip("/"))), timeout=5)
