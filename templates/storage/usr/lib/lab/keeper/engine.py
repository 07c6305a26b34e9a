"""The engine's API over its socket, as little of it as a keeper needs."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

SOCKET = "/run/docker.sock"
_ANSWER = 30.0


class EngineError(Exception):
    """The engine does not answer, or refuses."""


@dataclass(frozen=True)
class Container:
    """What is known of a container; `pid` is 0 when it does not run, `started` grows with each start."""

    pid: int
    started: str
    status: str


class _Connection(http.client.HTTPConnection):
    def __init__(self, seconds: float | None) -> None:
        super().__init__("engine", timeout=seconds)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)


def inspect(name: str) -> Container | None:
    """The container; None when there is none of that name."""
    status, answer = _ask("GET", f"/containers/{quote(name)}/json")
    if status == 404:
        return None
    if status != 200:
        raise EngineError(answer.get("message", f"it answered {status}"))
    state = answer["State"]
    running = state["Running"] and not state.get("Restarting")
    return Container(state["Pid"] if running else 0, state["StartedAt"], state["Status"])


def start(name: str) -> None:
    """Start a container; one that runs, or is gone, is fine."""
    _order(name, "start")


def kill(name: str) -> None:
    """End a container at once; one that does not run, or is gone, is fine."""
    _order(name, "kill")


def stop(name: str, seconds: int) -> None:
    """End a container, politely for so long; one that does not run, or is gone, is fine."""
    _order(name, f"stop?t={seconds}")


def follow(lab: str, wake: threading.Event) -> None:
    """Set `wake` whenever something happens to a container of the lab, for ever."""
    filters = json.dumps({"type": ["container"], "label": [f"labctl.lab={lab}"], "event": ["start", "die", "destroy"]})
    while True:
        connection = _Connection(None)
        try:
            connection.request("GET", f"/events?{urlencode({'filters': filters})}")
            answer = connection.getresponse()
            wake.set()
            while answer.status == 200 and answer.readline():
                wake.set()
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(1)


def _order(name: str, order: str) -> None:
    status, answer = _ask("POST", f"/containers/{quote(name)}/{order}")
    if status >= 400 and status not in (404, 409):
        raise EngineError(answer.get("message", f"it answered {status}"))


def _ask(method: str, path: str) -> tuple[int, dict[str, Any]]:
    connection = _Connection(_ANSWER)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise EngineError(f"the engine does not answer: {error}") from error
    finally:
        connection.close()
    try:
        data = json.loads(body) if body else {}
    except ValueError:
        data = {}
    return answer.status, data if isinstance(data, dict) else {}
