"""The connection to the engine: where it listens, and the one module that knows the docker SDK."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from docker import APIClient, auth
from docker.errors import APIError, DockerException
from docker.types import IPAMConfig, IPAMPool
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import RequestException, Timeout
from urllib3.exceptions import ReadTimeoutError

from labctl.errors import HostError

__all__ = [
    "APIError",
    "DockerException",
    "Endpoint",
    "Engine",
    "IPAMConfig",
    "IPAMPool",
    "NoConnection",
    "RequestException",
    "Timeout",
    "find",
]

SOCKET = "unix:///var/run/docker.sock"
TIMEOUT = 120
"""Seconds that the engine may take for an ordinary answer; it is slow when many containers start at once."""

CONNECTIONS = 64


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
            )
        if "/.docker/desktop/" in rest or "/.docker/run/" in rest:
            raise HostError(
                "Docker Desktop keeps its nodes in a virtual machine, where labctl cannot reach their addresses",
                details=[f"chosen by {self.origin}"],
                hint="use a Linux host's own engine: labctl doctor --fix",
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
        raise HostError(f"the docker context {name} is not known here", hint="docker context use default")
    return Endpoint(host, f"the docker context {name}")


class Engine(APIClient):
    """The SDK's low-level client on a local socket, with what it lacks.

    `server` is the engine's answer to ``/version``, asked once, when the connection is made. Raises the SDK's errors
    (see `errors.translated`).
    """

    def __init__(self, endpoint: Endpoint, *, timeout: float = TIMEOUT) -> None:
        self.socket_path = str(endpoint.path)
        super().__init__(
            base_url=f"unix://{self.socket_path}",
            version="1.41",
            timeout=int(timeout),
            max_pool_size=CONNECTIONS,
            num_pools=4,
        )
        self.server: dict[str, Any] = self.version(api_version=False)
        self._version = str(self.server["ApiVersion"])

    @property
    def api(self) -> tuple[int, int]:
        """The version of the engine's language in use, e.g. (1, 41)."""
        major, _, minor = self._version.partition(".")
        return int(major), int(minor)

    def pull_lines(self, image: str, *, first: float, idle: float) -> Generator[dict[str, Any], None, None]:
        """Pull an image and pass on its progress; a caller that stops listening ends it.

        The registry has `first` seconds to say something, and `idle` seconds for each further word: `Timeout`.
        """
        name, tag = split_tag(image)
        registry, _ = auth.resolve_repository_name(name)
        secret = auth.get_config_header(self, registry)
        yield from self._lines(
            "/images/create",
            params={"fromImage": name, "tag": tag},
            headers={"X-Registry-Auth": secret.decode()} if secret else {},
            first=first,
            idle=idle,
        )

    def build_lines(
        self, context: bytes, tag: str, *, marks: Mapping[str, str], arguments: Mapping[str, str], idle: float
    ) -> Generator[dict[str, Any], None, None]:
        """Build an image by the classic builder and pass on its output; a caller that stops listening ends it."""
        yield from self._lines(
            "/build",
            params={
                "t": tag,
                "rm": True,
                "forcerm": True,
                "buildargs": json.dumps(dict(arguments)),
                "labels": json.dumps(dict(marks)),
            },
            headers={"Content-Type": "application/x-tar"},
            data=context,
            first=idle,
            idle=idle,
        )

    def _lines(
        self,
        path: str,
        *,
        params: Mapping[str, Any],
        headers: Mapping[str, str],
        data: bytes = b"",
        first: float,
        idle: float,
    ) -> Generator[dict[str, Any], None, None]:
        """The JSON lines of a long answer. The SDK has no deadlines for these, and goes on when nobody listens."""
        http: Any = self
        response = http._post(
            http._url(path), params=params, headers=headers, data=data, stream=True, timeout=(10, first)
        )
        try:
            http._raise_for_status(response)
            http._get_raw_response_socket(response)._sock.settimeout(idle)
            yield from http._stream_helper(response, decode=True)
        except ReadTimeoutError as error:
            raise Timeout(str(error)) from error
        finally:
            response.close()

    def image(self, tag: str) -> dict[str, Any] | None:
        """All that the engine knows of an image; None when it has none of that name."""
        http: Any = self
        try:
            known: dict[str, Any] = http.inspect_image(tag)
        except APIError as error:
            if error.status_code == 404:
                return None
            raise
        return known

    def new_container(self, config: dict[str, Any], name: str) -> str:
        """Make a container from the engine's own description of one; its id."""
        http: Any = self
        return str(http.create_container_from_config(config, name)["Id"])

    def update(self, container: str, limits: Mapping[str, int]) -> None:
        """Change the limits of a running container, in the engine's own words (the SDK's call has no NanoCpus)."""
        http: Any = self
        http._raise_for_status(http._post_json(http._url("/containers/{0}/update", container), data=dict(limits)))


def split_tag(image: str) -> tuple[str, str]:
    """``host:5000/name:tag`` as (name, tag); the tag is ``latest`` when there is none, a digest stays whole."""
    if "@" in image:
        name, _, digest = image.partition("@")
        return name, digest
    name, colon, tag = image.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (image, "latest")


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
