"""The ways into a container: commands with open streams, archives, logs."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import IO, Any

from urllib3.exceptions import HTTPError

from labctl.errors import HostError, LabctlError, NotFoundError
from labctl.providers.docker.attach import ExecSession
from labctl.providers.docker.client import APIError, Engine
from labctl.providers.docker.errors import translated
from labctl.providers.session import STDERR, STDOUT, Found, LogLine, PathKind

_MODE_DIRECTORY = 1 << 31  # bits of the engine's file modes, which are Go's
_MODE_SYMLINK = 1 << 27
_MODE_SPECIAL = 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19
_LINKS = 40


class DockerAccess:
    """An `Access` for one container. `name` is the node's, for messages."""

    def __init__(self, engine: Engine, container: str, name: str) -> None:
        self._engine = engine
        self._container = container
        self._name = name

    def open(
        self,
        command: Sequence[str],
        *,
        user: str = "root",
        environment: Mapping[str, str] | None = None,
        directory: str | None = None,
        terminal: bool = False,
        stdin: bool = False,
    ) -> ExecSession:
        with translated(f"run a command in node {self._name}"):
            try:
                made = self._engine.exec_create(
                    self._container,
                    list(command),
                    user=user,
                    environment=dict(environment or {}),
                    workdir=directory,
                    tty=terminal,
                    stdin=stdin,
                )
            except APIError as error:
                raise self._absent(error) or error from None
            return ExecSession(self._engine, self._container, made["Id"], terminal=terminal)

    def _absent(self, error: APIError) -> LabctlError | None:
        if error.status_code == 404:
            return NotFoundError(f"the container of node {self._name} is gone", hint="labctl up", code="LAB-NODE-007")
        if error.status_code == 409:
            return LabctlError(
                f"node {self._name} is not running", hint=f"labctl start {self._name}", code="LAB-NODE-001"
            )
        return None

    # ------------------------------------------------------------ logs

    def logs(self, *, follow: bool = False, tail: int | None = None, since: float | None = None) -> Iterator[LogLine]:
        query: dict[str, Any] = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow)}
        query["tail"] = "all" if tail is None else tail
        if since is not None:
            query["since"] = f"{since:.9f}"
        with translated(f"read the logs of node {self._name}"):
            response = self._engine.get(
                f"{self._engine.base_url}/v{self._engine.api_version}/containers/{self._container}/logs",
                params=query,
                stream=True,
                timeout=(10, None if follow else 120),
            )
            try:
                if response.status_code >= 400:
                    raise _refused(response, f"the logs of node {self._name} cannot be read", path=None)
                yield from _lines(response.raw)
            finally:
                response.close()

    # ------------------------------------------------------------ files

    def look(self, path: str) -> Found | None:
        for _ in range(_LINKS):
            mode, link = self._stat(path)
            if mode is None:
                return None
            if not mode & _MODE_SYMLINK:
                kind: PathKind = "directory" if mode & _MODE_DIRECTORY else "other" if mode & _MODE_SPECIAL else "file"
                return Found(kind, path)
            path = str(PurePosixPath(path).parent / link)
        return None

    def _stat(self, path: str) -> tuple[int | None, str]:
        """The engine's mode bits of `path` and where it leads when it is a symlink; None when it is not there."""
        import base64
        import json

        with translated(f"look at {path} in node {self._name}"):
            response = self._engine.head(self._archive, params={"path": path}, timeout=60)
        if response.status_code == 404:
            return None, ""
        if response.status_code >= 400:
            raise LabctlError(f"the engine cannot look at {path} in node {self._name}", code="LAB-HOST-006")
        stat = json.loads(base64.b64decode(response.headers["X-Docker-Container-Path-Stat"]))
        return int(stat["mode"]), str(stat.get("linkTarget") or "")

    def pack(self, path: str) -> IO[bytes]:
        with translated(f"copy {path} out of node {self._name}"):
            response = self._engine.get(self._archive, params={"path": path}, stream=True, timeout=(10, 600))
        if response.status_code >= 400:
            response.close()
            raise _refused(response, f"{path} cannot be copied out of node {self._name}", path=f"{self._name}:{path}")
        return io.BufferedReader(_Body(response))

    def unpack(self, directory: str, tar: IO[bytes]) -> None:
        with translated(f"copy files into {directory} of node {self._name}"):
            response = self._engine.put(self._archive, params={"path": directory}, data=_pieces(tar), timeout=(10, 600))
        if response.status_code >= 400:
            raise _refused(response, f"files cannot be copied into node {self._name}", path=f"{self._name}:{directory}")

    @property
    def _archive(self) -> str:
        return f"{self._engine.base_url}/v{self._engine.api_version}/containers/{self._container}/archive"


class _Body(io.RawIOBase):
    """The body of a streamed answer as a file."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self._left = b""
        self._pieces: Iterator[bytes] = response.iter_content(256 * 1024)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with translated("copy files"):
            while not self._left:
                piece = next(self._pieces, None)
                if piece is None:
                    return 0
                self._left = piece
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def close(self) -> None:
        self._response.close()
        super().close()


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(256 * 1024):
        yield piece


def _refused(response: Any, message: str, *, path: str | None) -> LabctlError:
    try:
        text = str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        text = f"status {response.status_code}"
    if path is not None and response.status_code == 404 and "No such container" not in text:
        return NotFoundError(f"there is no {path}", code="LAB-COPY-001")
    if path is not None and re.search(r"read-only", text):
        return LabctlError(message, details=[text], hint="it is mounted read-only in the node", code="LAB-HOST-006")
    return LabctlError(message, details=[text], code="LAB-HOST-006")


def _lines(raw: Any) -> Iterator[LogLine]:
    """The engine's frames as log lines. It writes one frame per line, longer lines in pieces of 16 KiB."""
    while True:
        try:
            head = raw.read(8)
            data = raw.read(int.from_bytes(head[4:8], "big")) if len(head) == 8 else b""
        except HTTPError as error:
            raise HostError(
                "the engine broke off while it gave the logs", details=[str(error)], code="LAB-HOST-006"
            ) from error
        if not data:
            return
        stamp, _, text = data.partition(b" ")
        yield LogLine(STDERR if head[0] == STDERR else STDOUT, stamp.decode("ascii", errors="replace"), text)
