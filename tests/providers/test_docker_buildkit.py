"""Building through docker's command with BuildKit: for real where a command has it, and what is said where none has."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from labctl.errors import HostError, LabctlError
from labctl.plan.model import BakedImage
from labctl.providers import labels
from labctl.providers.base import Provider
from labctl.providers.docker import buildkit
from labctl.providers.docker.images import context_archive
from labctl.recipe import Entry

TAG = "labctl/b-buildkit:1"
MARKS = labels.of_image("image", "b-buildkit")


@pytest.fixture
def tag() -> Iterator[str]:
    engine: Any = docker.APIClient(timeout=60)
    yield TAG
    if engine.images(TAG):
        engine.remove_image(TAG)


def with_buildkit() -> str | None:
    """The directory of a docker command that has BuildKit."""
    for directory in ("/usr/bin", "/usr/local/bin"):
        command = f"{directory}/docker"
        if Path(command).exists() and (
            buildkit._says(command, "buildx", "version") or buildkit._brings_buildkit(command)
        ):
            return directory
    return None


@pytest.mark.engine
def test_buildkit_builds_the_same_context(
    provider: Provider, baked: BakedImage, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = with_buildkit()
    if directory is None:
        pytest.skip("no docker command with BuildKit is installed")
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    assert baked.base is not None
    text = f'FROM {baked.base.tag}\nARG http_proxy\nCOPY dir/ /\nRUN echo "via $http_proxy" > /proxy\n'
    context = context_archive([Entry("/Dockerfile", text.encode()), Entry("/dir/made", b"by hand\n", 0o640)], MARKS)
    lines: list[str] = []
    buildkit.build("/var/run/docker.sock", tag, context, MARKS, {"http_proxy": "http://u:p@proxy"}, lines.append)
    engine: Any = docker.APIClient(timeout=60)
    assert engine.inspect_image(tag)["Config"]["Labels"] == MARKS
    assert any("COPY dir/ /" in line for line in lines)
    shown = subprocess.run(
        ["docker", "run", "--rm", "--network=none", tag, "cat", "/made", "/proxy"], capture_output=True
    )
    assert shown.stdout == b"by hand\nvia http://u:p@proxy\n"


@pytest.mark.engine
def test_a_failed_step_gives_its_last_lines(
    provider: Provider, baked: BakedImage, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = with_buildkit()
    if directory is None:
        pytest.skip("no docker command with BuildKit is installed")
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    assert baked.base is not None
    text = f"FROM {baked.base.tag}\nRUN echo so far so good; exit 5\n"
    with pytest.raises(LabctlError, match="failed to build") as caught:
        buildkit.build(
            "/var/run/docker.sock", tag, context_archive([Entry("/Dockerfile", text.encode())], MARKS), MARKS, {}, None
        )
    assert any("so far so good" in line for line in caught.value.details)


def test_without_a_command_that_has_it_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError) as caught:
        buildkit.build("/x.sock", TAG, b"", MARKS, {}, None)
    assert "docker-buildx" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("the classic builder is not supported by this engine, use BuildKit", True),
        ("Error response from daemon: page not found", True),
        ("The command '/bin/sh -c buildkit' returned a non-zero code: 1", False),
        ("no space left on device", False),
    ],
)
def test_buildkit_is_tried_only_when_the_engine_has_no_other(said: str, answer: bool) -> None:  # noqa: FBT001
    assert buildkit.wanted(LabctlError("the engine failed to build image x", details=[said])) is answer
