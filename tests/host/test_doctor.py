"""`labctl doctor` as a user runs it."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from labctl.documents.schema import schema
from tests.host.made_up import engine_answers, made_up_engine

LABCTL = str(Path(sys.executable).parent / "labctl")


@contextmanager
def good_engine(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment in which a made-up engine is all that a lab needs."""
    answers: dict[str, tuple[int, Any]] = {**engine_answers(), "/distribution/debian:stable-slim/json": (200, {})}
    with made_up_engine(tmp_path / "engine.sock", answers) as address:
        yield {**os.environ, "DOCKER_HOST": address}


def doctor(
    environ: dict[str, str], *arguments: str, stdin: int = subprocess.DEVNULL
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LABCTL, "doctor", *arguments],
        env=environ,
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def without_programs(tmp_path: Path, environ: dict[str, str]) -> tuple[dict[str, str], Path]:
    """The same with a PATH that has only what the shell itself needs: no ssh, no iptables, no mmdebstrap."""
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    for name in ("env", "sh", "touch", "chmod"):
        path = shutil.which(name)
        assert path
        (programs / name).unlink(missing_ok=True)
        (programs / name).symlink_to(path)
    return {**environ, "PATH": str(programs)}, programs


def test_a_host_that_can(tmp_path: Path) -> None:
    with good_engine(tmp_path) as environ:
        done = doctor(environ)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Docker Engine 20.10.24" in done.stdout
    assert done.stdout.splitlines()[-1] == "This host can run labs of containers"
    assert done.stderr == ""


def test_a_host_that_cannot(tmp_path: Path) -> None:
    done = doctor({**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    assert done.returncode == 4
    assert "does not exist" in done.stdout
    assert "→ start that engine" in done.stdout
    assert "cannot run labs of containers" in done.stdout.splitlines()[-1]


def test_virtual_machines_are_asked_about_alone(tmp_path: Path) -> None:
    with good_engine(tmp_path) as environ:
        done = doctor(environ, "--for", "vagrant", "-o", "json")
    document = json.loads(done.stdout)
    assert document["providers"] == ["vagrant"]
    asked = {each["id"]: each["status"] for each in document["findings"]}
    assert {"vagrant", "hypervisor", "kvm"} <= set(asked)
    assert document["able"] == ("missing" not in asked.values())
    assert done.returncode == (0 if document["able"] else 4)
    assert not any(each["id"] == "engine" for each in document["findings"])


def test_the_document_is_what_its_schema_says(tmp_path: Path) -> None:
    with good_engine(tmp_path) as environ:
        document = json.loads(doctor(environ, "--for", "all", "-o", "json").stdout)
    jsonschema.validate(document, schema())
    assert (document["version"], document["kind"]) == (1, "host")
    assert document["providers"] == ["docker", "vagrant"]


def test_a_lab_file_says_what_is_needed(tmp_path: Path) -> None:
    plain = tmp_path / "plain.yaml"
    plain.write_text("name: plain\nnodes:\n  a: {image: some/image:1}\n")
    boxes = tmp_path / "boxes.yaml"
    boxes.write_text("name: boxes\nnodes:\n  a: {}\n")
    mixed = tmp_path / "mixed.yaml"
    mixed.write_text("name: mixed\nnodes:\n  a: {}\n  b: {provider: vagrant}\n")
    with good_engine(tmp_path) as environ:
        asked = {
            path.stem: json.loads(doctor(environ, "-f", str(path), "-o", "json").stdout)
            for path in (plain, boxes, mixed)
        }
        broken = tmp_path / "broken.yaml"
        broken.write_text("name: broken\nnodez: {}\n")
        assert doctor(environ, "-f", str(broken)).returncode == 3
    ids = {name: {each["id"] for each in document["findings"]} for name, document in asked.items()}
    assert "images" not in ids["plain"]
    assert "images" in ids["boxes"]
    assert "hypervisor" not in ids["boxes"]
    assert asked["mixed"]["providers"] == ["docker", "vagrant"]
    assert {"hypervisor", "engine"} <= ids["mixed"]


# ---------------------------------------------------------------- mending


def test_nothing_is_changed_without_being_asked(tmp_path: Path) -> None:
    with good_engine(tmp_path) as environ:
        environ, programs = without_programs(tmp_path, environ)
        apt = programs / "apt-get"
        apt.write_text(f"#!/bin/sh\necho called > {tmp_path}/called\n")
        apt.chmod(0o755)
        done = doctor(environ, "--fix")
    assert done.returncode == 2
    assert "no terminal" in done.stderr
    assert "openssh-client" in done.stderr  # what it would do has been shown
    assert not (tmp_path / "called").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="another user would be asked for a password by sudo")
def test_mending_installs_and_looks_again(tmp_path: Path) -> None:
    with good_engine(tmp_path) as environ:
        environ, programs = without_programs(tmp_path, environ)
        apt = programs / "apt-get"
        apt.write_text(
            textwrap.dedent(f"""\
                #!/bin/sh
                echo "$@" >> {tmp_path}/called
                case "$*" in *install*openssh-client*)
                    echo '#!/bin/sh' > {programs}/ssh; chmod +x {programs}/ssh;;
                esac
                echo 'apt says something'
                """)
        )
        apt.chmod(0o755)
        done = doctor(environ, "--fix", "--yes", "-o", "json")
    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "called").read_text().splitlines()
    assert len([call for call in calls if "install" in call]) == 1
    assert "--no-install-recommends" in calls[-1]
    findings = {each["id"]: each for each in json.loads(done.stdout)["findings"]}  # only the document is on stdout
    assert findings["ssh"]["status"] == "ok"
    assert "apt says something" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="another user would be asked for a password by sudo")
def test_a_command_that_fails_is_an_error_of_the_host(tmp_path: Path) -> None:
    with good_engine(tmp_path) as environ:
        environ, programs = without_programs(tmp_path, environ)
        apt = programs / "apt-get"
        apt.write_text("#!/bin/sh\necho 'E: Unable to fetch' >&2\nexit 100\n")
        apt.chmod(0o755)
        done = doctor(environ, "--fix", "--yes")
    assert done.returncode == 4
    assert "failed with exit code 100" in done.stderr
    assert "E: Unable to fetch" in done.stderr


def test_on_a_terminal_the_answer_counts(tmp_path: Path) -> None:
    with good_engine(tmp_path) as environ:
        environ, programs = without_programs(tmp_path, environ)
        apt = programs / "apt-get"
        apt.write_text(f"#!/bin/sh\necho called > {tmp_path}/called\n")
        apt.chmod(0o755)
        code, shown = on_terminal([LABCTL, "doctor", "--fix"], environ, answer="n\n", after="[y/N]")
    assert code == 2
    assert "openssh-client" in shown
    assert "nothing was changed" in shown
    assert not (tmp_path / "called").exists()


def on_terminal(argv: list[str], environ: dict[str, str], *, answer: str, after: str) -> tuple[int, str]:
    """Run on a terminal of its own, type `answer` when `after` has been shown. Returns exit code and screen."""
    master, slave = pty.openpty()
    process = subprocess.Popen(argv, env=environ, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    shown = b""

    def read() -> None:
        nonlocal shown
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:
                return
            if not data:
                return
            shown += data

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    end = time.monotonic() + 30
    while after.encode() not in shown and time.monotonic() < end:
        time.sleep(0.05)
    os.write(master, answer.encode())
    code = process.wait(30)
    reader.join(5)
    os.close(master)
    return code, shown.decode(errors="replace")


# ---------------------------------------------------------------- a real engine


@pytest.mark.engine
def test_this_hosts_own_engine() -> None:
    done = doctor(dict(os.environ), "-o", "json")
    assert done.returncode == 0, done.stdout
    findings = {each["id"]: each for each in json.loads(done.stdout)["findings"]}
    assert findings["engine"]["status"] == findings["engine-local"]["status"] == "ok"


@pytest.mark.engine
@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of its own are for root")
@pytest.mark.skipif(Path("/run/systemd/system").is_dir(), reason="this host's engine belongs to systemd")
def test_an_engine_that_does_not_run_is_started(tmp_path: Path) -> None:
    """A second engine, with mounts, processes and network of its own: this host's is neither seen nor touched."""
    script = textwrap.dedent(f"""\
        set -e
        for place in /run /var/lib/docker /var/log; do mount -t tmpfs tmpfs $place; done
        ip link set lo up
        {LABCTL} doctor -o json > {tmp_path}/before.json || echo $? > {tmp_path}/before
        {LABCTL} doctor --fix --yes -o json > {tmp_path}/after.json
        {LABCTL} doctor --fix -o json > {tmp_path}/again.json
        ls /var/log > {tmp_path}/logs
        """)
    done = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "before").read_text().strip() == "4"
    before, after = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("before", "after"))
    assert "does not run" in next(each for each in before["findings"] if each["id"] == "engine")["evidence"]
    assert after["able"] is True
    assert (tmp_path / "logs").read_text().split() == ["dockerd.log"]
