"""The provider's parts that ask nobody: what the engine says, read; what the engine is told, written."""

from __future__ import annotations

import io
import json
import socket
import tarfile
from contextlib import closing
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from labctl.errors import ConflictError, HostError, LabctlError, NotFoundError
from labctl.model.lab import Desktop, Healthcheck, Mount, Port
from labctl.plan.model import BakedImage, BaseImage
from labctl.providers import hosttables, labels
from labctl.providers.docker.client import split_tag
from labctl.providers.docker.endpoint import SOCKET, find
from labctl.providers.docker.errors import explain
from labctl.providers.docker.images import context_archive
from labctl.providers.docker.nodes import container_config
from labctl.providers.docker.observe import assemble, summarise
from labctl.providers.docker.provider import Docker
from labctl.providers.docker.stock import StockImage, unused
from labctl.recipe import Entry
from labctl.source.boxes import base_image, box, boxes, default_box
from tests.providers.conftest import make_lab

IMAGE = BakedImage("labctl/x:1", BaseImage("labctl/x:base-1", "x", "x", "x"))

# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        ("write /var/lib/x: no space left on device", HostError, "the disk of the container engine is full"),
        (
            "driver failed programming external connectivity on endpoint x (ab12): Bind for 127.0.0.1:8080 failed: "
            "port is already allocated",
            ConflictError,
            "port 127.0.0.1:8080 of this host is in use already",
        ),
        (
            "Error starting userland proxy: listen tcp4 127.0.0.1:8080: bind: address already in use",
            ConflictError,
            "port 127.0.0.1:8080 of this host is in use already",
        ),
        (
            "failed to set up container networking: failed to bind host port for 127.0.0.1:8080:10.0.0.2:22/tcp: "
            "address already in use",
            ConflictError,
            "port 127.0.0.1:8080 of this host is in use already",
        ),
        (
            "Pool overlaps with other one on this address space",
            ConflictError,
            "the subnet is in use by another network of this host",
        ),
        ("Address already in use", ConflictError, "an address of the node is in use already on its network: do it"),
        (
            'Get "https://registry.example/v2/": dial tcp: lookup registry.example on 10.0.0.1:53: no such host',
            HostError,
            "the image registry cannot be reached from this host",
        ),
        ("No such image: nope:1", LabctlError, "image not found: do it"),
        ("manifest for nope:1 not found: manifest unknown: manifest unknown", LabctlError, "image not found: do it"),
        (
            "OCI runtime create failed: runc create failed: unable to start container process: unable to apply caps: "
            "operation not permitted: unknown",
            HostError,
            "this host's engine cannot give a capability that the node asks for",
        ),
        (
            'invalid mount config for type "bind": bind source path does not exist: /no/such',
            LabctlError,
            "/no/such does not exist on this host",
        ),
        (
            'OCI runtime create failed: exec: "nope": executable file not found in $PATH: unknown',
            LabctlError,
            "the image has no command nope",
        ),
        ("something nobody has seen", LabctlError, "the engine failed to do it"),
    ],
)
def test_the_engines_sentences_become_labctls(said: str, kind: type[LabctlError], message: str) -> None:
    error = explain(said, "do it")
    assert (type(error), error.message) == (kind, message)
    assert error.details == (said,)


def test_a_conflict_is_tried_again_only_with_labctls_own_choice() -> None:
    said = "Bind for 127.0.0.1:8080 failed: port is already allocated"
    for chosen in (frozenset({8080}), frozenset({1})):
        error = explain(said, "start", chosen_ports=chosen)
        assert isinstance(error, ConflictError)
        assert error.retry is (8080 in chosen)


# ---------------------------------------------------------------- which engine


def test_docker_host_wins_over_the_context_and_that_over_the_usual_place(tmp_path: Path) -> None:
    assert find({}, tmp_path).url == SOCKET
    meta = tmp_path / ".docker/contexts/meta" / sha256(b"far").hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Endpoints": {"docker": {"Host": "ssh://far"}}}))
    (tmp_path / ".docker/config.json").write_text('{"currentContext": "far"}')
    assert find({}, tmp_path).url == "ssh://far"
    assert find({"DOCKER_CONTEXT": "default"}, tmp_path).url == SOCKET
    assert find({"DOCKER_HOST": "unix:///x.sock"}, tmp_path).path == Path("/x.sock")
    with pytest.raises(HostError, match="the docker context lost is not known"):
        find({"DOCKER_CONTEXT": "lost"}, tmp_path)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("tcp://10.0.0.1:2375", "is not on this host"),
        ("ssh://far", "is not on this host"),
        ("unix:///home/x/.docker/desktop/docker.sock", "Docker Desktop"),
    ],
)
def test_engines_elsewhere_are_refused_in_words(url: str, message: str, tmp_path: Path) -> None:
    docker = Docker(cache=tmp_path, environ={"DOCKER_HOST": url}, home=tmp_path)
    with pytest.raises(HostError, match=message) as caught:
        docker.check()
    assert caught.value.hint


def test_an_engine_that_does_not_run_or_listen_is_said_so(tmp_path: Path) -> None:
    dead = tmp_path / "dead.sock"
    with closing(socket.socket(socket.AF_UNIX)) as was:
        was.bind(str(dead))
    for path in (tmp_path / "none.sock", dead):
        docker = Docker(cache=tmp_path, environ={"DOCKER_HOST": f"unix://{path}"}, home=tmp_path)
        with pytest.raises(HostError, match="the container engine is not running") as caught:
            docker.check()
        assert caught.value.hint == "labctl doctor --fix"


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("a", ("a", "latest")),
        ("a:1", ("a", "1")),
        ("h:5000/a", ("h:5000/a", "latest")),
        ("h:5000/a:1", ("h:5000/a", "1")),
        ("a@sha256:ab", ("a", "sha256:ab")),
    ],
)
def test_an_images_name_and_tag(image: str, parts: tuple[str, str]) -> None:
    assert split_tag(image) == parts


# ---------------------------------------------------------------- writing


def test_a_container_is_described_whole(tmp_path: Path) -> None:
    lab = make_lab(
        "x",
        IMAGE,
        tmp_path,
        a={
            "san": True,
            "ports": (Port(53, 20053, "udp"),),
            "cpus": 0.5,
            "memory": 1 << 29,
            "capabilities": ("NET_ADMIN",),
            "mounts": (Mount("/d", volume="data"), Mount("/s", source=Path("/src"), read_only=True)),
            "healthcheck": Healthcheck("true", 1.5, 2, 3, 4),
            "desktop": Desktop(),
            "environment": {"TOKEN": "secret"},
        },
    )
    config = container_config(lab.nodes["a"], lab, {"http_proxy": "http://p"}, {})
    host = config["HostConfig"]
    assert host["PortBindings"] == {"53/udp": [{"HostIp": "127.0.0.1", "HostPort": "20053"}]}
    assert (host["NanoCpus"], host["Memory"], host["CapAdd"]) == (500_000_000, 1 << 29, ["NET_ADMIN"])
    assert host["ShmSize"] > 1 << 28
    assert host["NetworkMode"] == "labctl-x-lan"
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert [(each["Type"], each["Source"], each["ReadOnly"]) for each in host["Mounts"]] == [
        ("volume", "labctl-x-data", False),
        ("bind", "/src", True),
    ]
    assert config["Healthcheck"]["Interval"] == 1_500_000_000
    endpoints = config["NetworkingConfig"]["EndpointsConfig"]
    assert [each["IPAMConfig"]["IPv4Address"] for each in endpoints.values()] == ["10.207.11.2", "10.207.12.2"]
    assert config["Labels"]["labctl.desktop"] == "1280x800"
    assert "secret" not in json.dumps(config)  # a box node's environment is put in, not labelled
    assert "Cmd" not in config


def test_somebody_elses_image_gets_environment_command_and_proxies(tmp_path: Path) -> None:
    lab = make_lab("x", IMAGE, tmp_path, a={"image": "i", "box": None, "command": "run", "environment": {"A": "b"}})
    config = container_config(lab.nodes["a"], lab, {"http_proxy": "http://p"}, {})
    assert config["Cmd"] == ["sh", "-c", "run"]
    assert "A=b" in config["Env"]
    assert "HTTP_PROXY=http://p" in config["Env"]
    (no_proxy,) = [each for each in config["Env"] if each.startswith("no_proxy=")]
    assert ".x.internal" in no_proxy
    assert "10.207.11.0/24" in no_proxy
    assert config["HostConfig"]["RestartPolicy"]["Name"] == "no"


def test_a_build_is_marked_as_unfinished_until_its_end() -> None:
    text = b"FROM a AS one\nRUN x\nFROM b\nCOPY --from=one / /\n"
    data = context_archive([Entry("/Dockerfile", text), Entry("/d/f", b"1", 0o755)], labels.of_image("image", "x"))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["Dockerfile", "d/f"]
        assert tar.getmember("d/f").mode == 0o755
        file = tar.extractfile("Dockerfile")
        assert file is not None
        lines = file.read().decode().splitlines()
    mark = 'LABEL labctl.schema="1" labctl.kind="baking"'
    assert lines[:2] == ["FROM a AS one", mark]
    assert lines[3:5] == ["FROM b", mark]
    assert lines[-1] == 'LABEL labctl.schema="1" labctl.kind="image" labctl.box="x"'


# ---------------------------------------------------------------- reading


def container(name: str, **more: Any) -> dict[str, Any]:
    given = {
        labels.SCHEMA: "1",
        labels.LAB: "x",
        labels.KIND: "node",
        labels.NAME: name,
        labels.DIRECTORY: "/x",
        "labctl.shape": "s",
        "labctl.addresses": '{"lan": "10.0.0.5"}',
        "labctl.ports": '[[22, 20022, "tcp", "127.0.0.1"]]',
        **more.pop("labels", {}),
    }
    networks = more.pop("networks", {"labctl-x-lan": {"NetworkID": "n1", "IPAMConfig": {"IPv4Address": "10.0.0.5"}}})
    return {
        "Id": f"id-{name}",
        "Names": [f"/labctl-x-{name}"],
        "Image": "labctl/x:1",
        "Labels": given,
        "State": "running",
        "Status": "Up 3 minutes",
        "Created": 1.0,
        "NetworkSettings": {"Networks": networks},
        "Mounts": [],
        **more,
    }


def network(name: str, lab: str | None = "x", subnet: str = "10.0.0.0/24", **more: Any) -> dict[str, Any]:
    given = {labels.LAB: lab, labels.KIND: "network", labels.NAME: name, labels.DIRECTORY: "/x"} if lab else None
    return {
        "Id": "n1",
        "Name": f"labctl-{lab}-{name}",
        "Labels": given,
        "Internal": False,
        "IPAM": {"Config": [{"Subnet": subnet}, {"Subnet": "fd00::/64"}]},
        **more,
    }


@pytest.mark.parametrize(
    ("state", "status", "expected"),
    [
        ("running", "Up 3 minutes (healthy)", ("running", "healthy", None, True)),
        ("running", "Up 3 seconds (health: starting)", ("running", "starting", None, True)),
        ("running", "Up 3 seconds (unhealthy)", ("running", "unhealthy", None, True)),
        ("paused", "Up 3 seconds (Paused)", ("paused", None, None, True)),
        ("exited", "Exited (137) 2 hours ago", ("exited", None, 137, True)),
        ("created", "Created", ("created", None, None, False)),
        ("restarting", "Restarting (1) 2 seconds ago", ("restarting", None, None, True)),
        ("removing", "Removal In Progress", ("dead", None, None, True)),
    ],
)
def test_the_engines_words_for_a_state(state: str, status: str, expected: tuple[Any, ...]) -> None:
    node = assemble("x", [container("a", State=state, Status=status)], [network("lan")], []).nodes["a"]
    assert (node.state, node.health, node.exit_code, node.started) == expected
    assert node.addresses == {"lan": IPv4Address("10.0.0.5")}
    assert node.ports == (Port(22, 20022),)


@pytest.mark.parametrize(
    ("networks", "shape"),
    [
        ({"labctl-x-lan": {"NetworkID": "n1", "IPAMConfig": {"IPv4Address": "10.0.0.5"}}}, "s"),
        ({"labctl-x-lan": {"NetworkID": "", "IPAMConfig": {"IPv4Address": "10.0.0.5"}}}, "s"),
        ({"labctl-x-lan": {"NetworkID": "old", "IPAMConfig": {"IPv4Address": "10.0.0.5"}}}, ""),
        ({"labctl-x-lan": {"NetworkID": "n1", "IPAMConfig": {"IPv4Address": "10.0.0.6"}}}, ""),
        ({"labctl-x-lan": {"NetworkID": "n1", "IPAMConfig": None}}, ""),
        ({}, ""),
    ],
)
def test_a_node_off_its_networks_has_no_shape(networks: dict[str, Any], shape: str) -> None:
    assert assemble("x", [container("a", networks=networks)], [network("lan")], []).nodes["a"].shape == shape


def test_what_others_have_is_taken_and_what_is_ours_not() -> None:
    listed = [network("lan"), network("bridge", lab=None, subnet="172.17.0.0/16"), network("lan", "y", "10.9.0.0/24")]
    routes = [IPv4Network("10.0.0.0/24"), IPv4Network("192.168.1.0/24")]
    seen = assemble("x", [], listed, [], routes=routes)
    assert [str(each) for each in seen.taken_subnets] == ["10.9.0.0/24", "172.17.0.0/16", "192.168.1.0/24"]
    assert list(seen.networks) == ["lan"]


def test_nodes_come_in_the_order_of_their_numbers() -> None:
    names = ["web-10", "web-2", "db", "web-1"]
    assert list(assemble("x", [container(name) for name in names], [network("lan")], []).nodes) == [
        "db",
        "web-1",
        "web-2",
        "web-10",
    ]


def test_labels_of_a_strange_labctl_do_not_break_reading() -> None:
    odd = {"labctl.addresses": "nonsense", "labctl.ports": '{"a": 1}'}
    node = assemble("x", [container("a", labels=odd)], [network("lan")], []).nodes["a"]
    assert (dict(node.addresses), node.ports) == ({}, ())


def test_labs_without_nodes_are_labs_too() -> None:
    found = summarise([container("a"), container("g", labels={labels.KIND: "gateway"})], [network("lan", "y")], [])
    assert [(each.name, each.nodes, each.running, each.networks) for each in found] == [("x", 1, 1, 0), ("y", 0, 0, 1)]


# ---------------------------------------------------------------- the host's tables


def test_the_kernels_two_ways_of_listing_ports_agree() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as one, closing(socket.socket(type=socket.SOCK_DGRAM)) as two:
        two.bind(("127.0.0.1", 0))
        wanted = {(one.getsockname()[1], "tcp"), (two.getsockname()[1], "udp")}
        assert wanted <= hosttables.listening()
        assert wanted <= hosttables._listed(Path("/proc/net"))


def test_routes_are_read_from_the_kernels_table(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "tun0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n"
    )
    assert hosttables.routes(table) == {IPv4Network("10.0.0.0/8")}
    assert hosttables.routes(tmp_path / "none") == frozenset()


# ---------------------------------------------------------------- boxes


def test_boxes_are_named_once_and_one_is_the_default() -> None:
    assert default_box().name == "debian-13"
    assert [each.name for each in boxes()] == ["debian-13", "debian-12"]
    assert base_image(box("debian-12")).suite == "bookworm"


def test_a_base_images_address_follows_its_definition() -> None:
    given = box("debian-13")
    other = given.model_copy(update={"container": given.container.model_copy(update={"variant": "apt"})})
    titled = given.model_copy(update={"title": "Another name"})
    assert other.base_tag != given.base_tag == titled.base_tag


def test_an_unknown_box_names_the_nearest() -> None:
    with pytest.raises(NotFoundError) as caught:
        box("debian13")
    assert caught.value.hint == "did you mean debian-13?"


def test_a_base_stays_as_long_as_something_baked_on_it_is_used() -> None:
    def image(tag: str, kind: str, *users: str) -> StockImage:
        return StockImage(f"labctl/{tag}", tag.partition(":")[0], kind, 1, 0.0, users)

    stock = [
        image("a:base-1", "base"),
        image("a:1", "image", "labctl-x-n"),
        image("a:2", "image"),
        image("b:base-1", "base"),
        image("b:1", "image"),
    ]
    assert [each.tag for each in unused(stock)] == ["labctl/a:2", "labctl/b:1", "labctl/b:base-1"]
