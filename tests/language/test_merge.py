"""Merging: overrides, several files, defaults; and where each value came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl.errors import InvalidLabError
from labctl.source.explain import explain
from tests.language.conftest import Load

BASE = """\
name: shop
nodes:
  web:
    memory: 1GiB
    packages: [git, curl]
    environment: {A: one, B: two}
  db: {box: debian-12}
"""


def test_an_override_beside_the_file_is_merged_and_said(load_files: Load) -> None:
    loaded = load_files(
        {
            "lab.yaml": BASE,
            "lab.override.yaml": (
                "nodes:\n  web: {memory: 2GiB, packages: [vim], environment: {B: three}}\n  db: null\n  new: {}\n"
            ),
        }
    )
    web = loaded.lab.nodes["web"]
    assert list(loaded.lab.nodes) == ["web", "new"]
    assert web.memory == 2 * 2**30
    assert web.packages == ("vim",)
    assert web.environment == {"A": "one", "B": "three"}
    assert "lab.override.yaml is merged on top of lab.yaml" in loaded.notices


def test_null_removes(load_files: Load) -> None:
    loaded = load_files({"a": BASE, "b": "nodes: {web: {memory: null, packages: null}}"}, ["a", "b"])
    assert loaded.lab.nodes["web"].memory is None
    assert loaded.lab.nodes["web"].packages == ()


def test_null_is_a_value_for_a_variable_and_an_address(load_files: Load) -> None:
    base = (
        "name: x\nnetworks: {lan: {subnet: 10.0.0.0/24}}\nnodes: {a: {networks: {lan: 10.0.0.5}, environment: {A: x}}}"
    )
    over = "nodes: {a: {networks: {lan: null}, environment: {A: null}}}"
    node = load_files({"a": base, "b": over}, ["a", "b"], environ={"A": "mine"}).lab.nodes["a"]
    assert node.interfaces == {"lan": None}
    assert node.environment == {"A": "mine"}


def test_files_given_explicitly_take_no_override(load_files: Load) -> None:
    loaded = load_files({"lab.yaml": BASE, "lab.override.yaml": "nodes: {web: {memory: 2GiB}}"}, ["lab.yaml"])
    assert loaded.lab.nodes["web"].memory == 2**30


def test_defaults_are_merged_under_every_node(load_files: Load) -> None:
    lab = load_files(
        {
            "lab.yaml": (
                "name: x\ndefaults: {box: debian-12, memory: 1GiB, environment: {A: d, B: d}, desktop: true}\n"
                "nodes:\n  a:\n  b: {memory: 2GiB, environment: {B: own}, desktop: null}\n"
                "  c: {image: 'x:1', desktop: null}\n  d: {desktop: {wm: openbox}}\n"
            )
        }
    ).lab
    assert lab.nodes["a"].box == "debian-12"
    assert lab.nodes["a"].desktop is not None
    assert lab.nodes["b"].memory == 2 * 2**30
    assert lab.nodes["b"].environment == {"A": "d", "B": "own"}
    assert lab.nodes["b"].desktop is None
    assert lab.nodes["c"].box is None
    assert lab.nodes["d"].desktop is not None
    assert lab.nodes["d"].desktop.wm == "openbox"


def test_a_box_drops_the_default_image(load_files: Load) -> None:
    lab = load_files({"lab.yaml": "name: x\ndefaults: {image: 'x:1'}\nnodes: {a: {}, b: {box: debian-12}}"}).lab
    assert (lab.nodes["a"].image, lab.nodes["a"].box) == ("x:1", None)
    assert (lab.nodes["b"].image, lab.nodes["b"].box) == (None, "debian-12")


def test_paths_are_relative_to_the_file_that_names_them(load_files: Load, tmp_path: Path) -> None:
    node = load_files(
        {
            "lab.yaml": "name: x\nnodes: {a: {volumes: ['./data:/srv/a'], files: {/etc/a: {source: ./a}}}}",
            "other/over.yaml": "nodes: {a: {files: {/etc/b: {source: ./b}}}}",
            "data/keep": "",
            "a": "from a",
            "other/b": "from b",
        },
        ["lab.yaml", "other/over.yaml"],
    ).lab.nodes["a"]
    assert {file.path: file.content for file in node.files} == {"/etc/a": b"from a", "/etc/b": b"from b"}
    assert node.mounts[0].source == tmp_path / "data"


def test_an_error_is_shown_in_the_file_that_has_it(load_files: Load) -> None:
    with pytest.raises(InvalidLabError) as caught:
        load_files({"a.yaml": BASE, "b.yaml": "\nnodes: {web: {memory: lots}}"}, ["a.yaml", "b.yaml"])
    assert caught.value.details[0].startswith("b.yaml:2:23: expected a size")


def test_explain_says_where_each_value_came_from(load_files: Load) -> None:
    loaded = load_files(
        {
            "lab.yaml": "name: x\ndefaults:\n  memory: 1GiB\nnodes:\n  web:\n    count: 2\n    desktop: true\n",
            "lab.override.yaml": "nodes:\n  web:\n    cpus: 2\n",
        }
    )
    said = {entry.name: str(entry.origin or "default") for entry in explain(loaded)}
    assert said["name"] == "lab.yaml:1"
    assert said["nodes.web.count"] == "lab.yaml:6"
    assert said["nodes.web.memory"] == "lab.yaml:3"
    assert said["nodes.web.cpus"] == "lab.override.yaml:3"
    assert said["nodes.web.desktop.wm"] == "lab.yaml:7"
    assert said["nodes.web.box"] == "default"
    assert said["nodes.web.networks.lan"] == "default"


def test_anchors_and_merge_keys(load_files: Load) -> None:
    lab = load_files(
        {
            "lab.yaml": (
                "name: x\nx-base: &base {memory: 1GiB, packages: [git]}\nnodes:\n"
                "  a: *base\n  b: {<<: *base, memory: 2GiB}\n  c: {memory: 3GiB, <<: [*base, {cpus: 2}]}\n"
            )
        }
    ).lab
    assert [node.memory for node in lab.nodes.values()] == [2**30, 2 * 2**30, 3 * 2**30]
    assert lab.nodes["c"].cpus == 2.0
    assert lab.nodes["c"].packages == ("git",)
