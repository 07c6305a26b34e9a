"""The engine through its SDK: the one module that knows it, loaded only when something is to be changed."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from typing import Any

from docker import APIClient, auth
from docker.errors import APIError, DockerException
from docker.types import IPAMConfig, IPAMPool
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import RequestException, Timeout
from urllib3.exceptions import ReadTimeoutError

from labctl.providers.docker.endpoint import TIMEOUT, Endpoint

__all__ = [
    "APIError",
    "DockerException",
    "Engine",
    "IPAMConfig",
    "IPAMPool",
    "NoConnection",
    "RequestException",
    "Timeout",
]

CONNECTIONS = 64
COMMIT_TIMEOUT = 900
"""Seconds that the engine may take to make an image of what a container wrote."""


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

    def commit_as(self, container: str, repository: str, tag: str, labels: Mapping[str, str]) -> None:
        """Make of what a container wrote an image with these labels beside those that the container has."""
        http: Any = self
        params = {"container": container, "repo": repository, "tag": tag, "pause": "0"}
        url = http._url("/commit")
        http._raise_for_status(
            http._post_json(url, data={"Labels": dict(labels)}, params=params, timeout=COMMIT_TIMEOUT)
        )

    def wait_for(self, container: str, *, timeout: float) -> int | None:
        """The exit code of a container that ends; None when it has not within `timeout` seconds."""
        http: Any = self
        try:
            return int(http.wait(container, timeout=timeout)["StatusCode"])
        except (Timeout, NoConnection):
            return None


def split_tag(image: str) -> tuple[str, str]:
    """``host:5000/name:tag`` as (name, tag); the tag is ``latest`` when there is none, a digest stays whole."""
    if "@" in image:
        name, _, digest = image.partition("@")
        return name, digest
    name, colon, tag = image.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (image, "latest")
