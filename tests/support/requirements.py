"""What a test needs of the host beside Python, and whether going without is allowed."""

from __future__ import annotations

import functools
import http.client
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

MARKERS = {
    "engine": ("docker",),
    "browser": ("docker", "browser"),
    "soak": ("docker",),
    "linters": ("linters",),
    "vm": ("vm",),
}
"""What a marker asks for, in the words of LABCTL_REQUIRE."""

LINTERS = Path(__file__).resolve().parents[2] / ".linters/node_modules/.bin"
"""Where `make linters` puts the programs that read the examples for other systems."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def required(environ: Mapping[str, str] = os.environ) -> frozenset[str]:
    """What must be there (``LABCTL_REQUIRE="docker browser vm"``): a test without it fails instead of being skipped."""
    return frozenset(environ.get("LABCTL_REQUIRE", "").replace(",", " ").split())


@functools.cache
def lacking(need: str) -> str | None:
    """Why this host cannot serve `need`, None when it can. Asked once per process."""
    return {"docker": _no_engine, "browser": _no_browser, "linters": _no_linters, "vm": _no_machines}[need]()


def _no_linters() -> str | None:
    if not shutil.which("java"):
        return "no java, which the linter of Jenkinsfiles needs"
    return None if LINTERS.is_dir() else "no linters: make linters"


def _no_machines() -> str | None:
    from labctl.providers.vagrant import libvirt

    missing = [name for name in ("vagrant", "qemu-system-x86_64", "virsh", "mmdebstrap") if not shutil.which(name)]
    if missing:
        return f"no virtual machines without {', '.join(missing)}"
    return None if libvirt.is_there() else "no virtual machines: libvirt does not run"


def _no_browser() -> str | None:
    if any(shutil.which(name) for name in BROWSERS):
        return None
    return f"none of {', '.join(BROWSERS)} is there"


def _no_engine() -> str | None:
    path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    connection = http.client.HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(10)
    try:
        connection.sock.connect(path)
        connection.request("GET", "/_ping")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"no container engine at {path}: {error}"
    finally:
        connection.close()
    return None if status == 200 else f"the engine at {path} answered {status}"
