"""What users install: the wheel's content, that it runs, and that the lock has all that the project asks for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next(directory.glob("*.whl"))


def test_wheel_holds_the_package_and_its_assets_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert len(tops) == 2, tops
    assert "labctl" in tops
    assert all(top == "labctl" or top.endswith(".dist-info") for top in tops)
    assert "labctl/app.py" in names
    for kind in ("templates", "boxes"):
        shipped = {name.removeprefix(f"labctl/_assets/{kind}/") for name in names if f"/_assets/{kind}/" in name}
        there = {str(path.relative_to(ROOT / kind)) for path in (ROOT / kind).rglob("*") if path.is_file()}
        assert shipped == {name for name in there if "__pycache__" not in name}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_nothing_that_is_shipped_is_hidden_from_git() -> None:
    """A file that git passes over is there for who wrote it, and in nobody's clone."""
    listed = ["git", "status", "--porcelain", "--ignored", "--", "cli", "templates", "boxes"]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a clone")
    hidden = [line.removeprefix("!! ") for line in done.stdout.splitlines() if line.startswith("!! ")]
    assert [path for path in hidden if not path.rstrip("/").endswith("__pycache__")] == []


def test_wheel_runs_from_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    """Its dependencies are lent by this environment: what they are is the lock's business, not this test's."""
    place = tmp_path / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin/python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel)],
        check=True,
        capture_output=True,
    )
    environment = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}

    def labctl(*arguments: str) -> str:
        done = subprocess.run(
            [str(place / "bin/labctl"), *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dynamic"]
    assert version == ["version"]
    assert re.fullmatch(r"labctl \d+\.\d+\.\d+\S*\n", labctl("--version"))
    labctl("init", "--template", "hello", "fresh")
    assert (tmp_path / "fresh/lab.yaml").is_file()
    where = subprocess.run(
        [str(python), "-c", "import labctl.assets as a; print(a.assets('boxes'))"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert Path(where.strip()).is_relative_to(place)


def locked() -> dict[str, tuple[str, int]]:
    """Each name in the lock with its version and the number of its hashes."""
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text())
    found = {}
    for entry in entries:
        if match := re.match(r"([a-zA-Z0-9._-]+)==(\S+)", entry):
            found[match.group(1).lower().replace("_", "-")] = (match.group(2), entry.count("--hash=sha256:"))
    return found


def test_lock_covers_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + [line for extra in project["optional-dependencies"].values() for line in extra]
    lock = locked()
    for line in lines:
        requirement = Requirement(line)
        name = requirement.name.lower().replace("_", "-")
        assert name in lock, f"make lock: {line} is not in the lock"
        assert requirement.specifier.contains(Version(lock[name][0])), f"make lock: {line} is {lock[name][0]} there"


def test_lock_has_hashes_and_no_addresses() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert not re.search(r"^\s*--(?!hash)", text, flags=re.MULTILINE)
    assert [name for name, (_, hashes) in locked().items() if not hashes] == []
    assert len(locked()) > 30
