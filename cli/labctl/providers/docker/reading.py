"""Questions to the engine: plain GETs over its socket, all those of one moment at the same time.

Looking is what labctl does most often (status, a second `up`), and loading the SDK takes longer than all its answers.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote, urlencode

from labctl.errors import DeadlineError, LabctlError
from labctl.providers.docker.endpoint import TIMEOUT, Endpoint
from labctl.providers.docker.errors import explain, unreachable


@dataclass(frozen=True, slots=True)
class Question:
    """A path of the engine's interface, without a version, and what it is asked with."""

    path: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def containers(**filters: Sequence[str]) -> Question:
    """All containers, running or not."""
    return Question("/containers/json", {"all": "1", "filters": json.dumps(filters)})


def with_sizes(listing: Question) -> Question:
    """The same containers, with what each has written: the engine walks through all of it."""
    return Question(listing.path, {**listing.parameters, "size": "1"})


def networks(**filters: Sequence[str]) -> Question:
    """All networks."""
    return Question("/networks", {"filters": json.dumps(filters)})


def network(name: str) -> Question:
    """All about one network, with the containers that are on it now."""
    return Question(f"/networks/{quote(name)}")


def volumes(**filters: Sequence[str]) -> Question:
    """All volumes: the answer has them under ``Volumes``, which may be null."""
    return Question("/volumes", {"filters": json.dumps(filters)})


def image(tag: str) -> Question:
    """All about one image."""
    return Question(f"/images/{quote(tag, safe='/:@')}/json")


class Reader:
    """A way to ask the engine and never to tell it anything. It may be used from many threads.

    `server` is the engine's answer to ``/version``, asked when it is made. Raises `HostError` when there is no engine.
    """

    def __init__(self, endpoint: Endpoint, *, timeout: float = TIMEOUT) -> None:
        self.socket_path = str(endpoint.path)
        self._timeout = timeout
        (self.server,) = self.ask("connect", Question("/version"))

    def ask(self, doing: str, *questions: Question) -> list[Any]:
        """The answers, in order; None for a thing that the engine does not have.

        All questions are sent before the first answer is read: the engine works on them at the same time. `doing`
        completes "the engine failed to …" in errors.
        """
        with self._asked(doing, questions) as connections:
            return [_answer(connection, doing) for connection in connections]

    def log(self, container: str, *, limit: int) -> bytes:
        """The first `limit` bytes of what a container printed, in the engine's frames; none when it is not there."""
        question = Question(f"/containers/{quote(container)}/logs", {"stdout": "1", "stderr": "1"})
        doing = f"read the log of {container}"
        with self._asked(doing, [question]) as (connection,):
            response = connection.getresponse()
            if response.status >= 400 and response.status != 404:
                raise _refused(json.loads(response.read()), doing)
            return response.read(limit) if response.status == 200 else b""

    @contextmanager
    def _asked(self, doing: str, questions: Sequence[Question]) -> Iterator[list[HTTPConnection]]:
        with ExitStack() as open_connections:
            connections: list[HTTPConnection] = []
            try:
                for question in questions:
                    connection = _Connection(self.socket_path, self._timeout)
                    open_connections.callback(connection.close)
                    query = f"?{urlencode(question.parameters)}" if question.parameters else ""
                    connection.request("GET", question.path + query)
                    connections.append(connection)
                yield connections
            except TimeoutError as error:
                raise DeadlineError(
                    f"the engine gave no answer in time: {doing}",
                    hint="look at its load and its log, then try again",
                    code="LAB-HOST-006",
                ) from error
            except (OSError, HTTPException, ValueError) as error:
                raise unreachable(error) from error

    def file(self, container: str, path: str) -> bytes | None:
        """A small file of a container, running or not; None when the file or the container is not there."""
        question = f"/containers/{quote(container)}/archive?{urlencode({'path': path})}"
        connection = _Connection(self.socket_path, self._timeout)
        try:
            connection.request("GET", question)
            response = connection.getresponse()
            body = response.read()
        except TimeoutError as error:
            raise DeadlineError(
                "the engine gave no answer in time: read a file", hint="look at its load and its log, then try again"
            ) from error
        except (OSError, HTTPException, ValueError) as error:
            raise unreachable(error) from error
        finally:
            connection.close()
        return _only_member(body) if response.status == 200 else None


class _Connection(HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _answer(connection: HTTPConnection, doing: str) -> Any:
    response = connection.getresponse()
    body = json.loads(response.read())
    if response.status == 404:
        return None
    if response.status >= 400:
        raise _refused(body, doing)
    return body


def _only_member(tar: bytes) -> bytes | None:
    """The content of the file that a tar of one file holds."""
    import io
    import tarfile

    try:
        with tarfile.open(fileobj=io.BytesIO(tar)) as members:
            member = members.next()
            content = members.extractfile(member) if member is not None else None
            return content.read() if content is not None else None
    except tarfile.TarError:
        return None


def _refused(body: Any, doing: str) -> LabctlError:
    return explain(str(body.get("message", body) if isinstance(body, dict) else body), doing)
