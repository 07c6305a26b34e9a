"""A container engine of a test's own, which may be stopped, killed and filled: own socket, data and small disk."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

PATIENCE = 60.0

BRIDGE = f"second{os.getpid()}"
"""Its default bridge. Without one of its own it would take that of the host's engine; told to have none, remove it."""


class SecondEngine:
    """An engine whose data lies on a loop-mounted disk of `size` MiB. It touches neither bridges nor firewall rules."""

    def __init__(self, directory: Path, *, size: int) -> None:
        self.directory, self.size = directory, size
        self.socket = directory / "engine.sock"
        self.data = directory / "data"
        self.host = f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Make its disk."""
        disk = self.directory / "disk"
        self.data.mkdir()
        with disk.open("wb") as file:
            file.truncate(self.size * 2**20)
        run("mkfs.ext4", "-q", "-m", "0", str(disk))
        run("mount", "-o", "loop", str(disk), str(self.data))
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "address", "add", f"10.209.{os.getpid() % 250}.1/24", "dev", BRIDGE)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = (self.directory / "engine.log").open("ab")
        options = ["--host", self.host, "--data-root", str(self.data), "--exec-root", str(self.directory / "exec")]
        options += ["--pidfile", str(self.directory / "engine.pid"), "--bridge", BRIDGE, "--iptables=false"]
        self.process = subprocess.Popen(
            ["dockerd", *options], stdout=log, stderr=log, start_new_session=True, env=self.environment
        )
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(["docker", "-H", self.host, "version"], capture_output=True, check=False).returncode:
            assert self.process.poll() is None, (self.directory / "engine.log").read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.2)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it in order, or kill it with its containers' minder as a crash of the host's would."""
        if self.process is None:
            return
        if number == signal.SIGKILL:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.send_signal(number)
        self.process.wait(PATIENCE)
        self.process = None
        # Its minder of containers dies with it, and is taken for alive as long as nobody has waited for it.
        for name in ("engine.pid", "exec/containerd/containerd.pid"):
            (self.directory / name).unlink(missing_ok=True)

    def docker(self, *argv: str) -> str:
        """What the engine's own command prints."""
        return run("docker", "-H", self.host, *argv)

    def take(self, image: str, name: str) -> None:
        """Have an image of the other engine, under that name."""
        saved = subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE)
        subprocess.run(["docker", "-H", self.host, "load", "-q"], stdin=saved.stdout, capture_output=True, check=True)
        assert saved.wait() == 0
        self.docker("tag", image, name)

    def remove(self) -> None:
        """End it and all it started; take its disk away."""
        if self.process is not None:
            ids = self.docker("ps", "-aq").split()
            if ids:
                self.docker("rm", "-f", *ids)
            self.stop()
        for process in self._processes():
            os.kill(process, signal.SIGKILL)
        for place in _mounted_below(self.directory):
            subprocess.run(["umount", "-l", place], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _processes(self) -> list[int]:
        """What still runs of it: all processes that have its directory in their command, and their children."""
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and str(self.directory).encode() in (entry / "cmdline").read_bytes():
                    children = (entry / "task" / entry.name / "children").read_text().split()
                    found += [int(entry.name), *map(int, children)]
            except OSError:
                continue
        return found


def _mounted_below(directory: Path) -> list[str]:
    places = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return sorted((place for place in places if place.startswith(f"{directory}/")), key=len, reverse=True)


def run(*argv: str) -> str:
    """The output of a program that has to succeed."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    program = shutil.which(argv[0], path=path)
    assert program is not None, argv[0]
    done = subprocess.run([program, *argv[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (argv, done.stderr)
    return done.stdout
