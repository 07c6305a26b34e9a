"""What the documentation says holds: every block of code is run, or says why not; generated pages are up to date."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from labctl import api
from labctl.errors import LabctlError
from tests.support.host_state import describe, read_host, settled

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BIN = Path(sys.executable).parent
FENCE = re.compile(r"^(```+)(\w*)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: (.{10,}) -->\n\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block: `reason` is why it is not run, None when it is."""

    page: Path
    line: int
    language: str
    text: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in FENCE.finditer(text):
        before = text[: found.start()]
        reason = NOT_RUN.search(before)
        yield Block(page, before.count("\n") + 1, found[2], found[3], reason[1] if reason else None)


ALL = [block for page in PAGES for block in blocks(page)]
RUN = [page for page in PAGES if any(b.language in ("sh", "python") and b.reason is None for b in blocks(page))]


def test_there_is_something_to_test() -> None:
    assert len(ALL) > 15
    assert [page.name for page in RUN] == ["ci.md", "desktops.md", "tour.md"]


@pytest.mark.parametrize("block", ALL, ids=str)
def test_every_block_is_of_a_kind_that_is_tested(block: Block) -> None:
    assert block.reason or block.language in ("sh", "python", "yaml"), "mark it: <!-- not run: the reason -->"


@pytest.mark.parametrize("block", [b for b in ALL if b.language == "yaml" and b.reason is None], ids=str)
def test_lab_files_are_valid(block: Block, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(block.text)
    try:
        api.load([str(tmp_path / "lab.yaml")])
    except LabctlError as error:
        pytest.fail("\n".join([str(error), *error.details]), pytrace=False)


def script(page: Path, directory: Path, token: str) -> str:
    """All blocks of a page in order, for one shell in `directory`; lab files are written where they stand.

    Labs have names of their own, with `token` at the end.
    """
    lines = ["set -eu"]
    for number, block in enumerate(b for b in blocks(page) if b.reason is None):
        own = re.sub(r"^name: ([\w-]+)$", rf"name: \1-{token}", block.text, flags=re.MULTILINE)
        if block.language == "yaml" and block.text.startswith("# lab.yaml\n"):
            lines.append(f"cat > lab.yaml <<'END'\n{own}END")
        elif block.language == "sh":
            lines.append(
                block.text.replace(
                    "labctl init hello\n", f"labctl init hello\nsed -i 's/^name: .*/&-{token}/' hello/lab.yaml\n"
                )
            )
        elif block.language == "python":
            (directory / f"block{number}.py").write_text(block.text)
            lines.append(f"{sys.executable} block{number}.py")
    return "\n".join(lines)


def follow(page: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    """Do what a page says; whatever became of it, its labs are gone afterwards."""
    token = secrets.token_hex(3)
    text = script(page, directory, token)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("LABCTL_", "DISPLAY", "CI"))}
    environ |= {"PATH": f"{BIN}:{os.environ['PATH']}", "NO_COLOR": "1", "LABCTL_HOME": str(directory / "labctl-home")}
    done = subprocess.run(
        ["bash", "-xc", text], cwd=directory, env=environ, capture_output=True, text=True, timeout=540, check=False
    )
    for name in {*re.findall(rf"[\w-]+-{token}", text), f"hello-{token}"}:
        argv = [BIN / "labctl", "down", "--name", name, "--volumes", "--quiet"]
        subprocess.run(argv, env=environ, capture_output=True, check=False)
    return done


@pytest.fixture(scope="module")
def followed(
    tmp_path_factory: pytest.TempPathFactory, session_directory: Path
) -> Mapping[Path, subprocess.CompletedProcess[str]]:
    """All pages, each in a shell and a directory of its own, at the same time; the host is as it was afterwards."""
    before = read_host(session_directory)
    directories = [tmp_path_factory.mktemp(page.stem) for page in RUN]
    with ThreadPoolExecutor(len(RUN)) as pool:
        done = dict(zip(RUN, pool.map(follow, RUN, directories), strict=True))
    left = settled(before, session_directory)
    assert not left, f"left behind:\n{describe(left)}"
    return done


@pytest.mark.engine
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_what_a_page_says_can_be_done(page: Path, followed: Mapping[Path, subprocess.CompletedProcess[str]]) -> None:
    done = followed[page]
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-6000:]}"


@pytest.mark.parametrize(
    ("schema", "file"), [("vendor.github-workflows", "github-actions.yml"), ("vendor.gitlab-ci", "gitlab-ci.yml")]
)
def test_examples_are_what_their_systems_read(schema: str, file: str) -> None:
    argv = [str(BIN / "check-jsonschema"), "--builtin-schema", schema, str(ROOT / "examples/ci" / file)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", sorted((ROOT / "examples/ci").iterdir()), ids=lambda path: path.name)
def test_examples_call_labctl_as_it_is(path: Path) -> None:
    from labctl.app import build

    calls = re.findall(r"labctl (ci [^\n']*)", path.read_text())
    assert calls
    for call in calls:
        command = build(["ci"]).commands["ci"]  # type: ignore[attr-defined]
        command.make_context("ci", call.split()[1:])
