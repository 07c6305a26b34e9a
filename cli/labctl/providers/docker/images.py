"""Images: the plain operating system (pulled, or made from packages) and what is baked on it, shared by all labs."""

from __future__ import annotations

import fcntl
import io
import os
import re
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from labctl.errors import ConflictError, HostError, LabctlError
from labctl.plan.model import BakedImage, BaseImage
from labctl.providers import bootstrap, labels
from labctl.providers.base import Line
from labctl.providers.docker import buildkit
from labctl.providers.docker.client import APIError, Engine, Timeout, split_tag
from labctl.providers.docker.errors import explain, translated
from labctl.recipe import Entry, Trust

FIRST_WORD = 15.0
"""Seconds that a registry has to say anything before the base image is made from packages instead."""

IDLE = 120.0
SETTLED = 60.0
"""Seconds after which what a build left is no longer between two of its steps."""

BUILD_SILENCE = 1800.0
"""Seconds that one step of a build may take without a word."""

_FROM = re.compile(r"^(\s*FROM\s.*)$", re.MULTILINE | re.IGNORECASE)
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def create(engine: Engine, image: BaseImage | BakedImage, cache: Path, trust: Trust, on_line: Line | None) -> None:
    """Have the image in the engine under its tag: nothing to do when it is there.

    Two labctl that want the same image at once: the second waits and finds it.
    """
    with _one_at_a_time(cache, image.tag):
        if present(engine, image.tag):
            return
        if isinstance(image, BaseImage):
            _base(engine, image, cache, trust, on_line)
        elif image.base is None:
            _pull(engine, image.tag, on_line, first=IDLE)
        else:
            _bake(engine, image, image.base, trust, on_line)


def present(engine: Engine, tag: str) -> bool:
    """Whether the engine has an image of that name."""
    with translated(f"look for image {tag}"):
        return engine.image(tag) is not None


def remove(engine: Engine, tag: str) -> None:
    """Remove one of labctl's images by tag; gone is fine, another's is left. Raises `ConflictError` when it is used."""
    with translated(f"remove image {tag}"):
        try:
            known = engine.image(tag)
            if known is not None and labels.SCHEMA in (known["Config"].get("Labels") or {}):
                engine.remove_image(tag)
        except APIError as error:
            if error.status_code == 409:
                raise ConflictError(
                    f"image {tag} is in use",
                    taken=f"image {tag}",
                    retry=False,
                    details=[str(error.explanation)],
                    hint="take down the labs that use it",
                    code="LAB-IMG-004",
                ) from error
            if error.status_code != 404:
                raise


def clear_leftovers(engine: Engine, *, older: float = SETTLED) -> tuple[str, ...]:
    """Remove what killed builds left: images without a name that carry the mark of an unfinished bake, and their
    containers that no longer run. Returns their ids.

    What is younger than `older` seconds is left: a build of another labctl may be between two steps. Until they are
    cleared, leftovers serve the next bake as its cache.
    """
    before = time.time() - older
    unfinished = {"label": [f"{labels.KIND}={labels.BAKING}"]}
    gone = []
    with translated("clear what builds left"):
        for container in engine.containers(all=True, filters=unfinished | {"status": ["exited", "dead"]}):
            with suppress(APIError):
                if container["Created"] <= before:
                    engine.remove_container(container["Id"], v=True)
                    gone.append(str(container["Id"]))
        for image in engine.images(filters=unfinished | {"dangling": ["true"]}):
            with suppress(APIError):
                if image["Created"] <= before:
                    engine.remove_image(image["Id"])
                    gone.append(str(image["Id"]))
    return tuple(gone)


# ---------------------------------------------------------------- base


def _base(engine: Engine, base: BaseImage, cache: Path, trust: Trust, on_line: Line | None) -> None:
    had = present(engine, base.pull)
    try:
        if not had:
            _pull(engine, base.pull, on_line, first=FIRST_WORD)
    except (HostError, TimeoutError) as error:
        if on_line is not None:
            on_line(f"no registry answers ({error}); making {base.box} from its packages")
        _import(engine, base, cache, trust, on_line)
        return
    # An image gets labels only by a build.
    context = (Entry("/Dockerfile", f"FROM {base.pull}\n".encode()),)
    _build(engine, base.tag, context, labels.of_image("base", base.box), trust, on_line)
    if not had:
        with suppress(APIError):
            engine.remove_image(base.pull, noprune=True)


def _import(engine: Engine, base: BaseImage, cache: Path, trust: Trust, on_line: Line | None) -> None:
    changes = [f"LABEL {name}={value}" for name, value in labels.of_image("base", base.box).items()]
    repository, tag = split_tag(base.tag)
    with bootstrap.bootstrapped(base, cache, trust.proxies, on_line) as tar, translated(f"import {base.box}"):
        # By its name: the SDK announces a stream as chunked and then sends it whole.
        answer = engine.import_image(
            src=str(tar), repository=repository, tag=tag, changes=[*changes, 'CMD ["/bin/sh"]']
        )
        _read_answer(answer.encode().splitlines(), f"import {base.box}", None)


def _pull(engine: Engine, image: str, on_line: Line | None, *, first: float) -> None:
    """Raises `HostError` when no registry answers, `LabctlError` when it has no such image."""
    try:
        with translated(f"pull {image}"):
            try:
                with closing(engine.pull_lines(image, first=first, idle=IDLE)) as words:
                    for word in words:
                        if "error" in word:
                            raise explain(str(word["error"]), f"pull {image}")
                        if on_line is not None and "progressDetail" not in word and word.get("status"):
                            on_line(" ".join(str(word[key]) for key in ("id", "status") if key in word))
            except Timeout as error:
                raise HostError(
                    f"the image registry did not answer within {first:g} s",
                    details=[f"wanted: {image}"],
                    hint="docker load it from a file, or check network and proxy of the engine",
                    code="LAB-IMG-003",
                ) from error
    except LabctlError as error:
        if error.hint and image in str(error):
            raise
        raise type(error)(
            f"{error.message}: {image}", details=error.details, hint=error.hint, code=error.code
        ) from error


# ---------------------------------------------------------------- bake


def _bake(engine: Engine, image: BakedImage, base: BaseImage, trust: Trust, on_line: Line | None) -> None:
    if not present(engine, base.tag):
        raise LabctlError(
            f"the base image {base.tag} is not there", hint=f"labctl box build {base.box}", code="LAB-IMG-002"
        )
    _build(engine, image.tag, image.context, labels.of_image("image", base.box), trust, on_line)


def _build(
    engine: Engine, tag: str, context: Iterable[Entry], marks: Mapping[str, str], trust: Trust, on_line: Line | None
) -> None:
    data = context_archive(context, marks)
    arguments = {name: value for key, value in trust.proxies.items() for name in (key, key.upper())}
    doing = f"build image {tag}"
    try:
        words = engine.build_lines(data, tag, marks=marks, arguments=arguments, idle=BUILD_SILENCE)
        with translated(doing), closing(words):
            _read_words(words, doing, on_line)
    except LabctlError as error:
        if not buildkit.wanted(error):
            raise
        buildkit.build(engine.socket_path, tag, data, marks, arguments, on_line)


def context_archive(entries: Iterable[Entry], marks: Mapping[str, str]) -> bytes:
    """The build context as a tar. Every stage of its Dockerfile is marked as unfinished until the last step is done.

    The mark is what a killed build's leftovers are known by; the labels of the finished image replace it.
    """
    begin = f'LABEL {labels.SCHEMA}="{labels.VERSION}" {labels.KIND}="{labels.BAKING}"'
    end = "LABEL " + " ".join(f'{name}="{value}"' for name, value in marks.items())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for entry in entries:
            content = entry.content
            if entry.path == "/Dockerfile":
                text = content.decode()
                content = (_FROM.sub(rf"\1\n{begin}", text).rstrip("\n") + f"\n{end}\n").encode()
            info = tarfile.TarInfo(entry.path.lstrip("/"))
            info.size, info.mode, info.uid, info.gid = len(content), entry.mode, entry.uid, entry.gid
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


# ---------------------------------------------------------------- what the engine says


def _read_words(words: Iterable[Any], doing: str, on_line: Line | None) -> None:
    """Pass on a build's output line by line. Raises `LabctlError` with its last lines when it failed."""
    last: list[str] = []

    def say(line: str) -> None:
        if line.strip():
            last.append(line)
            del last[:-15]
            if on_line is not None:
                on_line(line)

    rest = ""
    for word in words:
        if "error" in word:
            if rest:
                say(rest)
            reason = explain(str(word["error"]), doing)
            raise (
                type(reason)(reason.message, details=[*last, *reason.details], hint=reason.hint)
                if type(reason) is not ConflictError
                else reason
            )
        *lines, rest = (rest + _ESCAPE.sub("", str(word.get("stream", "")))).split("\n")
        for line in lines:
            say(line.rstrip("\r"))


def _read_answer(lines: Iterable[bytes], doing: str, on_line: Line | None) -> None:
    import json

    def words() -> Iterator[dict[str, Any]]:
        for line in lines:
            with suppress(ValueError):
                yield json.loads(line)

    _read_words(words(), doing, on_line)


@contextmanager
def _one_at_a_time(cache: Path, tag: str) -> Iterator[None]:
    """Hold the making of one image; the kernel lets go when the process ends."""
    locks = cache / "locks"
    locks.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(locks / re.sub(r"[^a-zA-Z0-9.-]", "_", tag), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
