"""A directory with a lab file, labctl run in it as a user does, and the engine asked behind labctl's back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import docker
from docker.errors import APIError

LABCTL = str(Path(sys.executable).with_name("labctl"))
IDLE = "trap 'exit 0' TERM; sleep infinity & wait"
"""A command for an image without an init: it stays, and ends when it is told to."""

PATIENCE = 240.0
"""Seconds after which a labctl that does not end is a failure."""


@dataclass(frozen=True)
class Ran:
    """A labctl that ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)

    @property
    def steps(self) -> list[str]:
        """The ids of the steps that it says are done, from its plain progress."""
        words = [line.split(" ", 1)[1] for line in self.err.splitlines() if line.endswith("s)") and " " in line]
        return [word.rpartition(" (")[0] for word in words]


class Project:
    """A lab of a test: `directory` has its lab file, `name` is its name on the engine."""

    def __init__(self, directory: Path, name: str, engine: docker.APIClient) -> None:
        self.directory, self.name, self.engine = directory, name, engine
        self.begun: list[Process] = []
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def file(self) -> Path:
        return self.directory / "lab.yaml"

    @property
    def state(self) -> Path:
        """labctl's files about this lab."""
        return Path(os.environ["LABCTL_HOME"]) / "labs" / self.name

    def secrets(self) -> dict[str, dict[str, str]]:
        """The secrets of each node."""
        nodes: dict[str, dict[str, str]] = json.loads((self.state / "secrets.json").read_text())["nodes"]
        return nodes

    def write(self, text: str, **words: str) -> None:
        """Write the lab file: `text` below the lab's name; ``<word>`` in it is replaced, ``<idle>`` by `IDLE`."""
        text = dedent(text)
        for word, value in {**words, "idle": json.dumps(IDLE)}.items():
            text = text.replace(f"<{word}>", value)
        self.file.write_text(f"name: {self.name}\n{text}")

    # ------------------------------------------------------------ labctl

    def begin(self, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Process:
        """Start labctl and do not wait for it."""
        process = subprocess.Popen(
            [LABCTL, *arguments],
            cwd=cwd or self.directory,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.begun.append(process)
        return process

    def labctl(
        self, *arguments: str, code: int = 0, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Ran:
        """Run labctl to its end, which must come with exit code `code`."""
        ran = end(self.begin(*arguments, env=env, cwd=cwd))
        assert ran.code == code, f"labctl {' '.join(arguments)}: {ran.code} instead of {code}\n{ran.out}{ran.err}"
        return ran

    def plan(self, *arguments: str) -> list[str]:
        """The steps that `up` would take, as ``verb ref``."""
        return [f"{step['verb']} {step['ref']}" for step in self.labctl("plan", "-o", "json", *arguments).data["steps"]]

    def take_down(self) -> None:
        """End every labctl that still runs, and remove the lab with its volumes; one that is gone is fine."""
        for process in self.begun:
            if process.poll() is None:
                process.kill()
                process.communicate()
        self.directory.mkdir(exist_ok=True)
        ran = end(self.begin("down", "--name", self.name, "--volumes", "--quiet"))
        assert ran.code in (0, 9), ran.err

    # ------------------------------------------------------------ the engine

    def container(self, node: str) -> str:
        return f"labctl-{self.name}-{node}"

    def inspect(self, node: str) -> Any:
        """What the engine says of a node."""
        return self.engine.inspect_container(self.container(node))

    def ids(self) -> dict[str, str]:
        """Container ids of all nodes that are there, by name."""
        found = self.engine.containers(all=True, filters={"label": [f"labctl.lab={self.name}"]})
        return {each["Labels"]["labctl.name"]: each["Id"] for each in found}

    def volumes(self) -> list[str]:
        """The lab's volumes, by the engine's names."""
        found = self.engine.volumes(filters={"label": [f"labctl.lab={self.name}"]})["Volumes"] or []
        return sorted(each["Name"] for each in found)

    def networks(self) -> list[str]:
        """The lab's networks, by the engine's names."""
        found = self.engine.networks(filters={"label": [f"labctl.lab={self.name}"]})
        return sorted(each["Name"] for each in found)

    def address(self, node: str, network: str = "lan") -> str:
        """The address of a running node."""
        return str(self.inspect(node)["NetworkSettings"]["Networks"][f"labctl-{self.name}-{network}"]["IPAddress"])

    def sh(self, node: str, script: str, *, code: int = 0) -> str:
        """The output of a script that root runs in a node."""
        made = self.engine.exec_create(self.container(node), ["sh", "-c", script])["Id"]
        output: bytes = self.engine.exec_start(made)
        ended = self.engine.exec_inspect(made)["ExitCode"]
        text = output.decode(errors="replace").strip()
        assert ended == code, f"{script!r} on {node}: {ended}\n{text}"
        return text

    def ssh(self, node: str, command: str) -> str:
        """The output of a command run by plain ssh with the configuration that labctl wrote."""
        argv = ["ssh", "-F", str(self.state / "ssh_config"), "-o", "BatchMode=yes", node, command]
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()


def until(condition: Callable[[], object], *, seconds: float = 60.0) -> None:
    """Wait until `condition` gives something true; what it asks of the engine may not be there yet."""
    stop = time.monotonic() + seconds
    while True:
        with suppress(APIError):
            if condition():
                return
        assert time.monotonic() < stop, "it did not come true"
        time.sleep(0.02)


Process = subprocess.Popen[str]


def end(process: Process, *, patience: float = PATIENCE) -> Ran:
    """Wait for a labctl; one that does not end is killed and fails the test."""
    try:
        out, err = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"labctl did not end within {patience:g} s\n{out}{err}") from None
    return Ran(process.returncode, out, err)
