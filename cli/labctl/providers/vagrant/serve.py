"""Boxes over HTTP: for each the metadata that `vagrant box add ADDRESS/NAME` reads, and the file. Reading only."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from labctl.errors import HostError

_FILES = "/boxes/"


@dataclass(frozen=True, slots=True)
class Offer:
    """A box to give away. `name` is its part of the address, `tag` what Vagrant calls it; `also` are further names."""

    name: str
    tag: str
    path: Path
    sha256: str
    also: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """Vagrant compares versions as numbers: the day and the time when the file was made."""
        made = time.gmtime(self.path.stat().st_mtime)
        return f"{made.tm_year}.{made.tm_yday}.{made.tm_hour * 3600 + made.tm_min * 60 + made.tm_sec}"


class Server:
    """Listens while it is entered. `offers` is asked at each request, so that new boxes are seen."""

    def __init__(self, offers: Callable[[], Sequence[Offer]], address: str, port: int) -> None:
        self._offers = offers
        handler = type("Handler", (_Handler,), {"given": (offers,)})
        try:
            self._server = ThreadingHTTPServer((address, port), handler)
        except OSError as error:
            raise HostError(
                f"cannot listen on {address}:{port}: {error.strerror}", hint="take another --port", code="LAB-NET-004"
            ) from error
        self._server.daemon_threads = True

    @property
    def address(self) -> str:
        """Where it listens."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def described(self) -> Iterator[str]:
        """How to get each box, a line each."""
        for offer in self._offers():
            yield f"vagrant box add {self.address}/{offer.name}"
            yield f"labctl box add {self.address}{_FILES}{offer.path.name} --sha256 {offer.sha256}"

    def serve(self) -> None:
        """Answer until this thread is interrupted."""
        self._server.serve_forever(poll_interval=0.2)

    def start(self) -> None:
        """Answer from a thread of its own."""
        threading.Thread(target=self.serve, daemon=True).start()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "labctl", ""
    given: ClassVar[tuple[Callable[[], Sequence[Offer]], ...]]
    timeout = 60

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: what was asked for is nobody's business."""

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        offers = self.given[0]()
        if path == "/":
            self._json([offer.name for offer in offers], body=body)
        elif path.startswith(_FILES):
            self._file(next((o.path for o in offers if _FILES + o.path.name == path), None), body=body)
        else:
            found = next((o for o in offers if path[1:] in (o.name, o.tag, *o.also)), None)
            if found is None:
                self._send(404, "text/plain", b"no such box\n", body=body)
            else:
                self._json(_metadata(found, f"http://{self.headers.get('Host', '')}"), body=body)

    def _json(self, data: object, *, body: bool) -> None:
        self._send(200, "application/json", json.dumps(data, indent=2).encode() + b"\n", body=body)

    def _send(self, status: int, kind: str, content: bytes, *, body: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _file(self, path: Path | None, *, body: bool) -> None:
        try:
            file = path.open("rb") if path is not None else None
        except OSError:
            file = None
        if file is None or path is None:
            self._send(404, "text/plain", b"no such box\n", body=body)
            return
        with file:
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            if body:
                try:
                    shutil.copyfileobj(file, self.wfile, 1 << 20)
                except OSError:
                    self.close_connection = True


def _metadata(offer: Offer, address: str) -> dict[str, object]:
    """What Vagrant reads before it fetches a box."""
    provider = {
        "name": "libvirt",
        "url": f"{address}{_FILES}{offer.path.name}",
        "checksum_type": "sha256",
        "checksum": offer.sha256,
    }
    return {
        "name": offer.tag,
        "description": "A box of labctl's",
        "versions": [{"version": offer.version, "providers": [provider]}],
    }
