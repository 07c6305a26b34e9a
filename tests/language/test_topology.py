"""What a valid lab file means once it is resolved."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import jsonschema
import pytest

from labctl.errors import Problem
from labctl.model.lab import Condition, Dependency, Desktop, Mount, Port
from labctl.model.schema import json_schema, schema_text
from labctl.source.explain import resolved
from labctl.source.load import Loaded
from labctl.source.templates import templates
from labctl.source.yamlio import dump
from tests.language.conftest import KEY, Load

ROOT = Path(__file__).parents[2]
FULL = (Path(__file__).parent / "topology_full" / "lab.yaml").read_text()


@pytest.fixture
def full(load_text: Load) -> Loaded:
    return load_text(FULL)


def test_the_full_example_is_valid_and_means_what_it_says(full: Loaded) -> None:
    lab = full.lab
    assert list(lab.nodes) == ["nas", "web-1", "web-2", "db", "quorum-1", "quorum-2", "cache", "dev"]
    assert lab.ttl == 8 * 3600
    assert lab.groups["web"] == ("web-1", "web-2")
    assert [lab.nodes[name].domain for name in ("web-1", "web-2")] == ["dc-a", "dc-b"]
    assert lab.nodes["nas"].interfaces == {
        "lan": IPv4Address("10.77.0.10"),
        "san-1": IPv4Address("10.77.1.10"),
        "san-2": None,
    }
    assert lab.nodes["nas"].memory == 512 * 2**20
    assert lab.nodes["db"].memory == 2**30
    assert lab.nodes["db"].mounts[1] == Mount("/home/shared", volume="home", read_only=True)
    assert lab.nodes["cache"].box is None
    assert lab.nodes["cache"].ports == (Port(6379),)
    assert lab.nodes["cache"].depends_on == (Dependency("db", "started"),)
    assert lab.nodes["cache"].environment == {"TZ": "UTC"}
    assert lab.nodes["dev"].desktop == Desktop("icewm", 1600, 900)
    assert lab.nodes["dev"].users[0].ssh_keys == (KEY,)
    assert lab.volumes["pg"].size == 2**30
    assert lab.volumes["home"].path == "/srv/home"
    assert lab.checks["site"].nodes == ("dev",)


def test_what_is_not_executed_yet_is_said_in_one_line_each(full: Loaded) -> None:
    notices = "\n".join(full.notices)
    for words in (
        "the browser IDE is not started by this version: dev",
        "failure domains cannot be selected in this version: dc-a, dc-b, rack-a1",
        "scenarios are not rehearsed by this version: lose-dc-a",
        "TOKEN is not set here, node cache starts without it",
    ):
        assert words in notices


def test_null_in_the_environment_takes_the_callers_value(load_text: Load) -> None:
    lab = load_text(FULL, environ={"TOKEN": "s3cret"}).lab
    assert lab.nodes["cache"].environment["TOKEN"] == "s3cret"
    assert "s3cret" not in repr(lab)


def test_the_smallest_lab(load_text: Load) -> None:
    lab = load_text("name: hello\nnodes:\n  dev: {desktop: true}\n").lab
    assert list(lab.networks) == ["lan"]
    assert lab.nodes["dev"].interfaces == {"lan": None}
    assert lab.nodes["dev"].desktop == Desktop("icewm", 1280, 800)
    assert lab.nodes["dev"].box == "debian-13"


def test_a_node_without_networks_joins_what_is_not_internal_and_what_its_volumes_name(load_text: Load) -> None:
    lab = load_text(
        "name: x\nnetworks: {lan: {}, san: {internal: true}, far: {internal: true}}\n"
        "volumes: {disk: {type: iscsi, server: nas, size: 1GiB, networks: [san]}}\n"
        "nodes:\n  nas:\n  user: {volumes: ['disk:/srv/disk']}\n  other: {}\n  none: {networks: []}\n"
    ).lab
    joined = {name: list(node.interfaces) for name, node in lab.nodes.items()}
    assert joined == {"nas": ["lan", "san"], "user": ["lan", "san"], "other": ["lan"], "none": []}


def test_count_always_numbers_and_names_of_groups_stand_for_all_copies(load_text: Load) -> None:
    lab = load_text(
        "name: x\nnetworks: {lan: {subnet: 10.0.0.0/24}}\nnodes:\n"
        "  one: {count: 1, networks: {lan: [10.0.0.5]}}\n  many: {count: 2, depends_on: [one]}\n"
        "  last: {depends_on: {many: {condition: healthy}}}\nchecks: {all: {run: 'true', on: many}}\n"
    ).lab
    assert list(lab.nodes) == ["one-1", "many-1", "many-2", "last"]
    healthy: Condition = "healthy"
    assert lab.nodes["last"].depends_on == (Dependency("many-1", healthy), Dependency("many-2", healthy))
    assert lab.nodes["one-1"].interfaces["lan"] == IPv4Address("10.0.0.5")
    assert lab.checks["all"].nodes == ("many-1", "many-2")
    assert lab.nodes["many-2"].group == "many"


def test_a_read_only_volume_is_mounted_read_only(load_text: Load) -> None:
    lab = load_text(
        "name: x\nnodes: {nas: {}, user: {volumes: ['home:/srv/home']}}\n"
        "volumes: {home: {type: nfs, server: nas, access: ReadOnlyMany}}\n"
    ).lab
    assert lab.nodes["user"].mounts[0].read_only


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ('"6379"', Port(6379)),
        ("6379", Port(6379)),
        ('"6380:6379"', Port(6379, 6380)),
        ('"53:53/udp"', Port(53, 53, "udp")),
        ('"0.0.0.0:80:8080"', Port(8080, 80, "tcp", "0.0.0.0")),
    ],
)
def test_ports(load_text: Load, written: str, means: Port) -> None:
    assert load_text(f"name: x\nnodes: {{a: {{ports: [{written}]}}}}\n").lab.nodes["a"].ports == (means,)


@pytest.mark.parametrize("name", ["full", *templates()])
def test_config_is_a_lab_file_of_the_same_lab(load_text: Load, place: Path, name: str) -> None:
    text = FULL if name == "full" else (ROOT / "templates" / "labs" / name / "lab.yaml").read_text()
    if name == "two-tier":
        (place / "app.py").write_text("pass\n")
    first = load_text(text)
    again = load_text(dump(resolved(first))).lab
    assert list(again.nodes) == list(first.lab.nodes)
    for node in again.nodes.values():
        expected = first.lab.nodes[node.name]
        assert replace(expected, environment=node.environment, files=node.files) == node
        assert [file.path for file in node.files] == [file.path for file in expected.files]
    assert again.groups == first.lab.groups
    assert again.networks == first.lab.networks
    assert again.volumes == first.lab.volumes
    assert again.checks == first.lab.checks
    assert again.domains == first.lab.domains


def test_secrets_do_not_print(load_text: Load) -> None:
    loaded = load_text(
        "name: x\nnodes:\n  nas: {}\n  a:\n    environment: {KEY: canary-1}\n    files: {/etc/k: {content: canary-2}}\n"
        "    users: {ana: {password: canary-3}}\n    services: {s: {command: run, environment: {K: canary-4}}}\n"
        "volumes: {d: {type: iscsi, server: nas, size: 1GiB, chap: {user: u, password: canary-5}}}\n"
    )
    assert "canary" not in dump(resolved(loaded))
    assert "canary" not in repr(loaded.lab)


def test_problems_found_later_have_their_lines(full: Loaded) -> None:
    error = full.invalid([Problem(("nodes", "db", "memory"), "too much for this host", hint="take less")])
    assert error.details[0].splitlines() == [
        "<stdin>:62:13: too much for this host",
        "  62 |     memory: 1GiB",
        "     |             ^^^^",
        "     = take less",
    ]


def test_the_published_schema_is_up_to_date() -> None:
    assert (ROOT / "docs" / "lab.schema.json").read_text() == schema_text(), "labctl schema > docs/lab.schema.json"


def test_the_schema_accepts_the_full_example_and_refuses_what_the_models_refuse(full: Loaded) -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert list(validator.iter_errors(json.loads(json.dumps(full.document)))) == []
    for wrong in (
        {"name": "x"},
        {"name": "X", "nodes": {"a": {}}},
        {"name": "x", "nodes": {"a": {"memroy": "1GiB"}}},
        {"name": "x", "nodes": {"a": {"memory": "lots"}}},
        {"name": "x", "nodes": {"a": {}}, "volumes": {"v": {"type": "nfs"}}},
    ):
        assert list(validator.iter_errors(wrong))
    assert not list(validator.iter_errors({"name": "x", "x-own": 1, "nodes": {"a": {"x-note": "mine"}}}))


def test_every_key_of_the_language_is_described() -> None:
    schema = json_schema()
    for name, model in {"lab": schema, **schema["$defs"]}.items():
        for key, value in model.get("properties", {}).items():
            assert value.get("description"), f"{name}.{key}"
