"""The gateway of a lab: one container that brings all its desktops to one port, as a page and as websockets."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from labctl.features.base import shipped
from labctl.recipe import Entry, Probe, Recipe, Service

PORT = 6080
CONFIGURATION = "/etc/lab/gateway.json"
ON_HOST = {
    "novnc": "/usr/share/novnc/core/rfb.js",
    "python3-websockify": "/usr/lib/python3/dist-packages/websockify/__init__.py",
}
"""Debian's packages that the gateway needs where it is a process of the host, and a file of each."""

_UID = 990

_UNPACK = (
    # Only their files: the packages also name what they can do beyond carrying bytes and showing them (numpy, Redis,
    # node.js), 180 MB that this gateway never uses.
    "apt-get update -q",
    "cd /var/cache/apt/archives",
    "apt-get -q -o APT::Sandbox::User=root download novnc python3-websockify",
    "for package in ./*.deb; do dpkg-deb --extract $package /; done",
    "rm -f ./*.deb",
)


@dataclass(frozen=True, slots=True)
class Screen:
    """One node as the gateway knows it; without `token` it has no desktop and is only listed.

    `address` is where the gateway reaches it, `token` and `view_token` open its desktop, to work and to look only.
    """

    node: str
    address: str
    group: str = ""
    port: int = 5901
    token: str = field(default="", repr=False)
    view_token: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    view_password: str = field(default="", repr=False)


def recipe() -> Recipe:
    """The same for every lab."""
    return Recipe(
        prepare=_UNPACK,
        packages=("python3",),
        files=shipped("gateway"),
        build=(
            f"useradd --uid {_UID} --user-group --system --no-create-home --home-dir / --shell /usr/sbin/nologin lab",
            "python3 -m compileall -q /usr/lib/lab /usr/lib/python3/dist-packages/websockify",
        ),
        services=(Service(name="gateway", command=("python3", "-I", "/usr/lib/lab/gateway.py"), user="lab"),),
        probes=(
            Probe(
                name="gateway",
                description="the gateway to answer",
                hint="see what it logged with `labctl logs _gateway`",
                port=PORT,
            ),
        ),
    )


def seed(lab: str, page_token: str, view_token: str, screens: Iterable[Screen]) -> tuple[Entry, ...]:
    """The gateway's whole knowledge of the lab as one file, readable by it alone; it reads it again when it changed.

    `page_token` opens the page with all desktops, `view_token` the same page to look only.
    """
    known = {
        "lab": lab,
        "token": page_token,
        "view_token": view_token,
        "nodes": [asdict(screen) for screen in screens],
    }
    return (Entry(CONFIGURATION, json.dumps(known, indent=1).encode(), 0o600, _UID, _UID),)
