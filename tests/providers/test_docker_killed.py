"""What stays when labctl is killed while it makes images, and that the next run takes it away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest

from labctl.plan.model import BakedImage
from labctl.providers import labels
from labctl.providers.base import Provider
from labctl.providers.docker.images import clear_leftovers
from labctl.providers.docker.provider import Docker

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("contract"), pytest.mark.usefixtures("host_state")]

_BAKE = """
import sys
from pathlib import Path
from labctl.plan.model import BakedImage, BaseImage
from labctl.providers.docker.provider import Docker
from labctl.recipe import Entry
text = "FROM " + sys.argv[1] + "\\nRUN true\\nRUN echo begun; sleep 60 # b-killed\\n"
base = BaseImage(sys.argv[1], "b-killed", "", "")
image = BakedImage("labctl/b-killed:1", base, (Entry("/Dockerfile", text.encode()),))
Docker(cache=Path(sys.argv[2])).build(image, on_line=lambda line: print(line, flush=True))
"""

_BOOTSTRAP = """
import sys
from pathlib import Path
from labctl.plan.model import BaseImage
from labctl.providers.bootstrap import bootstrapped
base = BaseImage("labctl/b-killed:base-1", "b-killed", "", "trixie", (), "essential")
with bootstrapped(base, Path(sys.argv[2]), {}, lambda line: print(line, flush=True)):
    pass
"""


def killed(program: str, base: str, cache: Path, until: str) -> None:
    """Run `program` until it says `until`, and kill it there."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, base, str(cache)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if until in line and "RUN" not in line:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert until in said[-1], said


def eventually(holds: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.1)
    return False


def test_a_killed_bake_leaves_nothing_that_the_next_does_not_remove(
    provider: Provider, baked: BakedImage, tmp_path: Path
) -> None:
    assert baked.base is not None
    engine: Any = docker.APIClient(timeout=60)
    unfinished = {"label": [f"{labels.KIND}={labels.BAKING}"]}

    def running() -> list[Any]:
        return [
            each for each in engine.containers(all=True, filters=unfinished) if "b-killed" in str(each.get("Command"))
        ]

    def dangling() -> set[str]:
        return {each["Id"] for each in engine.images(filters=unfinished | {"dangling": ["true"]})}

    before = dangling()
    killed(_BAKE, baked.base.tag, tmp_path, "begun")
    assert eventually(lambda: not running())  # the engine ends a build that nobody listens to
    left = dangling() - before
    assert left
    own = Docker(cache=tmp_path)
    assert not left & set(own.clear_leftovers())  # too young: it could be a build that goes on

    def cleared() -> bool:
        clear_leftovers(own.engine, older=0)
        return not left & dangling()

    assert eventually(cleared)
    assert not engine.images("labctl/b-killed")


@pytest.mark.parametrize("until", ["running apt-get update", "downloading packages", "extracting archives"])
def test_a_killed_bootstrap_dies_with_all_it_started(tmp_path: Path, until: str) -> None:
    cache = tmp_path / "cache"

    def processes() -> list[str]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(cache) in words and "labctl" not in words:
                found.append(words)
        return found

    killed(_BOOTSTRAP, "", cache, until)
    # At once: left alone it would go on, and end only when it next has something to say to nobody.
    assert eventually(lambda: not processes(), seconds=1.0), processes()
    assert not [line for line in Path("/proc/mounts").read_text().splitlines() if str(cache) in line]
    assert list(cache.glob("bootstrap-*"))
    Docker(cache=cache).clear_leftovers()
    assert not list(cache.glob("bootstrap-*"))
