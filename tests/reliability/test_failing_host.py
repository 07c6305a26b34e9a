"""An engine that is stopped, killed or full, and a host without names: clean messages, labs that can be mended."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.plan.model import BakedImage
from tests.reliability.second import SecondEngine
from tests.scenarios.project import LABCTL, Process, Ran, end

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("dockerd", path="/usr/sbin:/usr/bin"), reason="needs root"
    ),
]

LAB = """
name: c-second
networks: {none: {internal: true, subnet: 10.215.9.0/24}}
nodes:
  a:
    image: "somebody/tiny:1"
    command: &idle [sh, -c, "trap 'exit 1' TERM; sleep infinity & wait"]
    volumes: [data:/data]
  b: {image: "somebody/tiny:1", command: *idle, depends_on: {a: {condition: started}}}
volumes: {data: {type: local}}
"""


@pytest.fixture(scope="module")
def second(baked: BakedImage) -> Iterator[SecondEngine]:
    """A second engine, with one small image."""
    assert baked.base is not None
    # Sockets have short names, shorter than those of pytest's directories.
    engine = SecondEngine(Path(tempfile.mkdtemp(prefix="second-", dir="/var/tmp")), size=450)
    try:
        engine.make()
        engine.start()
        engine.take(baked.base.tag, "somebody/tiny:1")
        yield engine
    finally:
        engine.remove()


class Second:
    """labctl on the second engine."""

    def __init__(self, engine: SecondEngine, directory: Path) -> None:
        self.engine, self.directory = engine, directory
        (directory / "lab.yaml").write_text(LAB)

    def begin(self, *argv: str) -> Process:
        import subprocess

        return subprocess.Popen(
            [LABCTL, *argv],
            cwd=self.directory,
            env={**os.environ, "DOCKER_HOST": self.engine.host},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def labctl(self, *argv: str, code: int = 0) -> Ran:
        ran = end(self.begin(*argv))
        assert ran.code == code, f"labctl {' '.join(argv)}: {ran.code}\n{ran.out}{ran.err}"
        assert "Traceback" not in ran.err
        assert "internal error" not in ran.err
        return ran


@pytest.fixture
def lab(second: SecondEngine, tmp_path: Path, labctl_home: Path) -> Iterator[Second]:
    made = Second(second, tmp_path)
    yield made
    if second.process is None:
        second.start()
    made.labctl("down", "--volumes")
    assert second.docker("ps", "-aq").split() == []
    assert second.docker("volume", "ls", "-q").split() == []


def test_an_engine_that_is_stopped(lab: Second) -> None:
    lab.labctl("up")
    lab.engine.stop()
    for command in ("up", "status", "down", "plan", "ls"):
        ran = lab.labctl(command, code=4)
        assert "LAB-HOST-002" in ran.err
    lab.engine.start()
    assert lab.labctl("plan").out.count("start node/") == 2
    lab.labctl("up")
    assert "nothing to do" in lab.labctl("up").err


@pytest.mark.parametrize("after", [0.2, 0.6])
def test_an_engine_that_is_killed_in_the_middle(lab: Second, after: float) -> None:
    process = lab.begin("up")
    time.sleep(0.5 + after)
    lab.engine.stop(signal.SIGKILL)
    ran = end(process)
    assert "Traceback" not in ran.err
    assert ran.code in (0, 1, 4, 5, 7), ran.err
    lab.engine.start()
    lab.labctl("up")
    assert {line.split()[1] for line in lab.labctl("status").out.splitlines()[1:]} == {"running"}


def fill(path: Path) -> None:
    """Write to `path` until not a byte more goes onto its disk."""
    with path.open("wb", buffering=0) as file:
        for size in (2**20, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def test_a_disk_that_is_full(lab: Second) -> None:
    lab.labctl("up", "a")
    filler = lab.engine.data / "filler"
    fill(filler)
    ran = end(lab.begin("up"))
    assert ran.code != 0
    assert "Traceback" not in ran.err
    assert "LAB-HOST-005" in ran.err, ran.err
    lab.labctl("status")
    filler.unlink()
    lab.labctl("up")


def test_a_host_without_names(lab: Second) -> None:
    (lab.directory / "lab.yaml").write_text("name: c-second\nnodes: {a: {image: 'nosuch.invalid/thing:1'}}\n")
    ran = end(lab.begin("up"))
    assert ran.code == 4, ran.err
    assert "LAB-IMG-003" in ran.err
    assert "Traceback" not in ran.err
