"""A place for a lab file: a directory, a home, and the files that TOPOLOGY's full example names."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from labctl.source.load import Loaded, load

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJustForTestsJustForTestsJustForTestsJust ana@example"
BOXES = ("debian-12", "debian-13")

Load = Callable[..., Loaded]


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with what the full example refers to; its home is ``home`` below it."""
    directory = tmp_path_factory.mktemp("lab")
    (directory / "src").mkdir()
    (directory / "home" / ".ssh").mkdir(parents=True)
    (directory / "home" / ".ssh" / "id_ed25519.pub").write_text(f"{KEY}\n")
    return directory


@pytest.fixture
def load_text(place: Path) -> Load:
    """Loads a lab file given as text, as if from standard input."""

    def run(text: str, *, environ: Mapping[str, str] | None = None) -> Loaded:
        return load(["-"], cwd=place, stdin=io.StringIO(text), environ=environ or {}, home=place / "home", boxes=BOXES)

    return run


@pytest.fixture
def load_files(tmp_path: Path) -> Load:
    """Writes files into a fresh directory and loads the lab there."""

    def run(
        files: Mapping[str, str],
        given: Sequence[str] | None = None,
        *,
        cwd: str = ".",
        environ: Mapping[str, str] | None = None,
    ) -> Loaded:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        directory = tmp_path / cwd
        return load(given, cwd=directory, environ=environ or {}, home=tmp_path, boxes=BOXES)

    return run
