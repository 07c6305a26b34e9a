"""Where docker compose comes from: this host's own, else Debian 13's package, unpacked in a container."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import docker

PLACE = "/usr/libexec/docker/cli-plugins/docker-compose"

FETCH = f"""
set -e
cd /tmp
apt-get update -q
apt-get download -q docker-compose
dpkg -x docker-compose_*.deb unpacked
cp unpacked{PLACE} /out/docker-compose
"""


def program(engine: docker.APIClient, cache: Path) -> list[str]:
    """The words that run compose, version 2. Raises `RuntimeError` when it is not to be had.

    The program is run on this host directly: a container around it would cost time that is not compose's own.
    """
    for words in (["docker-compose"], [PLACE], ["docker", "compose"], [str(cache / "docker-compose")]):
        if shutil.which(words[0]) and _is_version_2(words):
            return words
    cache.mkdir(parents=True, exist_ok=True)
    fetched = subprocess.run(
        ["docker", "run", "--rm", "--volume", f"{cache}:/out", _debian_13(engine), "sh", "-c", FETCH],
        capture_output=True,
        text=True,
        check=False,
    )
    words = [str(cache / "docker-compose")]
    if fetched.returncode or not _is_version_2(words):
        raise RuntimeError(f"docker compose is not to be had here\n{fetched.stdout}{fetched.stderr}")
    return words


def version(words: Sequence[str]) -> str:
    """What it calls itself."""
    return subprocess.run([*words, "version", "--short"], capture_output=True, text=True, check=True).stdout.strip()


def _is_version_2(words: Sequence[str]) -> bool:
    try:
        done = subprocess.run([*words, "version", "--short"], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip().lstrip("v").startswith("2.")


def _debian_13(engine: docker.APIClient) -> str:
    """The plain box that labctl's own nodes are baked on."""
    tags: list[str] = [
        tag for image in engine.images(filters={"reference": "labctl/debian-13"}) for tag in image["RepoTags"]
    ]
    return next(tag for tag in tags if ":base-" in tag)
