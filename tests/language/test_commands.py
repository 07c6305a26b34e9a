"""init, validate, config and schema as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from labctl.source.templates import lab_name, templates, write
from labctl.source.yamlio import load_plain
from tests.language.conftest import Load

Labctl = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def labctl(tmp_path: Path) -> Labctl:
    """Runs labctl in a directory of its own."""

    def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from labctl.app import main; main()", *arguments],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path), **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_every_template_has_a_description_and_is_valid(tmp_path: Path, labctl: Labctl) -> None:
    assert {"hello", "team-desktops", "two-tier", "ci-minimal"} <= set(templates())
    for name, description in templates().items():
        assert 10 < len(description) < 90
        write(name, tmp_path / name, environ={})
        done = labctl("validate", "-f", name)
        assert (done.returncode, done.stdout[: len(name) + 4]) == (0, f"lab {name}"), done.stderr


def test_init_names_the_lab_after_its_directory_and_overwrites_nothing(tmp_path: Path, labctl: Labctl) -> None:
    done = labctl("init", "My Lab.d")
    assert (done.returncode, done.stdout) == (0, "My Lab.d/lab.yaml\n")
    text = (tmp_path / "My Lab.d" / "lab.yaml").read_text()
    assert "name: my-lab-d\n" in text
    again = labctl("init", "--template", "two-tier", "My Lab.d")
    assert again.returncode == 2
    assert "is there already" in again.stderr
    assert sorted(path.name for path in (tmp_path / "My Lab.d").iterdir()) == ["lab.yaml"]
    assert (tmp_path / "My Lab.d" / "lab.yaml").read_text() == text


def test_init_lists_templates_and_suggests_the_nearest(labctl: Labctl) -> None:
    listed = labctl("init", "--list").stdout
    assert all(name in listed and description in listed for name, description in templates().items())
    wrong = labctl("init", "--template", "helo")
    assert wrong.returncode == 9
    assert "did you mean hello?" in wrong.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_under_sudo_the_files_belong_to_the_invoking_user(tmp_path: Path) -> None:
    files = write("two-tier", tmp_path / "one" / "two", environ={"SUDO_UID": "12345", "SUDO_GID": "12346"})
    assert [path.name for path in files] == ["lab.yaml", "app.py"]
    for path in (*files, tmp_path / "one" / "two", tmp_path / "one"):
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)
    assert tmp_path.stat().st_uid != 12345


@pytest.mark.parametrize(
    ("directory", "name"), [("Shop", "shop"), ("a_b c", "a-b-c"), ("---", "lab"), ("2024", '"2024"'), ("no", '"no"')]
)
def test_names_of_labs(tmp_path: Path, load_text: Load, directory: str, name: str) -> None:
    assert lab_name(tmp_path / directory) == name
    assert load_text(f"name: {name}\nnodes: {{a: {{}}}}\n").lab.name == name.strip('"')


def test_validate_says_all_that_is_wrong(tmp_path: Path, labctl: Labctl) -> None:
    (tmp_path / "lab.yaml").write_text("name: x\nnodes:\n  a: {memroy: 1GiB}\n  b: {networks: [lna]}\n")
    done = labctl("validate")
    assert done.returncode == 3
    assert done.stdout == ""
    assert "lab.yaml:3:7: unknown key `memroy`, did you mean `memory`?" in done.stderr
    assert "lab.yaml:4:18: there is no network `lna`, did you mean `lan`?" in done.stderr
    assert "2 problems in the lab file" in done.stderr
    document = json.loads(labctl("validate", "-o", "json").stdout)
    assert (document["version"], document["valid"], len(document["problems"])) == (1, False, 2)


def test_validate_of_a_valid_lab(tmp_path: Path, labctl: Labctl) -> None:
    (tmp_path / "lab.yaml").write_text("name: x\nnodes: {a: {count: 3, ide: true}}\n")
    done = labctl("validate")
    assert (done.returncode, done.stdout) == (0, "lab x is valid: 3 nodes, 1 network\n")
    assert "the browser IDE is not started by this version: a-1, a-2, a-3" in done.stderr
    document = json.loads(labctl("validate", "-o", "json").stdout)
    assert document["nodes"] == ["a-1", "a-2", "a-3"]
    assert labctl("validate", "-o", "name").stdout == "x\n"


def test_config_prints_the_resolved_file_without_secrets(tmp_path: Path, labctl: Labctl) -> None:
    (tmp_path / "lab.yaml").write_text("name: x\nnodes: {a: {environment: {KEY: canary}, desktop: true}}\n")
    done = labctl("config")
    assert done.returncode == 0
    assert "canary" not in done.stdout + done.stderr
    data = load_plain(done.stdout)
    assert isinstance(data, dict)
    assert data["nodes"]["a"]["desktop"] == {"wm": "icewm", "geometry": "1280x800"}
    assert json.loads(labctl("config", "-o", "json").stdout) == data
    (tmp_path / "again.yaml").write_text(done.stdout)
    assert labctl("validate", "-f", "again.yaml").returncode == 0


def test_config_explains(tmp_path: Path, labctl: Labctl) -> None:
    (tmp_path / "lab.yaml").write_text("name: x\ndefaults: {cpus: 2}\nnodes:\n  a:\n    memory: 1GiB\n")
    lines = {line.split(":")[0]: line.rsplit("# ", 1)[1] for line in labctl("config", "--explain").stdout.splitlines()}
    assert lines["nodes.a.memory"] == "lab.yaml:5"
    assert lines["nodes.a.cpus"] == "lab.yaml:2"
    assert lines["nodes.a.box"] == "default"
    entries = json.loads(labctl("config", "--explain", "-o", "json").stdout)["values"]
    assert {"path": "nodes.a.memory", "value": "1GiB", "origin": "lab.yaml:5"} in entries


def test_schema_is_json_schema(labctl: Labctl) -> None:
    schema = json.loads(labctl("schema").stdout)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == ["name", "nodes"]


def test_a_variable_gives_a_flag(tmp_path: Path, labctl: Labctl) -> None:
    (tmp_path / "other.yaml").write_text("name: other\nnodes: {a: {}}\n")
    assert labctl("validate", LABCTL_VALIDATE_FILE="other.yaml").stdout.startswith("lab other is valid")
