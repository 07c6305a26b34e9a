"""The lab as Mermaid and DOT, and the command."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.app import _guarded, build
from labctl.model.lab import Domain, Lab
from labctl.render.graph import dot, mermaid
from tests.graph import labs

HERE = Path(__file__).parent

CASES: dict[str, Callable[[], Lab]] = {
    "one": labs.one,
    "shop": labs.shop,
    "thirty": lambda: labs.plain(30, networks=3),
    "sites": labs.sites,
    "empty": lambda: Lab("empty", Path("/lab"), {}),
}


def hostile() -> Lab:
    """Free text that means something to the syntaxes."""
    lab = labs.one()
    node = replace(lab.nodes["dev"], box=None, image='x"];<b>&`\\#]|:8', domain="dc")
    return replace(lab, nodes={"dev": node}, domains={"dc": Domain("dc", 'a "kind" <i>')})


@pytest.mark.parametrize("render", [mermaid, dot], ids=["mermaid", "dot"])
def test_texts_are_as_kept(render: Callable[[Lab], str]) -> None:
    suffix = {"mermaid": "mmd", "dot": "dot"}[render.__name__]
    assert render(labs.shop()) == (HERE / f"shop.{suffix}").read_text()


@pytest.mark.parametrize("case", CASES)
def test_every_thing_is_in_both_texts(case: str) -> None:
    lab = CASES[case]()
    for text in (mermaid(lab), dot(lab)):
        for kind, names in (("node", lab.nodes), ("net", lab.networks), ("vol", lab.volumes)):
            for name in names:
                assert f"{kind}_{name.replace('-', '_')}" in text
        for node in lab.nodes.values():
            assert all(str(address) in text for address in node.interfaces.values() if address)


@pytest.mark.skipif(shutil.which("dot") is None, reason="no graphviz on this host")
@pytest.mark.parametrize("case", [*CASES, "hostile"])
def test_graphviz_reads_the_dot_text(case: str) -> None:
    lab = CASES[case]() if case in CASES else hostile()
    process = subprocess.run(["dot", "-Tcanon"], input=dot(lab), capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""


def test_mermaid_labels_hold_no_markup() -> None:
    lines = [line for line in mermaid(hostile()).splitlines() if "node_dev[" in line or "subgraph" in line]
    for line in lines:
        label = re.sub(r"#\d+;|<br/>", "", line[line.index('"') + 1 : line.rindex('"')])
        assert not set(label) & set('"<>&`\\#')


def test_domains_are_nested() -> None:
    text = mermaid(labs.shop())
    outer = text[text.index("subgraph dom_dc_a") : text.index("subgraph dom_dc_b")]
    assert "subgraph dom_rack_a1" in outer
    assert outer.count("end\n") == 2


@pytest.fixture
def shop_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "lab.yaml").write_text("name: shop\nnodes: {web: {count: 2}, dev: {desktop: true}}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> int:
    return _guarded(lambda: build(words).main(words, prog_name="labctl"), argv=words)


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        ([], "flowchart TB\n"),
        (["--format", "dot"], "digraph"),
        (["--format", "svg"], "<svg "),
        (["--format", "svg", "-o", "-"], "<svg "),
    ],
)
def test_the_command_prints(shop_file: Path, capsys: pytest.CaptureFixture[str], words: list[str], begins: str) -> None:
    assert run("graph", *words) == 0
    assert capsys.readouterr().out.startswith(begins)


@pytest.mark.parametrize(
    ("name", "begins"), [("lab.svg", "<svg "), ("lab.dot", "digraph"), ("lab.gv", "digraph"), ("lab.md", "flowchart")]
)
def test_the_output_names_the_format(
    shop_file: Path, capsys: pytest.CaptureFixture[str], name: str, begins: str
) -> None:
    assert run("graph", "-o", name) == 0
    assert capsys.readouterr().out == ""
    assert (shop_file / name).read_text().startswith(begins)


def test_an_output_that_cannot_be_written_is_said(shop_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("graph", "-o", "no/such/place.svg") == 1
    assert "cannot write no/such/place.svg" in capsys.readouterr().err
