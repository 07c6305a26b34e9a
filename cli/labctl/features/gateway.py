"""The gateway of a lab: one container that brings all its desktops to one port, as a page and as websockets."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from labctl.features.base import shipped
from labctl.recipe import Entry, Probe, Recipe, Service

PORT = 6080
CONFIGURATION = "/etc/lab/gateway.json"
_UID = 990


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
    # websockify's and noVNC's packages name libraries for what they can do beyond carrying bytes (numpy, node.js).
    excludes = ("libnode*", "libblas*", "liblapack*", "blas/*", "lapack/*", "libgfortran*", "libicu*")
    patterns = [f"/usr/lib/*-linux-gnu/{name}" for name in excludes]
    patterns += ["/usr/bin/node*", "/usr/share/nodejs/*", "/usr/lib/python3/dist-packages/numpy*"]
    lines = "".join(f"path-exclude={pattern}\\n" for pattern in patterns)
    return Recipe(
        prepare=(f"printf '{lines}' > /etc/dpkg/dpkg.cfg.d/lab-gateway",),
        packages=("novnc", "python3", "websockify"),
        files=shipped("gateway"),
        build=(
            f"useradd --uid {_UID} --user-group --system --no-create-home --home-dir / --shell /usr/sbin/nologin lab",
            "python3 -m compileall -q /usr/lib/lab",
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
