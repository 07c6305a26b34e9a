"""Ways to a lab's desktops: the links that open them, and how a browser gets one without it being seen on the way."""

from __future__ import annotations

import hmac
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

TICKET_SECONDS = 60
"""For how long a ticket opens what it is for; the gateway takes it once."""


@dataclass(frozen=True, slots=True)
class Link:
    """What opens the page of a lab, or one desktop of it: the gateway's port on 127.0.0.1 and a token."""

    port: int
    token: str = field(repr=False)

    @property
    def url(self) -> str:
        """The lasting link. Its secret stands in the fragment, which no browser sends and no server logs."""
        return f"{self.origin}#{self.token}"

    @property
    def origin(self) -> str:
        """The address without the secret."""
        return f"http://127.0.0.1:{self.port}/"

    def ticket_url(self, now: float) -> str:
        """A link that works once and only within a minute of `now` (seconds since the epoch).

        It is for a browser's command line, which everybody on this host can read.
        """
        expiry = str(int(now) + TICKET_SECONDS)
        proof = hmac.new(self.token.encode(), f"open {expiry}".encode(), sha256).hexdigest()
        return f"{self.origin}#open.{expiry}.{proof}"


def has_browser(environ: Mapping[str, str] = os.environ, *, platform: str = sys.platform) -> bool:
    """Whether a browser can be opened where the user sits: not from a remote shell, nor without a screen."""
    if environ.get("BROWSER"):
        return True
    if environ.get("SSH_CONNECTION") or environ.get("SUDO_UID"):
        return False
    return platform == "darwin" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def open_browser(url: str) -> bool:
    """Open `url` in the user's browser; False when there is none after all."""
    import webbrowser

    return webbrowser.open(url)


def tunnel(port: int, environ: Mapping[str, str] = os.environ, *, user: str) -> str | None:
    """The command that brings the port to the machine from which the user came by ssh; None without ssh.

    It is to be run there. sshd tells in SSH_CONNECTION at which address and port it was reached.
    """
    parts = environ.get("SSH_CONNECTION", "").split()
    if len(parts) != 4:
        return None
    server, server_port = parts[2], parts[3]
    words = ["ssh", "-N", "-L", f"{port}:127.0.0.1:{port}"]
    words += ["-p", server_port] if server_port != "22" else []
    return shlex.join([*words, f"{user}@{server}"])
