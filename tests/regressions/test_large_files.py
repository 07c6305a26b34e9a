"""Lab files made to be large: each is refused or read in little time and memory."""

from __future__ import annotations

import resource
import subprocess
import time
from pathlib import Path

import pytest

from labctl.errors import InvalidLabError
from labctl.source.load import Loaded, load
from tests.desktop.lab import LABCTL

MEMORY = 2_000_000 * 1024


def _load(directory: Path, text: str) -> Loaded:
    (directory / "lab.yaml").write_text(text)
    return load(None, cwd=directory, environ={}, home=directory, boxes=("debian-13",))


def _said(directory: Path, text: str) -> list[str]:
    with pytest.raises(InvalidLabError) as caught:
        _load(directory, text)
    return list(caught.value.details)


@pytest.mark.parametrize("command", [["validate"], ["config", "--explain"], ["plan"]], ids=" ".join)
def test_a_long_text_behind_many_aliases_is_refused_in_little_memory(command: list[str], tmp_path: Path) -> None:
    aliases = "".join(f"      V{number}: *a\n" for number in range(8000))
    text = f'x-a: &a "{"x" * 3_800_000}"\nname: k-bomb\nnodes:\n  web:\n    environment:\n{aliases}'
    (tmp_path / "lab.yaml").write_text(text)
    ran = subprocess.run(
        [LABCTL, *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    assert ran.returncode == 3
    assert "lab.yaml:9:11: the file has more than 16 Mi characters when its aliases are expanded" in ran.stderr


def test_the_characters_of_lists_and_mappings_count_through_aliases(tmp_path: Path) -> None:
    text = f"x-a: &a [{{k: {'x' * 1_000_000}}}]\nx-b: [{'*a, ' * 17}]\nname: k\nnodes: {{web: {{}}}}\n"
    assert "more than 16 Mi characters" in _said(tmp_path, text)[0]
    assert _load(tmp_path, text.replace("*a, " * 17, "*a, " * 14)).lab.name == "k"


def test_defaults_are_not_multiplied_without_end(tmp_path: Path) -> None:
    variables = "".join(f"    A{number}: b\n" for number in range(20_000))
    nodes = "".join(f"  n{number}: {{}}\n" for number in range(1000))
    said = _said(tmp_path, f"name: k\ndefaults:\n  environment:\n{variables}nodes:\n{nodes}")
    assert said[0].startswith("lab.yaml:2:1: 20002 values for 1000 nodes each are more than 1000000")


def _domains(count: int) -> str:
    return "".join(f"  d{number}: {{in: d{number - 1}}}\n" for number in range(1, count))


def _quickly(started: float) -> None:
    assert time.process_time() - started < 5


def test_a_chain_of_many_domains_is_walked_once(tmp_path: Path) -> None:
    started = time.process_time()
    loaded = _load(tmp_path, f"name: k\nnodes: {{a: {{}}}}\ndomains:\n  d0:\n{_domains(3000)}")
    assert loaded.lab.domains["d2999"].parent == "d2998"
    _quickly(started)


def test_a_circle_is_told_once_and_from_its_first_domain(tmp_path: Path) -> None:
    text = "name: k\nnodes: {a: {}}\ndomains: {t: {in: y}, x: {in: y}, y: {in: z}, z: {in: x}, s: {in: s}}\n"
    said = [block.partition("\n")[0] for block in _said(tmp_path, text)]
    assert [line.partition("circle: ")[2] for line in said] == ["x → y → z → x", "s → s"]


def test_many_subnets_are_compared_with_their_neighbours_only(tmp_path: Path) -> None:
    subnets = "".join(f"  n{n}: {{subnet: 10.{n // 256}.{n % 256}.0/24}}\n" for n in range(3000))
    started = time.process_time()
    assert len(_load(tmp_path, f"name: k\nnodes: {{a: {{networks: [n1]}}}}\nnetworks:\n{subnets}").lab.networks) == 3000
    _quickly(started)


@pytest.mark.parametrize(
    ("subnets", "told"),
    [
        (["10.1.0.0/24", "10.2.0.0/24", "10.0.0.0/8"], ["10.0.0.0/8 overlaps 10.1.0.0/24 of network n0"]),
        (["10.0.0.0/8", "10.1.0.0/24", "11.0.0.0/24"], ["10.1.0.0/24 overlaps 10.0.0.0/8 of network n0"]),
        (["10.1.0.0/25", "10.1.0.128/25", "10.1.1.0/24"], []),
        (["10.1.0.0/24"] * 3, ["10.1.0.0/24 overlaps 10.1.0.0/24 of network n0"] * 2),
        (["10.0.0.0/16", "10.0.1.0/24", "10.0.200.0/24"], ["10.0.1.0/24 overlaps", "10.0.200.0/24 overlaps"]),
    ],
)
def test_every_subnet_that_overlaps_is_told(subnets: list[str], told: list[str], tmp_path: Path) -> None:
    networks = "".join(f"  n{number}: {{subnet: {subnet}}}\n" for number, subnet in enumerate(subnets))
    text = f"name: k\nnodes: {{a: {{networks: [n0]}}}}\nnetworks:\n{networks}"
    if not told:
        _load(tmp_path, text)
        return
    said = "\n".join(_said(tmp_path, text))
    for each in told:
        assert said.count(each) == told.count(each)


def test_thousands_of_unknown_names_take_seconds(tmp_path: Path) -> None:
    nodes = "".join(f"  node{number}: {{depends_on: [nide{number}x]}}\n" for number in range(3000))
    started = time.process_time()
    assert len(_said(tmp_path, f"name: k\nnodes:\n{nodes}")) == 50
    assert time.process_time() - started < 15
