"""Desktops without a browser: drawn when `up` ends, pictured, restarted, kept from those without a password."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from labctl import screen
from tests.desktop.lab import DesktopLab, ask, environment, eventually, split
from tests.desktop.look import is_drawn

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


def colours(rgb: bytes) -> list[tuple[int, ...]]:
    return list(zip(rgb[0::3], rgb[1::3], rgb[2::3], strict=True))


@pytest.mark.parametrize(
    ("manager", "geometry"), [("icewm", "1280x800"), ("openbox", "1920x1080"), ("xfce", "1600x900")]
)
def test_a_desktop_is_drawn_when_up_ends(tmp_path: Path, manager: str, geometry: str) -> None:
    lab = DesktopLab(tmp_path, f"c-drawn-{manager}", environment(tmp_path / "home"))
    (tmp_path / "lab.yaml").write_text(
        f"name: {lab.name}\nnodes: {{dev: {{desktop: {{wm: {manager}, geometry: {geometry}}}}}}}\n"
    )
    try:
        lab.labctl("up")
        password = lab.secrets()["nodes"]["dev"]["vnc_view_password"]
        width, height, rgb = screen.pixels(lab.address("dev"), password)
        assert f"{width}x{height}" == geometry
        assert is_drawn(width, height, colours(rgb))
    finally:
        lab.labctl("down")


def test_a_picture_is_saved(lab: DesktopLab) -> None:
    lab.labctl("vnc", "ana", "--shot", "ana.png")
    data = (lab.directory / "ana.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", data[16:24]) == lab.size("ana")
    lab.labctl("vnc", "--shot", "all.png", code=2)
    lab.labctl("vnc", "db", "--shot", "db.png", code=1)


def test_a_black_screen_fails_the_check(lab: DesktopLab) -> None:
    lab.labctl("test")
    lab.sh("ana", "for each in /run/lab/sv/*; do case $each in */xvnc|*/sshd) ;; *) sv down $each;; esac; done")
    try:
        lab.sh("ana", "pkill -x icewm; hsetroot -solid '#000000'", code=None)
        failed = json.loads(lab.labctl("test", "drawn", "-o", "json", code=6))
        assert failed["checks"][0]["output"] == "the screen (1280x800) is black"
    finally:
        lab.sh("ana", "sv up /run/lab/sv/*", code=None)
    lab.labctl("test", "drawn")


@pytest.mark.parametrize(
    ("node", "program"), [("ana", "icewm"), ("ana", "Xtigervnc"), ("ben", "tint2"), ("cat", "xfwm4")]
)
def test_what_dies_comes_back_and_is_drawn(lab: DesktopLab, node: str, program: str) -> None:
    before = lab.sh(node, f"pgrep -x {program}")
    lab.sh(node, f"pkill -9 -x {program}")
    eventually(lambda: lab.sh(node, f"pgrep -x {program}", code=None) not in ("", before))
    eventually(lambda: lab.sh(node, "/usr/lib/lab/desktop-drawn", code=None) == "")
    password = lab.secrets()["nodes"][node]["vnc_view_password"]
    eventually(lambda: is_drawn(*(got := screen.pixels(lab.address(node), password))[:2], colours(got[2])))


def test_only_the_password_lets_anybody_in(lab: DesktopLab) -> None:
    known = lab.secrets()["nodes"]["ana"]
    assert screen.pixels(lab.address("ana"), known["vnc_password"])
    for wrong in ("", "wrong", lab.secrets()["nodes"]["ben"]["vnc_password"]):
        with pytest.raises(screen.ScreenError, match="refused the password"):
            screen.pixels(lab.address("ana"), wrong)
    # Nothing but a password is offered, and many wrong ones do not lock out who has the right one.
    with socket.create_connection((lab.address("ana"), 5901), timeout=5) as connection:
        assert connection.recv(12) == b"RFB 003.008\n"
        connection.sendall(b"RFB 003.008\n")
        assert connection.recv(16) == b"\1\2"
    for _ in range(8):
        with pytest.raises(screen.ScreenError):
            screen.pixels(lab.address("ana"), "wrong")
    assert screen.pixels(lab.address("ana"), known["vnc_view_password"])


def test_nothing_listens_outside_the_host(lab: DesktopLab) -> None:
    ports = json.loads(lab.docker("inspect", "-f", "{{json .NetworkSettings.Ports}}", lab.container("_gateway")))
    assert [binding["HostIp"] for bindings in ports.values() for binding in bindings] == ["127.0.0.1"]
    for node in ("ana", "ben", "cat", "db"):
        shown = json.loads(lab.docker("inspect", "-f", "{{json .NetworkSettings.Ports}}", lab.container(node)))
        assert not any(shown.values())


def test_the_gateway_has_no_privilege(lab: DesktopLab) -> None:
    host = json.loads(lab.docker("inspect", "-f", "{{json .HostConfig}}", lab.container("_gateway")))
    assert host["RestartPolicy"]["Name"] in ("unless-stopped", "always")
    status = lab.sh("_gateway", "cat /proc/1/status")
    granted = dict(line.split(":\t", 1) for line in status.splitlines())
    assert int(granted["CapEff"], 16) == int(granted["CapBnd"], 16) == 0
    assert granted["NoNewPrivs"].strip() == "1"
    assert lab.sh("_gateway", "cat /proc/sys/net/ipv4/ip_forward") == "0"
    assert granted["Uid"].split()[0] != "0"
    assert lab.sh("_gateway", "stat -c %a /etc/lab/gateway.json") == "600"


def test_who_may_ask_the_gateway(lab: DesktopLab) -> None:
    site, token = split(lab.url())
    status, headers, body = ask(f"{site}api/lab", token=token)
    assert status == 200
    assert [node["name"] for node in json.loads(body)["nodes"]] == ["ana", "ben", "cat", "db"]
    assert headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert ask(f"{site}api/lab")[0] == 403
    assert ask(f"{site}api/lab?token={token}")[0] == 403
    assert ask(f"{site}api/lab", token=token + "x")[0] == 403
    # Another site that made its own name mean this address, or that sends its pages' requests here
    assert ask(f"{site}api/lab", token=token, Host="lab.example:80")[0] == 403
    assert ask(f"{site}", Host="lab.example")[0] == 403
    assert ask(f"{site}api/lab", token=token, Origin="http://lab.example")[0] == 403
    for path in (
        "../../../etc/lab/gateway.json",
        "%2e%2e/%2e%2e/gateway.json",
        "novnc/package.json",
        "novnc/../lab.js",
    ):
        assert ask(f"{site}{path}")[0] == 404


def test_the_page_lists_all_nodes_after_a_part_came_up(lab: DesktopLab) -> None:
    lab.docker("rm", "-f", lab.container("_gateway"))
    lab.labctl("up", "ana")
    site, token = split(lab.url())
    assert [node["name"] for node in json.loads(ask(f"{site}api/lab", token=token)[2])["nodes"]] == [
        "ana",
        "ben",
        "cat",
        "db",
    ]


def test_one_desktops_token_opens_no_other(lab: DesktopLab) -> None:
    site, token = split(lab.url("ana"))
    assert [node["name"] for node in json.loads(ask(f"{site}api/lab", token=token)[2])["nodes"]] == ["ana"]
    port = int(site.rpartition(":")[2].strip("/"))
    assert upgrade(port, "/screen/ana", token) == 101
    assert upgrade(port, "/screen/ben", token) == 403
    assert upgrade(port, "/screen/ana", "") == 403
    assert upgrade(port, f"/screen/ana?token={token}", "") == 403
    assert upgrade(port, "/screen/db", split(lab.url())[1]) == 403
    assert upgrade(port, "/screen/ana", token, origin="http://lab.example") == 403
    assert upgrade(port, "/screen/ana", token, host="lab.example") == 403


def upgrade(port: int, path: str, token: str, *, origin: str = "", host: str = "") -> int:
    """The status with which the gateway answers a request for a websocket."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host or f'127.0.0.1:{port}'}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        f"Sec-WebSocket-Protocol: binary, token.{token}",
        *([f"Origin: {origin}"] if origin else []),
    ]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return int(connection.recv(64).split()[1])


def test_states_of_nodes(lab: DesktopLab) -> None:
    site, token = split(lab.url())

    def states() -> dict[str, str]:
        nodes = json.loads(ask(f"{site}api/lab", token=token)[2])["nodes"]
        return {node["name"]: node["state"] for node in nodes}

    assert states() == dict.fromkeys(("ana", "ben", "cat", "db"), "ready")
    lab.labctl("stop", "ben")
    eventually(lambda: states()["ben"] == "stopped")
    lab.labctl("start", "ben")
    eventually(lambda: states()["ben"] == "ready")


def test_no_secret_is_seen(lab: DesktopLab) -> None:
    known = lab.secrets()
    secrets = [known["page"], known["page_view"]]
    for node in known["nodes"].values():
        secrets += [node["token"], node["view_token"], node["vnc_password"], node["vnc_view_password"]]
    names = [lab.container(node) for node in ("ana", "ben", "cat", "db", "_gateway")]
    seen = lab.docker("inspect", *names) + "".join(lab.docker("logs", name) for name in names)
    seen += subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    for node in ("ana", "_gateway"):
        seen += lab.sh(node, "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'", code=None)
    assert [secret for secret in secrets if secret and secret in seen] == []


def test_links(lab: DesktopLab) -> None:
    link = lab.labctl("vnc", "ana")
    assert link == lab.url("ana")
    assert lab.labctl("vnc", "--no-open", env={"BROWSER": "false"}) == lab.url()
    assert (
        len({split(lab.url(*each))[1] for each in ((), ("ana",), ("ben",), ("--view-only",), ("ana", "--view-only"))})
        == 5
    )
    lab.labctl("url", "db", code=1)
    lab.labctl("url", "nobody", code=9)


def test_a_background_names_lab_and_node(lab: DesktopLab) -> None:
    picture = lab.sh("ana", "cat /run/lab/user/background.svg")
    assert ">ana<" in picture
    assert f">lab {lab.name}<" in picture
    # No two desktops look alike, because each names its node.
    pictures = Counter(
        screen.pixels(lab.address(node), lab.secrets()["nodes"][node]["vnc_view_password"])[2]
        for node in ("ana", "ben")
    )
    assert len(pictures) == 2


def test_users_programs_are_there(lab: DesktopLab) -> None:
    for node in ("ana", "ben"):
        lab.sh(node, "command -v lxterminal pcmanfm mousepad")
    lab.sh("cat", "command -v xfce4-terminal thunar mousepad")


_BROWSER = """\
[Desktop Entry]
Type=Application
Name=A <browser> & more
Exec=/bin/true --new "%u"
Icon=no-such-icon
Categories=Network;WebBrowser;
"""


def test_an_installed_browser_is_on_the_top_level_of_the_menu(lab: DesktopLab) -> None:
    own = ["Terminal", "Files", "Text editor"]
    entry = "/usr/share/applications/a-browser.desktop"
    for node in ("ana", "ben"):
        lab.sh(node, f"cat > {entry} <<'END'\n{_BROWSER}END\n")
    browsers = lab.sh("ana", "/usr/lib/lab/menu icewm-browsers")
    icon = "/usr/share/icons/hicolor/scalable/categories/applications-internet.svg"
    assert browsers == f'prog "A <browser> & more" "{icon}" /bin/true --new'
    menu = ElementTree.fromstring(lab.sh("ben", "/usr/lib/lab/menu openbox"))
    assert [item.get("label") for item in menu.findall("item")] == [*own, "A <browser> & more"]
    assert menu.findtext(f"item[{len(own) + 1}]/action/command") == "/bin/true --new"
    for node in ("ana", "ben"):
        lab.sh(node, f"rm {entry}")
    assert lab.sh("ana", "/usr/lib/lab/menu icewm-browsers") == ""
    menu = ElementTree.fromstring(lab.sh("ben", "/usr/lib/lab/menu openbox"))
    assert [item.get("label") for item in menu.findall("item")] == own


def test_every_entry_of_a_menu_has_an_icon(lab: DesktopLab) -> None:
    menu = ElementTree.fromstring(lab.sh("ben", "/usr/lib/lab/menu openbox"))
    icons = [each.get("icon", "") for each in menu.iter() if each.tag in ("item", "menu")]
    assert len(icons) > 5
    lab.sh("ben", " && ".join(f"test -s '{icon}'" for icon in icons))
    lines = lab.sh("ana", "/usr/lib/lab/menu icewm").splitlines()
    icons = [line.split('"')[3] for line in lines if line.startswith(("prog ", "menu "))]
    assert len(icons) > 3
    lab.sh("ana", " && ".join(f"test -s '{icon}'" for icon in icons))
    # xfce takes the icons of its categories from the theme
    shipped = lab.sh("cat", "ls /usr/share/icons/hicolor/scalable/categories")
    sections = lab.sh("cat", "grep -o 'xfce-[a-z]*.directory' /etc/xdg/menus/xfce-applications.menu").split()
    for section in sections:
        name = lab.sh("cat", f"sed -n 's/^Icon=//p' /usr/share/desktop-directories/{section}")
        assert f"{name}.svg" in shipped.split()


def test_a_browser_asks_nothing_when_it_starts(lab: DesktopLab) -> None:
    for node in ("ana", "ben", "cat"):
        policies = json.loads(lab.sh(node, "cat /etc/firefox/policies/policies.json"))["policies"]
        assert policies["OverrideFirstRunPage"] == policies["OverridePostUpdatePage"] == ""
        assert (
            policies["DisableTelemetry"] is policies["DisableAppUpdate"] is policies["DontCheckDefaultBrowser"] is True
        )


def test_ready_soon(lab: DesktopLab) -> None:
    """A desktop starts within seconds, also again after a stop: nothing waits for a timeout."""
    began = time.monotonic()
    lab.labctl("restart", "ana")
    assert time.monotonic() - began < 15
