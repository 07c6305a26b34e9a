"""A lab of a test in its own directory, and what the tests ask of its nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError

LABCTL = str(Path(sys.executable).with_name("labctl"))

LAB = """\
name: {name}
nodes:
  ana: {{desktop: true}}
  ben: {{desktop: {{wm: openbox, geometry: 1440x900}}}}
  cat: {{desktop: {{wm: xfce, geometry: 1024x768}}}}
  db: {{}}
checks:
  drawn: {{desktop: ana, retries: 6, interval: 500ms}}
  drawn-too: {{desktop: cat}}
"""


@dataclass
class DesktopLab:
    """labctl run on one lab, in its own directory and with its own home."""

    directory: Path
    name: str
    environ: dict[str, str] = field(repr=False)

    def labctl(self, *argv: str, env: Mapping[str, str] | None = None, code: int = 0) -> str:
        """What a labctl that ends with `code` printed on its standard output."""
        return self.run(*argv, env=env, code=code).stdout.strip()

    def run(self, *argv: str, env: Mapping[str, str] | None = None, code: int = 0) -> subprocess.CompletedProcess[str]:
        """A labctl that ended with `code`."""
        ran = subprocess.run(
            [LABCTL, *argv],
            cwd=self.directory,
            env={**self.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert ran.returncode == code, f"labctl {' '.join(argv)}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
        return ran

    def ssh(self, node: str, command: str) -> str:
        """The output of a command run by plain ssh with the configuration that labctl wrote."""
        config = Path(self.environ["LABCTL_HOME"]) / "labs" / self.name / "ssh_config"
        argv = ["ssh", "-F", str(config), "-o", "BatchMode=yes", node, command]
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def sh(self, node: str, script: str, *, user: str = "root", code: int | None = 0) -> str:
        """What a script printed that runs in a node, on its desktop when it has one."""
        argv = ["docker", "exec", "-e", "DISPLAY=:1", "-u", user, self.container(node), "sh", "-c", script]
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert code is None or ran.returncode == code, (
            f"{script!r} on {node}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
        )
        return ran.stdout.strip()

    def docker(self, *argv: str) -> str:
        ran = subprocess.run(["docker", *argv], capture_output=True, text=True, timeout=120, check=True)
        return ran.stdout + ran.stderr

    def container(self, node: str) -> str:
        return f"labctl-{self.name}-{node}"

    def address(self, node: str) -> str:
        shown = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return self.docker("inspect", "-f", shown, self.container(node)).strip()

    def url(self, *argv: str) -> str:
        return self.labctl("url", *argv)

    def secrets(self) -> dict[str, Any]:
        """The lab's secrets as labctl keeps them."""
        path = Path(self.environ["LABCTL_HOME"]) / "labs" / self.name / "secrets.json"
        return cast(dict[str, Any], json.loads(path.read_text()))

    def size(self, node: str) -> tuple[int, int]:
        """Width and height of the X screen."""
        text = self.sh(node, "xwininfo -root")
        width, height = (next(line for line in text.splitlines() if word in line) for word in ("Width:", "Height:"))
        return int(width.split()[1]), int(height.split()[1])


def ask(url: str, *, token: str = "", **headers: str) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and body of a GET. `headers` name theirs with underscores."""
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, dict(response.headers), response.read()
    except HTTPError as error:
        return error.code, dict(error.headers), error.read()


def split(url: str) -> tuple[str, str]:
    """The site and the token of a link."""
    site, _, token = url.partition("#")
    return site, token


def eventually(holds: Callable[[], object], *, within: float = 15.0) -> None:
    """Fail unless `holds` becomes true in time (seconds)."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)


def environment(home: Path) -> dict[str, str]:
    """The environment of a labctl with its home there, and with no browser to open."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LABCTL_", "SSH_"))}
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "SUDO_UID"):
        kept.pop(name, None)
    return {**kept, "LABCTL_HOME": str(home), "NO_COLOR": "1"}
