"""Where the engine listens, and how long it may take."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from labctl.errors import HostError

SOCKET = "unix:///var/run/docker.sock"
TIMEOUT = 120
"""Seconds that the engine may take for an ordinary answer; it is slow when many containers start at once."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an engine listens, and who says so (``DOCKER_HOST``, a docker context, or nobody)."""

    url: str
    origin: str

    @property
    def path(self) -> Path:
        """The socket. Raises `HostError` for an engine on another machine: its nodes' addresses are not ours."""
        scheme, _, rest = self.url.partition("://")
        if scheme != "unix":
            raise HostError(
                f"the engine at {self.url} is not on this host",
                details=[f"chosen by {self.origin}", "labctl reaches nodes at their own addresses, on this host only"],
                hint="run labctl on that host, or unset DOCKER_HOST and `docker context use default`",
                code="LAB-HOST-004",
            )
        if "/.docker/desktop/" in rest or "/.docker/run/" in rest:
            raise HostError(
                "Docker Desktop keeps its nodes in a virtual machine, where labctl cannot reach their addresses",
                details=[f"chosen by {self.origin}"],
                hint="use a Linux host's own engine: labctl doctor --fix",
                code="LAB-HOST-004",
            )
        return Path(rest)


def find(environ: Mapping[str, str], home: Path) -> Endpoint:
    """The engine that docker's own command would use: DOCKER_HOST, else the current context, else the usual socket."""
    if host := environ.get("DOCKER_HOST"):
        return Endpoint(host if "://" in host else f"tcp://{host}", "DOCKER_HOST")
    settings = Path(environ.get("DOCKER_CONFIG") or home / ".docker")
    name = environ.get("DOCKER_CONTEXT") or _read(settings / "config.json").get("currentContext")
    if not name or name == "default":
        return Endpoint(SOCKET, "the usual place")
    meta = settings / "contexts" / "meta" / sha256(name.encode()).hexdigest() / "meta.json"
    host = _read(meta).get("Endpoints", {}).get("docker", {}).get("Host")
    if not host:
        raise HostError(
            f"the docker context {name} is not known here", hint="docker context use default", code="LAB-HOST-004"
        )
    return Endpoint(host, f"the docker context {name}")


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
