"""Which files are read when, and what is said when they cannot be."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from labctl.errors import ExitCode, InvalidLabError, LabctlError, UsageError
from labctl.source.discover import NoLabFileError
from labctl.source.load import Loaded, load
from tests.language.conftest import Load

LAB = "name: {name}\nnodes: {{a: {{}}}}\n"


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (["lab.yaml", "lab.yml", "x.lab.yaml"], "lab.yaml"),
        (["lab.yml", "x.lab.yaml"], "lab.yml"),
        (["x.lab.yaml"], "x.lab.yaml"),
        (["../lab.yaml"], "../lab.yaml"),
        (["../lab.yaml", "x.lab.yaml"], "x.lab.yaml"),
        (["../../x.lab.yaml"], "../../x.lab.yaml"),
    ],
)
def test_the_nearest_file_is_found(load_files: Load, tmp_path: Path, files: list[str], chosen: str) -> None:
    below = "one/two"
    names = {file: f"lab-{index}" for index, file in enumerate(files)}
    (tmp_path / below).mkdir(parents=True)
    loaded = load_files({f"{below}/{file}": LAB.format(name=name) for file, name in names.items()}, cwd=below)
    assert loaded.lab.name == names[chosen]
    assert loaded.lab.directory == (tmp_path / below / chosen).resolve().parent


def test_several_files_are_not_guessed_between(load_files: Load) -> None:
    with pytest.raises(UsageError, match=r"several lab files in .*: a\.lab\.yaml, b\.lab\.yaml"):
        load_files({"a.lab.yaml": LAB, "b.lab.yaml": LAB})


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(NoLabFileError) as caught:
        load(None, cwd=tmp_path, environ={}, home=tmp_path)
    assert caught.value.exit_code is ExitCode.NOT_FOUND


def test_a_directory_means_its_lab_file(load_files: Load) -> None:
    assert load_files({"there/lab.yml": LAB.format(name="there")}, ["there"]).lab.name == "there"


def test_a_file_that_is_not_there(load_files: Load) -> None:
    with pytest.raises(NoLabFileError, match=r"nothing\.yaml does not exist"):
        load_files({}, ["nothing.yaml"])


def from_stdin(place: Path, raw: bytes) -> Loaded:
    stdin = io.TextIOWrapper(io.BytesIO(raw))
    return load(["-"], cwd=place, stdin=stdin, environ={}, home=place)


def test_standard_input(place: Path) -> None:
    loaded = from_stdin(place, LAB.format(name="piped").encode())
    assert loaded.lab.name == "piped"
    assert loaded.lab.directory == place.resolve()


def test_standard_input_is_read_once(place: Path) -> None:
    with pytest.raises(UsageError):
        load(["-", "-"], cwd=place, stdin=io.StringIO(""), environ={}, home=place)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"name: x\nnodes: {caf\xe9: {}}\n", "<stdin>:2:12: this is not UTF-8, a lab file is written in UTF-8"),
        ("name: x\n".encode("utf-16"), "<stdin>:1:1: this looks like UTF-16, a lab file is written in UTF-8"),
        (b"name: x\nnodes: {a\0b: {}}\n", "<stdin>:2:10: a NUL character cannot stand in a lab file"),
        (b"name: x\r\nnodes: {a\x07: {}}\r\n", "<stdin>:2:10: the control character U+0007 cannot stand in a lab file"),
    ],
)
def test_what_is_not_text(place: Path, raw: bytes, said: str) -> None:
    with pytest.raises(InvalidLabError) as caught:
        from_stdin(place, raw)
    assert caught.value.details[0].splitlines()[0] == said


def test_windows_line_ends_and_a_byte_order_mark(place: Path) -> None:
    assert from_stdin(place, b"\xef\xbb\xbfname: x\r\nnodes:\r\n  a: {}\r\n").lab.name == "x"


def test_a_file_that_is_too_large(load_files: Load) -> None:
    with pytest.raises(LabctlError, match="larger than 4 MiB"):
        load_files({"lab.yaml": "# " + "x" * 5_000_000})


def test_the_override_says_so_when_it_is_wrong(load_files: Load) -> None:
    with pytest.raises(InvalidLabError) as caught:
        load_files({"lab.yaml": LAB.format(name="x"), "lab.override.yaml": "nodes: {a: {cpus: many}}\n"})
    assert caught.value.details[0].startswith("lab.override.yaml:1:19: expected a number")
