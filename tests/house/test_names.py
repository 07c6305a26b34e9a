"""The project speaks of itself alone: no package registry or mirror by name, no path of somebody's machine."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

HOSTS = re.compile(
    r"\b(?:registry|registry-\d|mirrors?|index|files|archive|security|snapshot|deb|ftp|cdn|packages|proxy|sum|hub|auth"
    r"|pypi|npmjs|quay|gcr|ghcr|mcr|docker|pythonhosted|ubuntu|alpinelinux|fedoraproject|debian|golang)[\w-]*"
    r"\.(?:[\w-]+\.)*(?:org|io|com|net|dev|pkg)\b(?![\w(]|\.(?:network|docker))"
)
"""What looks like the address of a place that packages or images come from."""

ALLOWED = {"docker.io"}
"""Debian's package of the engine has a name that looks like one."""

COMMON = frozenset(
    Path("/", name)
    for name in [
        "app",
        "build",
        "builds",
        "code",
        "data",
        "home",
        "mnt",
        "opt",
        "project",
        "repo",
        "root",
        "source",
        "src",
        "srv",
        "tmp",
        "usr",
        "var",
        "workspace",
    ]
) | {Path("/"), Path("/usr/src"), Path("/var/lib"), Path("/var/tmp")}
"""Directories that a node or another host has too: a text that names one does not speak of this machine."""


def files() -> list[Path]:
    """What belongs to the project: what git tracks or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text()
    except UnicodeDecodeError:  # a picture
        return
    yield from enumerate(text.splitlines(), start=1)


def hosts_in(line: str) -> list[str]:
    """Addresses of places that packages come from; Debian's package name alone is none, a path behind it is."""
    return [
        match.group()
        for match in HOSTS.finditer(line)
        if match.group() not in ALLOWED or line[match.end() :][:1] == "/"
    ]


def test_no_registry_or_mirror_is_named() -> None:
    this = Path(__file__).resolve()
    found = [
        f"{path.relative_to(ROOT)}:{number}: {host}"
        for path in files()
        if path != this
        for number, line in lines(path)
        for host in hosts_in(line)
    ]
    assert found == []


def test_no_path_of_this_machine_is_named() -> None:
    places = [place for place in (ROOT, *ROOT.parents) if place not in COMMON]
    if not places:
        pytest.skip("the checkout lies where any text may point to")
    pattern = re.compile("|".join(rf"(?<![\w./-]){re.escape(str(place))}(?![\w.-])" for place in places))
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in files()
        for number, line in lines(path)
        if pattern.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "hosts"),
    [
        ("URIs: http://deb.debian" + ".org/debian", ["deb.debian" + ".org"]),
        ("FROM quay" + ".io/x/y", ["quay" + ".io"]),
        ("pull docker" + ".io/library/debian", ["docker" + ".io"]),
        ("apt-get install docker" + ".io", []),
        ('"com.docker.network.bridge.name": "x"', []),
        ("image: valkey/valkey:8", []),
    ],
)
def test_the_gate_sees_what_it_is_for(line: str, hosts: list[str]) -> None:
    assert hosts_in(line) == hosts
