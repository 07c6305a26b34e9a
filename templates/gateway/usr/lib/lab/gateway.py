"""The gateway of one lab: its page, its desktops as websockets, and the state of its nodes, all on one port.

websockify carries the bytes of a desktop, noVNC shows them; this program decides who may have which. What it knows
(`Known`) is one file that labctl writes; it is read again when it changed. A token is never part of a path or query
and never logged: a page has it in its fragment and sends it as a header, or as a subprotocol of the websocket.
"""

from __future__ import annotations

import errno
import hmac
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
import warnings
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

warnings.filterwarnings("ignore", message="no 'numpy' module")
from websockify.websocketproxy import ProxyRequestHandler  # noqa: E402  (after the filter)

PORT = 6080
ROOT = Path(__file__).resolve().parents[3]
"""A container's own, or the directory in which a process of the host has its files."""
CONFIGURATION = ROOT / "etc/lab/gateway.json"
PAGE = ROOT / "usr/share/lab/page"
NOVNC = Path("/usr/share/novnc")
NOVNC_PARTS = ("core", "vendor")

STATE_AGE = 1.0
"""Seconds for which a node's state is not asked again."""
PROBE_TIMEOUT = 0.7
TICKET_LIFE = 60.0

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Names under which a browser of this host reaches the gateway; another one means a page that rebound its name."""


@dataclass(frozen=True)
class Pass:
    """What a token opens: one node, or all when `node` is None; to look only when `view_only`."""

    node: str | None
    view_only: bool


@dataclass(frozen=True)
class Known:
    """labctl's file: the lab's name, its nodes, and the tokens with what each opens."""

    lab: str = ""
    nodes: tuple[dict[str, Any], ...] = ()
    tokens: tuple[tuple[str, Pass], ...] = field(default=(), repr=False)

    @classmethod
    def read(cls, text: str) -> Known:
        data = json.loads(text)
        nodes = tuple(data["nodes"])
        tokens = [(data["token"], Pass(None, view_only=False)), (data["view_token"], Pass(None, view_only=True))]
        for node in nodes:
            tokens.append((node["token"], Pass(node["node"], view_only=False)))
            tokens.append((node["view_token"], Pass(node["node"], view_only=True)))
        return cls(data["lab"], nodes, tuple((token, what) for token, what in tokens if token))

    def opened_by(self, token: str) -> Pass | None:
        """What `token` opens; the time this takes does not depend on how much of it is right."""
        found = None
        for known, what in self.tokens:
            if hmac.compare_digest(known.encode(), token.encode()):
                found = what
        return found

    def visible(self, what: Pass) -> Iterator[dict[str, Any]]:
        return (node for node in self.nodes if what.node in (None, node["node"]))


class Gateway(ThreadingHTTPServer):
    """One thread a connection; the lab's file and the nodes' states are shared."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64
    # What websockify's handler asks of its server.
    heartbeat = 30
    unix_listen = None

    def __init__(self, address: tuple[str, int], configuration: Path) -> None:
        self._configuration = configuration
        self._stamp: tuple[int, int] | None = None
        self._known = Known()
        self._states: dict[str, tuple[float, str]] = {}
        self._used: dict[str, float] = {}
        self._lock = threading.Lock()
        self._probes = ThreadPoolExecutor(16, thread_name_prefix="probe")
        super().__init__(address, Handler)

    @property
    def known(self) -> Known:
        """The lab as labctl described it last; a file that is being written or broken leaves what was known."""
        with self._lock:
            try:
                status = self._configuration.stat()
                stamp = (status.st_mtime_ns, status.st_size)
                if stamp != self._stamp:
                    self._known = Known.read(self._configuration.read_text())
                    self._stamp = stamp
            except (OSError, ValueError, KeyError, TypeError) as error:
                logging.warning("the lab's description cannot be read: %s", type(error).__name__)
            return self._known

    def redeem(self, ticket: str) -> str | None:
        """The token for a ticket: ``<expiry>.<HMAC of it under the token>``, good once and for a minute.

        It lets labctl open a browser without a lasting secret on that program's command line.
        """
        expiry, _, proof = ticket.partition(".")
        now = time.time()
        if not expiry.isdecimal() or not now <= int(expiry) <= now + TICKET_LIFE:
            return None
        for token, _ in self.known.tokens:
            wanted = hmac.new(token.encode(), f"open {expiry}".encode(), sha256).hexdigest()
            if hmac.compare_digest(wanted, proof):
                with self._lock:
                    self._used = {each: end for each, end in self._used.items() if end > now}
                    if ticket in self._used:
                        return None
                    self._used[ticket] = now + TICKET_LIFE
                return token
        return None

    def states(self, nodes: list[dict[str, Any]]) -> list[str]:
        """The state of each node, asked of the node itself unless that was done a moment ago."""
        return list(self._probes.map(self._state, nodes))

    def _state(self, node: dict[str, Any]) -> str:
        key = f"{node['address']}:{node['port']}:{bool(node['token'])}"
        with self._lock:
            then, state = self._states.get(key, (0.0, ""))
        if time.monotonic() - then > STATE_AGE or not then:
            state = probe(node["address"], node["port"] if node["token"] else 22, desktop=bool(node["token"]))
            with self._lock:
                self._states[key] = (time.monotonic(), state)
        return state

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the midst of something is no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            logging.exception("a request from %s failed", client_address[0])


def probe(address: str, port: int, *, desktop: bool) -> str:
    """ready, starting (the node is there, the desktop is not yet), stopped, or unknown (no network in common)."""
    if not address:
        return "unknown"
    try:
        with socket.create_connection((address, port), timeout=PROBE_TIMEOUT) as connection:
            if not desktop:
                return "ready"
            connection.settimeout(PROBE_TIMEOUT)
            return "ready" if connection.recv(12).startswith(b"RFB ") else "starting"
    except TimeoutError:
        return "stopped"
    except OSError as error:
        return "starting" if error.errno in (errno.ECONNREFUSED, errno.ECONNRESET) else "stopped"


class Handler(ProxyRequestHandler):  # type: ignore[misc]  # websockify has no types
    """One request: a file of the page or of noVNC, the lab as JSON, or a desktop as a websocket."""

    server: Gateway
    server_version = "labctl"
    sys_version = ""
    timeout = 60
    screen: tuple[str, int] = ("", 0)

    # ---------------------------------------------------------------- who may ask

    def trusted(self) -> bool:
        """Whether a page of ours asks, or no page at all: the host's own names only, and no other origin."""
        host = self.headers.get("Host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if name.lower() not in LOCAL:
            return False
        origin = self.headers.get("Origin")
        return origin is None or urlsplit(origin).netloc.lower() == host.lower()

    def bearer(self) -> str:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        return token.strip() if kind.lower() == "bearer" else ""

    # ---------------------------------------------------------------- plain requests

    def do_GET(self) -> None:
        if not self.trusted():
            self.refuse(HTTPStatus.FORBIDDEN, "this address is not the gateway's")
            return
        path = unquote(urlsplit(self.path).path)
        if path == "/api/lab":
            self.send_lab()
        elif path == "/api/open":
            token = self.server.redeem(self.bearer())
            if token is None:
                self.refuse(HTTPStatus.FORBIDDEN, "this link was used already, or is too old")
            else:
                self.send_json({"token": token})
        else:
            self.send_page(path)

    do_HEAD = do_GET

    def send_lab(self) -> None:
        known = self.server.known
        what = known.opened_by(self.bearer())
        if what is None:
            self.refuse(HTTPStatus.FORBIDDEN, "no desktop belongs to this token")
            return
        nodes = list(known.visible(what))
        kind = "view_" if what.view_only else ""
        listed = []
        for node, state in zip(nodes, self.server.states(nodes), strict=True):
            one = {"name": node["node"], "group": node["group"], "state": state, "desktop": bool(node["token"])}
            if node["token"]:
                one |= {"token": node[f"{kind}token"], "password": node[f"{kind}password"]}
            listed.append(one)
        self.send_json({"lab": known.lab, "view_only": what.view_only, "one": what.node is not None, "nodes": listed})

    def send_page(self, path: str) -> None:
        file = page_file(path)
        if file is None:
            self.refuse(HTTPStatus.NOT_FOUND, "nothing is here")
            return
        body = file.read_bytes()
        tag = f'"{sha256(body).hexdigest()[:16]}"'
        # noVNC has some forty files: kept for a while, a page that has to be loaded again goes on where it was.
        keep = "max-age=600" if NOVNC in file.parents else "no-cache"
        if self.headers.get("If-None-Match") == tag:
            self.send_body(HTTPStatus.NOT_MODIFIED, b"", TYPES[file.suffix], tag=tag, keep=keep)
        else:
            self.send_body(HTTPStatus.OK, body, TYPES[file.suffix], tag=tag, keep=keep)

    def send_json(self, data: object) -> None:
        self.send_body(HTTPStatus.OK, json.dumps(data).encode(), "application/json")

    def refuse(self, status: HTTPStatus, reason: str) -> None:
        self.send_body(status, json.dumps({"error": reason}).encode(), "application/json")

    def send_body(self, status: HTTPStatus, body: bytes, kind: str, *, tag: str = "", keep: str = "no-store") -> None:
        host = self.headers.get("Host", "") if self.trusted() else ""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", keep)
        if tag:
            self.send_header("ETag", tag)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header(
            "Content-Security-Policy",
            # Not every browser counts a websocket as 'self'; noVNC draws cursors as data.
            f"default-src 'none'; script-src 'self' {inline_scripts()}; style-src 'self'; img-src 'self' data: blob:; "
            f"connect-src 'self' ws://{host} wss://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        )
        self.end_headers()
        if self.command != "HEAD" and status != HTTPStatus.NOT_MODIFIED:
            self.wfile.write(body)

    # ---------------------------------------------------------------- desktops

    def handle_upgrade(self) -> None:
        """A websocket to ``/screen/NODE``, with a token that opens this node as a subprotocol ``token.…``."""
        offered = [each.strip() for each in self.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        token = next((each.removeprefix("token.") for each in offered if each.startswith("token.")), "")
        known = self.server.known
        what = known.opened_by(token)
        name = unquote(urlsplit(self.path).path).removeprefix("/screen/")
        node = next((each for each in known.nodes if each["node"] == name and each["token"]), None)
        if not self.trusted() or what is None or node is None or what.node not in (None, name):
            self.refuse(HTTPStatus.FORBIDDEN, "no desktop belongs to this token")
            self.close_connection = True
            return
        self.screen = (node["address"], node["port"])
        # websockify's own check knows these words only as they stand between commas.
        del self.headers["Sec-WebSocket-Protocol"]
        self.headers["Sec-WebSocket-Protocol"] = ",".join(offered)
        super().handle_upgrade()

    def validate_connection(self) -> None:
        """Nothing more: `handle_upgrade` has done it, for this connection alone."""

    def auth_connection(self) -> None:
        """Nothing more: the desktop asks for its password itself."""

    def new_websocket_client(self) -> None:
        try:
            target = socket.create_connection(self.screen, timeout=5)
        except OSError as error:
            raise self.CClose(1011, "the desktop does not answer") from error
        with target:
            target.settimeout(None)
            for each in (self.request, target):
                each.setsockopt(socket.SOL_TCP, socket.TCP_NODELAY, 1)
            self.do_proxy(target)

    def log_message(self, *_: object) -> None:
        """Requests are not logged: there is nothing to learn from them."""

    def list_directory(self, path: object) -> None:
        self.refuse(HTTPStatus.NOT_FOUND, "nothing is here")


def page_file(path: str) -> Path | None:
    """The file of our page or of noVNC that a path of the site means, None when there is none."""
    if path in ("", "/"):
        return PAGE / "index.html"
    parts = [part for part in path.split("/") if part]
    if ".." in parts or "\0" in path:
        return None
    if parts[0] == "novnc" and len(parts) > 1 and parts[1] in NOVNC_PARTS:
        file = NOVNC.joinpath(*parts[1:])
    else:
        file = PAGE.joinpath(*parts)
    return file if file.suffix in TYPES and file.is_file() else None


@cache
def inline_scripts() -> str:
    """The scripts that stand in the page itself, as its policy names them."""
    scripts = re.findall(rb"<script>(.*?)</script>", (PAGE / "index.html").read_bytes(), re.DOTALL)
    return " ".join(f"'sha256-{b64encode(sha256(script).digest()).decode()}'" for script in scripts)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    Gateway(("", PORT), CONFIGURATION).serve_forever()


if __name__ == "__main__":
    main()
