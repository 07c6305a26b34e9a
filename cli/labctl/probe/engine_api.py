"""The engine asked over its socket with the standard library: enough for questions, and without loading an SDK."""

from __future__ import annotations

import errno
import http.client
import json
import socket
import time
from dataclasses import dataclass
from typing import Any, Literal

from labctl.errors import HostError
from labctl.probe.host import Host
from labctl.providers.docker.endpoint import Endpoint, find

Reason = Literal["absent", "refused", "permission", "remote", "silent", "strange"]


class UnreachableError(Exception):
    """The engine does not answer.

    `reason`: no socket, nobody behind it, not allowed, none of this host's, nothing said in time, or something said
    that is not an engine's answer.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def endpoint(host: Host) -> Endpoint:
    """The engine that labctl uses on this host. Raises `UnreachableError` when the settings name none."""
    try:
        return find(host.environ, host.home)
    except HostError as error:
        raise UnreachableError("remote", error.message) from None


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer of the engine: `body` is its JSON, or its text when it is none."""

    status: int
    body: Any


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask_engine(address: Endpoint, path: str, *, timeout: float) -> Answer:
    """GET `path` (``/info``) from the engine at `address`. Raises `UnreachableError`."""
    try:
        socket_path = str(address.path)
    except HostError as error:
        raise UnreachableError("remote", f"{error.message} ({address.origin})") from None
    connection = _UnixConnection(socket_path, timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        text = response.read()
    except FileNotFoundError:
        raise UnreachableError("absent", f"{socket_path} does not exist") from None
    except PermissionError:
        raise UnreachableError("permission", f"no permission to use {socket_path}") from None
    except ConnectionRefusedError:
        raise UnreachableError("refused", f"nothing answers behind {socket_path}") from None
    except TimeoutError:
        raise UnreachableError("silent", f"no answer from {socket_path} within {timeout:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        reason: Reason = "absent" if isinstance(error, OSError) and error.errno == errno.ENOTDIR else "strange"
        raise UnreachableError(reason, f"{socket_path}: {error or type(error).__name__}") from None
    finally:
        connection.close()
    try:
        return Answer(response.status, json.loads(text))
    except ValueError:
        return Answer(response.status, text.decode(errors="replace").strip())


def wait_for_engine(address: Endpoint, *, timeout: float) -> UnreachableError | None:
    """Wait until the engine answers; None when it does, else why it did not at the end of `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        try:
            ask_engine(address, "/_ping", timeout=5)
        except UnreachableError as error:
            if time.monotonic() >= end or error.reason in ("remote", "permission"):
                return error
            time.sleep(0.2)
        else:
            return None
