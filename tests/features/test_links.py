"""Links to desktops, and the pictures taken of them, without any desktop."""

from __future__ import annotations

import hmac
import struct
import zlib
from hashlib import sha256

import pytest

from labctl import gateway, screen
from labctl.errors import DeadlineError

LINK = gateway.Link(26862, "the-token")


def test_a_link_has_its_secret_in_the_fragment() -> None:
    assert LINK.url == "http://127.0.0.1:26862/#the-token"
    assert LINK.origin in LINK.url
    assert "the-token" not in repr(LINK)


def test_a_ticket_says_nothing_of_the_token() -> None:
    url = LINK.ticket_url(1000.7)
    proof = hmac.new(b"the-token", b"open 1060", sha256).hexdigest()
    assert url == f"http://127.0.0.1:26862/#open.1060.{proof}"


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({}, "darwin", True),
        ({"DISPLAY": ":10", "SSH_CONNECTION": "a 1 b 22"}, "linux", False),
        ({"SSH_CONNECTION": "a 1 b 22"}, "darwin", False),
        ({"DISPLAY": ":0", "SUDO_UID": "1000"}, "linux", False),
        ({"BROWSER": "firefox", "SSH_CONNECTION": "a 1 b 22"}, "linux", True),
    ],
)
def test_where_a_browser_can_be_opened(environ: dict[str, str], platform: str, expected: bool) -> None:  # noqa: FBT001
    assert gateway.has_browser(environ, platform=platform) is expected


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        ("10.0.0.9 50000 10.0.0.7 22", "ssh -N -L 26862:127.0.0.1:26862 ana@10.0.0.7"),
        ("10.0.0.9 50000 10.0.0.7 2222", "ssh -N -L 26862:127.0.0.1:26862 -p 2222 ana@10.0.0.7"),
        ("fe80::1 50000 fe80::2 22", "ssh -N -L 26862:127.0.0.1:26862 ana@fe80::2"),
        ("", None),
        ("half of it", None),
    ],
)
def test_the_way_through_ssh(connection: str, expected: str | None) -> None:
    assert gateway.tunnel(26862, {"SSH_CONNECTION": connection}, user="ana") == expected


def test_a_png_file_is_what_was_drawn() -> None:
    rgb = bytes(range(2 * 3 * 3))
    data = screen.png(2, 3, rgb)
    chunks, at = {}, 8
    while at < len(data):
        length = struct.unpack(">I", data[at : at + 4])[0]
        kind, body, check = (
            data[at + 4 : at + 8],
            data[at + 8 : at + 8 + length],
            data[at + 8 + length : at + 12 + length],
        )
        assert struct.unpack(">I", check)[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        at += 12 + length
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (2, 3, 8, 2, 0, 0, 0)
    rows = zlib.decompress(chunks[b"IDAT"])
    assert rows == b"".join(b"\0" + rgb[row * 6 : row * 6 + 6] for row in range(3))


def test_no_desktop_is_an_error_in_words() -> None:
    with pytest.raises((screen.ScreenError, DeadlineError)):
        screen.picture("127.0.0.1", "x", port=1, timeout=2)
