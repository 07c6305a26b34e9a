"""A secret planted wherever one can be, and those that labctl makes, are in nothing that anybody gets to see."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.scenarios.project import Project

CANARY = f"canary{secrets.token_hex(6)}"

LAB = """
networks: {lan: {}}
volumes: {data: {type: local}}
nodes:
  box:
    desktop: true
    environment: {TOKEN: <canary>-1, GIVEN: null}
    users: {ana: {password: <canary>-2}}
    files: {/etc/secret: {content: "<canary>-3"}}
    run: ['test -n "$TOKEN"']
    services: {idle: {command: 'test -n "$KEY" && exec sleep 100000', environment: {KEY: <canary>-4}}}
    healthcheck: {test: "true", interval: 1s}
    volumes: [data:/data]
  thing:
    image: <image>
    command: <idle>
    environment: {TOKEN: <canary>-5, GIVEN: null}
    files: {/etc/secret: {content: "<canary>-6"}}
checks:
  holds: {tcp: "box:22"}
  fails: {run: 'test -z "$TOKEN"; false', on: box, retries: 1}
"""
SERVED = """
volumes: {disk: {type: iscsi, server: nas, size: 16MiB, chap: {user: me, password: <canary>-7}}}
nodes:
  nas: {}
  user: {volumes: ["disk:/data"]}
"""
GIVEN = {"GIVEN": f"{CANARY}-given"}

READING = [
    ["validate"],
    ["config"],
    ["config", "-o", "json"],
    ["plan"],
    ["plan", "-o", "json"],
    ["graph"],
    ["graph", "--format", "svg"],
    ["graph", "--format", "mermaid"],
]
LOOKING = [
    ["config"],
    ["plan", "-o", "json"],
    ["status"],
    ["status", "-o", "json"],
    ["status", "--storage"],
    ["ls"],
    ["ls", "-o", "json"],
    ["inspect"],
    ["inspect", "-o", "yaml"],
    ["why", "box", "thing"],
    ["why", "-o", "json"],
    ["logs"],
    ["logs", "box", "--run"],
    ["ssh-config"],
    ["volume", "list"],
    ["gc", "--dry-run"],
    ["extend", "1h"],
    ["restart", "thing"],
    ["exec", "box", "--", "true"],
    ["up", "--progress", "json"],
]


@contextmanager
def watched() -> Iterator[set[bytes]]:
    """The command lines of all processes that are seen meanwhile, in nodes too: they are processes of this host."""
    seen: set[bytes] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(entry.read_bytes())
                except OSError:
                    continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def everything(project: Project, name: str) -> str:
    """All that the engine tells of one lab's things, but the environment of what is no box."""
    wanted = {"label": [f"labctl.lab={name}"]}
    told = []
    for each in project.engine.containers(all=True, filters=wanted):
        inspected = project.engine.inspect_container(each["Id"])
        if "labctl.image" in inspected["Config"]["Labels"]:
            inspected["Config"]["Env"] = []  # an image is run as it is: this is its way to get them
        told.append(inspected)
        told.append(project.engine.history(inspected["Image"]))  # type: ignore[no-untyped-call]
    told += [project.engine.networks(filters=wanted), project.engine.volumes(filters=wanted)["Volumes"]]
    return json.dumps(told)


def made(project: Project) -> list[str]:
    """The secrets that labctl made for the lab."""
    kept = json.loads((project.state / "secrets.json").read_text())

    def leaves(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            for each in value.values():
                yield from leaves(each)
        elif isinstance(value, str) and len(value) >= 8:
            yield value

    found = list(leaves(kept))
    (key,) = (path for path in project.state.iterdir() if path.read_bytes().startswith(b"-----BEGIN"))
    assert key.stat().st_mode & 0o077 == 0
    return [*found, key.read_text().splitlines()[3]]


def without(text: str, known: list[str], where: str) -> None:
    for secret in [CANARY, *known]:
        assert secret not in text, f"{where}: {text[max(text.find(secret) - 200, 0) :][:500]}"


@pytest.mark.parametrize("lab", [LAB, SERVED], ids=["a lab", "a disk"])
@pytest.mark.engine
def test_commands_that_read_a_file_show_none_of_its_secrets(project: Project, tiny: str, lab: str) -> None:
    project.write(lab, canary=CANARY, image=tiny)
    for command in READING:
        ran = project.labctl(*command, env=GIVEN)
        assert ran.out or ran.err, command
        without(ran.out + ran.err, [], " ".join(command))


@pytest.mark.engine
def test_no_secret_is_seen_anywhere(project: Project, tiny: str) -> None:
    project.write(LAB, canary=CANARY, image=tiny)
    began = int(time.time())
    said: dict[str, str] = {}
    with watched() as processes:
        for command in (["up", "--verbose"], *LOOKING):
            ran = project.labctl(*command, env=GIVEN)
            said[" ".join(command)] = ran.out + ran.err
        ran = project.labctl("test", "--junit", "test.xml", code=6)
        said["test"] = ran.out + ran.err + (project.directory / "test.xml").read_text()
    known = made(project)
    assert len(known) >= 5, "the passwords and tokens of a desktop"
    assert any(b"labctl\0up\0" in each for each in processes), "nobody looked"
    for where, text in said.items():
        without(text, known, where)
    without(everything(project, project.name), known, "the engine")
    events = project.engine.events(since=began, until=int(time.time()), filters={"type": "container"}, decode=True)
    without(json.dumps(list(events)), known, "the engine's events")
    without(b"\n".join(processes).decode(errors="replace"), known, "command lines")
    for path in project.state.rglob("*"):
        if path.is_file() and path.name != "secrets.json" and not path.read_bytes().startswith(b"-----BEGIN"):
            without(path.read_text(errors="replace"), known, str(path))


@pytest.mark.engine
def test_no_secret_is_in_a_report(project: Project, tiny: str) -> None:
    project.write(LAB, canary=CANARY, image=tiny)
    project.file.write_text(project.file.read_text().replace("exec sleep", 'echo "$KEY $TOKEN" && exec sleep'))
    ran = project.labctl("ci", "--report", "report", "--junit", "junit.xml", "-o", "json", code=6, env=GIVEN)
    without(ran.out + ran.err, [], "ci")
    kept = [path for path in (project.directory / "report").rglob("*") if path.is_file()]
    assert "********" in (project.directory / "report/logs/box.log").read_text(), "the node did not talk"
    for path in [*kept, project.directory / "junit.xml"]:
        without(path.read_text(errors="replace"), [], str(path))
