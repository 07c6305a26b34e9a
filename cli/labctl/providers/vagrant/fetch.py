"""A file from somewhere, with the digest that it shall have: what has another is never seen by anybody."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO

from labctl.errors import LabctlError
from labctl.providers import bootstrap

SILENCE = 60.0
"""Seconds that a server may take for its next bytes."""

_BLOCK = 1 << 20


@contextmanager
def fetched(source: str, digest: str, cache: Path) -> Iterator[Path]:
    """A copy of the file or URL, gone afterwards unless moved. Raises `LabctlError` when its sha256 is another."""
    with bootstrap.workplace(cache) as directory:
        target = directory / "fetched.box"
        try:
            with _open(source) as stream, target.open("wb") as file:
                found = _copy(stream, file)
        except (OSError, ValueError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise LabctlError(
                f"{source} cannot be read: {reason}", hint="look at the path or address", code="LAB-IMG-007"
            ) from error
        if found != digest:
            raise LabctlError(
                f"{source} is not the file that was meant: its sha256 is another",
                details=[f"wanted {digest}", f"found  {found}"],
                hint="ask who gave you the digest; nothing was kept",
                code="LAB-IMG-007",
            )
        yield target


def _open(source: str) -> IO[bytes]:
    if source.startswith(("http://", "https://")):
        opened: IO[bytes] = urllib.request.urlopen(source, timeout=SILENCE)
        return opened
    return Path(source.removeprefix("file://")).expanduser().open("rb")


def _copy(stream: IO[bytes], file: IO[bytes]) -> str:
    digest = sha256()
    while block := stream.read(_BLOCK):
        digest.update(block)
        file.write(block)
    return digest.hexdigest()
