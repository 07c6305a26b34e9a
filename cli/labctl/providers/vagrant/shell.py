"""A way into a running machine: commands with clean bytes and a deadline, files in and out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from labctl.errors import LabctlError, NotFoundError
from labctl.providers import ssh
from labctl.providers.archive import archive
from labctl.providers.base import Line, Result
from labctl.recipe import Entry

_UNPACK = ("tar", "-x", "-p", "--numeric-owner", "--no-overwrite-dir", "-C", "/", "-f", "-")


class MachineShell:
    """`Shell` over ssh."""

    def __init__(self, connection: ssh.Connection) -> None:
        self._connection = connection

    def run(
        self,
        command: Sequence[str],
        *,
        user: str = "root",
        stdin: bytes = b"",
        timeout: float,
        environment: dict[str, str] | None = None,
        on_line: Line | None = None,
        check: Callable[[], None] | None = None,
    ) -> Result:
        """See `Shell.run`."""
        return ssh.run(
            self._connection,
            command,
            user=user,
            stdin=stdin,
            timeout=timeout,
            environment=environment,
            on_line=on_line,
            check=check,
        )

    def put(self, entries: Collection[Entry]) -> None:
        """See `Shell.put`."""
        if not entries:
            return
        done = self.run(_UNPACK, stdin=archive(entries), timeout=120.0)
        if done.code != 0:
            raise LabctlError(
                f"files could not be written into node {self._connection.name}",
                details=done.stderr.decode(errors="replace").splitlines()[-5:],
                code="LAB-VM-004",
            )

    def get(self, path: str) -> bytes:
        """See `Shell.get`. A link is followed."""
        done = self.run(("sh", "-c", '[ -f "$0" ] && exec cat -- "$0"', path), timeout=120.0)
        if done.code != 0:
            raise NotFoundError(f"there is no file {path} in node {self._connection.name}", code="LAB-COPY-001")
        return done.stdout
