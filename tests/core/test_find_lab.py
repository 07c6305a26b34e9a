"""Which lab a command means: a file that was given has to be there; gone, it still means the lab made from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl import api
from labctl.errors import ExitCode
from labctl.lab import LabDirectory, home
from labctl.plan.model import ObservedLab
from labctl.source.discover import NoLabFileError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory from which the lab `x-made` was made by a file that is gone; the engine knows of nothing."""
    directory = tmp_path / "project"
    directory.mkdir()
    monkeypatch.chdir(directory)
    monkeypatch.setattr(api, "labs", list[ObservedLab])
    LabDirectory(home(), "x-made").remember_source([str(directory / "gone.yaml")], str(directory))
    return directory


@pytest.mark.parametrize("name", [None, "x-made"])
def test_a_file_that_was_given_has_to_be_there(here: Path, name: str | None) -> None:
    with pytest.raises(NoLabFileError, match=r"nosuch\.yaml does not exist") as caught:
        api.find_lab(["nosuch.yaml"], name)
    assert caught.value.exit_code is ExitCode.NOT_FOUND
    assert caught.value.hint


def test_the_lab_made_from_a_file_that_is_gone_is_named(here: Path) -> None:
    with pytest.raises(NoLabFileError) as caught:
        api.find_lab(["gone.yaml"], None)
    assert caught.value.hint is not None
    assert caught.value.hint.endswith("-n x-made")


@pytest.mark.parametrize("given", ["gone.yaml", "../project/gone.yaml", "."])
def test_down_still_means_it(here: Path, given: str) -> None:
    assert api.find_lab([given], None, gone=True) == "x-made"


def test_but_only_by_exactly_that_file(here: Path) -> None:
    with pytest.raises(NoLabFileError):
        api.find_lab(["nosuch.yaml"], None, gone=True)


def test_without_a_file_the_directory_leads_to_it(here: Path) -> None:
    assert api.find_lab(None, None) == "x-made"
