"""Baked images: the same recipe has the same address, another one another, and what is common is one layer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labctl import features
from labctl.features.gateway import Screen
from labctl.model.lab import Desktop, File, Node, NodeService, User, WindowManager
from labctl.plan.model import BakedImage, BaseImage
from labctl.recipe import Entry, Facts, Recipe, Trust
from labctl.render.container import bake, bake_gateway

BASE = BaseImage(tag="labctl/debian-13:base-0123456789ab", box="debian-13", pull="debian:trixie-slim", suite="trixie")
NODE = Node("dev", "dev")


def dockerfile(image: BakedImage) -> list[str]:
    (entry,) = [entry for entry in image.context if entry.path == "/Dockerfile"]
    return entry.content.decode().replace("\\\n", "").splitlines()


def installed(image: BakedImage) -> list[str]:
    return [line for line in dockerfile(image) if "apt-get install" in line]


def baked(node: Node, trust: Trust | None = None) -> BakedImage:
    return bake(BASE, features.recipe(node), trust or Trust())


def test_an_address_is_the_content() -> None:
    plain = baked(NODE)
    assert plain.tag.startswith("labctl/debian-13:")
    assert len(plain.tag.rpartition(":")[2]) == 12
    assert baked(replace(NODE, name="other", group="g", run=("true",), memory=1)) == plain
    others = [
        baked(replace(NODE, packages=("nginx-light",))),
        baked(replace(NODE, desktop=Desktop())),
        baked(replace(NODE, desktop=Desktop("openbox"))),
        baked(NODE, Trust(certificates=(b"a certificate",))),
        bake(replace(BASE, tag="labctl/debian-13:base-other"), features.recipe(NODE), Trust()),
    ]
    assert len({plain.tag, *(image.tag for image in others)}) == 6
    assert baked(replace(NODE, desktop=Desktop(width=1920, height=1080))).tag == others[1].tag


def test_what_is_common_is_one_layer() -> None:
    plain, web, desk = (
        installed(baked(node))
        for node in (
            NODE,
            replace(NODE, packages=("nginx-light",)),
            replace(NODE, desktop=Desktop(), packages=("gimp",)),
        )
    )
    assert len(plain) == 1
    assert plain[0] == web[0] == desk[0]
    assert "openssh-server" in plain[0]
    assert web[1].rpartition(";")[0].endswith("--no-install-recommends nginx-light")
    assert "tigervnc" in desk[1]
    assert "gimp" not in desk[1]
    assert "gimp" in desk[2]


def test_a_package_of_the_lab_file_that_is_there_already_is_no_layer() -> None:
    assert installed(baked(replace(NODE, packages=("curl", "rsync")))) == installed(baked(NODE))


def test_no_secret_of_the_host_is_in_an_image() -> None:
    proxies = {"http_proxy": "http://user:hunter2@proxy.example:3128"}
    image = baked(NODE, Trust(proxies=proxies))
    assert image == baked(NODE)
    assert not any(b"hunter2" in entry.content for entry in image.context)


def test_certificates_are_taken_in_before_the_first_package() -> None:
    image = baked(NODE, Trust(certificates=(b"one", b"two")))
    lines = dockerfile(image)
    first = next(number for number, line in enumerate(lines) if "update-ca-certificates" in line)
    assert first < next(number for number, line in enumerate(lines) if "apt-get install" in line)
    assert {entry.content for entry in image.context if entry.path.endswith(".crt")} == {b"one", b"two"}


@pytest.mark.parametrize("wm", ["icewm", "openbox", "xfce"])
def test_a_context_is_whole(wm: WindowManager) -> None:
    """Every directory that is copied is there, programs can be executed, and no path stands for two files."""
    image = baked(replace(NODE, desktop=Desktop(wm)))
    paths = [entry.path for entry in image.context]
    assert len(set(paths)) == len(paths)
    for line in dockerfile(image):
        if line.startswith("COPY"):
            source = line.split()[2]
            assert any(path.startswith(f"/{source}") for path in paths), line
    for entry in image.context:
        if entry.content.startswith(b"#!"):
            assert entry.mode == 0o755, entry.path
    assert dockerfile(image)[-1] == 'CMD ["tini", "-g", "--", "/usr/lib/lab/boot"]'
    assert "STOPSIGNAL SIGHUP" in dockerfile(image)


def test_every_service_can_be_run() -> None:
    image = baked(replace(NODE, desktop=Desktop()))
    services = {path.split("/")[-2] for entry in image.context if (path := entry.path).endswith("/run")}
    assert services == {"sshd", "xvnc", "bus", "background", "wm"}


def test_the_gateway_is_nobody() -> None:
    lines = dockerfile(bake_gateway(BASE, features.gateway_recipe(), Trust()))
    assert "USER lab" in lines
    assert lines[-1] == 'CMD ["tini", "--", "python3", "-I", "/usr/lib/lab/gateway.py"]'


def test_recipes_join_in_order() -> None:
    joined = Recipe(packages=("a", "b"), requested=("x",)) + Recipe(packages=("b", "c"), prepare=("p",))
    assert (joined.packages, joined.requested, joined.prepare) == (("a", "b", "c"), ("x",), ("p",))


# ---------------------------------------------------------------- what only one node has


def seeded(node: Node, **facts: object) -> dict[str, Entry]:
    known = Facts("shop", node.name, **facts)  # type: ignore[arg-type]
    return {entry.path: entry for entry in features.seed(node, known)}


def test_a_seed_names_the_node() -> None:
    entries = seeded(NODE, hosts=("10.0.0.2 dev dev.shop.internal",), authorized_keys=("ssh-ed25519 AAAA lab",))
    assert entries["/etc/lab/node.env"].content == b"LAB_NAME=shop\nLAB_NODE=dev\n"
    assert entries["/etc/lab/hosts"].content == b"10.0.0.2 dev dev.shop.internal\n"
    assert entries["/etc/lab/authorized_keys/lab"].content == b"ssh-ed25519 AAAA lab\n"


def test_secrets_are_readable_by_their_owner_alone() -> None:
    node = replace(NODE, desktop=Desktop(), users=(User("ana", password="hunter2"),), run=("echo hunter2",))
    facts = {"vnc_password": "hunter2", "vnc_view_password": "look"}
    for entry in seeded(node, **facts).values():
        if b"hunter2" in entry.content or "vnc" in entry.path:
            assert entry.mode & 0o077 == 0, entry.path
        assert "hunter2" not in repr(entry)


def test_the_gateways_file_is_its_own() -> None:
    (entry,) = features.gateway_seed("shop", "page-token", "view-token", [Screen("dev", "10.0.0.2", token="t")])
    assert (entry.mode, entry.uid) == (0o600, 990)


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, False),
        ({"packages": ("nginx-light",)}, False),
        ({"files": (File("/x", b"", owner="lab"),)}, False),
        ({"files": (File("/x", b"", owner="1234:0"),)}, False),
        ({"files": (File("/x", b"", owner="www-data"),)}, True),
        ({"users": (User("ana"),)}, True),
        ({"run": ("true",)}, True),
        ({"services": (NodeService("web", "true"),)}, True),
    ],
)
def test_apply_is_run_only_for_what_needs_a_running_node(changes: dict[str, object], needed: bool) -> None:  # noqa: FBT001
    assert features.apply_needed(replace(NODE, **changes)) is needed  # type: ignore[arg-type]


def test_owners_that_are_known() -> None:
    files = (File("/a", b"", owner="lab"), File("/b", b"", owner="root:lab"), File("/c", b"", owner="7:9"))
    entries = seeded(replace(NODE, files=files))
    assert [(entries[path].uid, entries[path].gid) for path in ("/a", "/b", "/c")] == [(1000, 1000), (0, 1000), (7, 9)]


def test_a_node_with_nothing_but_a_name_needs_no_files_at_first() -> None:
    facts = Facts("shop", "dev", hosts=("10.0.0.2 dev",), authorized_keys=("ssh-ed25519 AAAA lab",))
    assert features.first_seed(features.seed(NODE, facts)) == ()
    assert features.identity(facts) == {"LAB_NAME": "shop", "LAB_NODE": "dev", "LAB_KEY": "ssh-ed25519 AAAA lab"}
    for more in (
        replace(NODE, desktop=Desktop()),
        replace(NODE, users=(User("ana"),)),
        replace(NODE, run=("true",)),
    ):
        assert features.first_seed(features.seed(more, facts)) == features.seed(more, facts)
    assert features.first_seed(features.seed(NODE, replace(facts, environment=(("TOKEN", "x"),))))


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("ssh host key: ssh-ed25519 AAAA root@dev", "ssh-ed25519 AAAA"),
        ("ssh host key: ", None),
        ("ssh host key: ssh-ed25519", None),
        ("my ssh-ed25519 AAAA", None),
    ],
)
def test_a_host_key_is_read_from_the_log(line: str, key: str | None) -> None:
    assert features.host_key(line) == key
