"""Building through docker's own command with BuildKit, for engines that no longer take a classic build."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Mapping

from labctl.errors import HostError, LabctlError
from labctl.providers.base import Line
from labctl.providers.bootstrap import dying_with_parent

_REFUSALS = (
    "classic builder",
    "legacy builder",
    "buildkit",
    "not implemented",
    "no longer supported",
    "page not found",
)
_KEEP_LINES = 15


def wanted(error: LabctlError) -> bool:
    """Whether a failed build means that this engine has no classic builder (and not that a step failed)."""
    text = " ".join((error.message, *error.details)).lower()
    return any(word in text for word in _REFUSALS) and "returned a non-zero code" not in text


def build(
    socket_path: str,
    tag: str,
    context: bytes,
    marks: Mapping[str, str],
    arguments: Mapping[str, str],
    on_line: Line | None,
) -> None:
    """Build `context` (a tar with its Dockerfile) as `tag`. Raises `HostError` without the tools, or `LabctlError`."""
    docker = shutil.which("docker")
    if docker is None or not (_says(docker, "buildx", "version") or _brings_buildkit(docker)):
        raise HostError(
            "this engine builds with BuildKit only, and docker's command with buildx is not installed",
            hint="sudo apt-get install docker-buildx (or docker-buildx-plugin), or labctl doctor --fix",
            code="LAB-IMG-005",
        )
    argv = [docker, "--host", f"unix://{socket_path}", "build", "--progress", "plain", "--tag", tag]
    for name, value in marks.items():
        argv += ["--label", f"{name}={value}"]
    for name in arguments:
        argv += ["--build-arg", name]  # the value comes from the environment: it may hold a password
    last: deque[str] = deque(maxlen=_KEEP_LINES)
    process = subprocess.Popen(
        dying_with_parent([*argv, "-"]) if shutil.which("setpriv") else [*argv, "-"],
        env={**os.environ, **arguments, "DOCKER_BUILDKIT": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(context)
            process.stdin.close()
        except BrokenPipeError:
            pass  # its output says why
        for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            if line:
                last.append(line)
                if on_line is not None:
                    on_line(line)
        code = process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code != 0:
        raise LabctlError(
            f"the engine failed to build image {tag}",
            details=list(last),
            hint="labctl up -v shows all",
            code="LAB-IMG-001",
        )


def _brings_buildkit(docker: str) -> bool:
    """Whether the command is of the generations that had BuildKit built in (18.09 to 22)."""
    major = _says(docker, "--version").partition("version ")[2].partition(".")[0]
    return major.isdigit() and 19 <= int(major) < 23


def _says(*argv: str) -> str:
    """What a command prints; empty when it fails."""
    try:
        answer = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout if answer.returncode == 0 else ""
