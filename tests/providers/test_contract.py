"""What every provider promises, asked of the real thing."""

from __future__ import annotations

import socket
import time
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labctl.errors import ConflictError, DeadlineError, LabctlError, NotFoundError
from labctl.model.lab import Healthcheck, Mount, Port
from labctl.plan.model import BakedImage, Desired, Observed, ObservedNode, Target
from labctl.providers.base import Provider
from labctl.recipe import Entry
from tests.providers.conftest import Make, up

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("contract")]


def eventually(holds: Any, seconds: float = 15.0) -> bool:
    """Whether `holds()` becomes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError, LabctlError):
            if holds():
                return True
        time.sleep(0.05)
    return False


def greeting(address: str, port: int) -> bytes:
    with closing(socket.create_connection((address, port), timeout=2)) as connection:
        return connection.recv(64)


def out(provider: Provider, node: Any, *command: str, **more: Any) -> str:
    result = provider.shell(node).run(command, timeout=20, **more)
    assert result.code == 0, result
    return result.stdout.decode().strip()


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# ---------------------------------------------------------------- life of a node


def test_a_lab_is_made_seen_and_removed_and_each_twice_over(provider: Provider, lab: Make) -> None:
    desired = lab(a={"san": True}, b={})
    assert provider.observe(desired.lab).nodes == {}
    up(provider, desired)
    up(provider, desired)  # again: nothing is made twice, nothing complains
    seen = provider.observe(desired.lab)
    assert list(seen.nodes) == ["a", "b"]
    assert {node.state for node in seen.nodes.values()} == {"running"}
    assert all(node.started for node in seen.nodes.values())
    assert {name: network.subnet for name, network in seen.networks.items()} == {
        name: network.subnet for name, network in desired.networks.items()
    }
    assert (seen.networks["lan"].internal, seen.networks["san"].internal) == (False, True)
    assert seen.volumes["data"].reclaim == "Retain"
    targets: list[Target] = [*seen.nodes.values(), *seen.networks.values(), *seen.volumes.values()]
    for target in (*targets, *targets):
        provider.remove(target)
    left = provider.observe(desired.lab)
    assert (left.nodes, left.networks, left.volumes, left.directories) == ({}, {}, {}, frozenset())


def test_what_was_asked_for_comes_back_from_the_labels(provider: Provider, lab: Make) -> None:
    port = free_port()
    desired = lab(a={"san": True, "ports": (Port(22, port),)})
    up(provider, desired)
    wanted, seen = desired.nodes["a"], provider.observe(desired.lab).nodes["a"]
    assert seen.addresses == wanted.addresses
    assert list(seen.addresses) == list(wanted.addresses)
    assert (seen.shape, seen.content, seen.ports) == (wanted.shape, wanted.content, wanted.ports)
    assert (seen.group, seen.role, seen.kind, seen.image) == ("a", "node", "box", wanted.image)
    assert provider.observe(desired.lab).directories == {desired.directory}


def test_a_node_is_on_its_networks_with_its_addresses_from_the_start(provider: Provider, lab: Make) -> None:
    desired = lab(a={"san": True})
    up(provider, desired)
    for address in desired.nodes["a"].addresses.values():
        assert eventually(lambda address=address: greeting(str(address), 22).startswith(b"SSH-")), address
    assert out(provider, desired.nodes["a"], "hostname") == "a"


def test_addresses_and_names_outlive_a_restart_and_a_stopped_node(provider: Provider, lab: Make) -> None:
    desired = lab(a={}, b={})
    up(provider, desired)
    a = provider.observe(desired.lab).nodes["a"]
    provider.stop(a, timeout=5)
    provider.stop(a, timeout=5)
    stopped = provider.observe(desired.lab).nodes["a"]
    assert (stopped.state, stopped.started, stopped.addresses) == ("exited", True, a.addresses)
    assert stopped.shape == a.shape
    resolved = out(provider, desired.nodes["b"], "getent", "ahostsv4", "a").split()[0]
    assert resolved == str(desired.nodes["a"].addresses["lan"])
    provider.start(stopped)
    provider.start(stopped)
    address = str(desired.nodes["a"].addresses["lan"])
    assert eventually(lambda: greeting(address, 22).startswith(b"SSH-"))


def test_somebody_elses_image_resolves_a_stopped_node_too(provider: Provider, lab: Make) -> None:
    desired = lab(a={}, b={"image": "x", "box": None, "command": "sleep 60"})
    up(provider, desired)
    provider.stop(provider.observe(desired.lab).nodes["a"], timeout=5)
    resolved = out(provider, desired.nodes["b"], "getent", "ahostsv4", "a").split()[0]
    assert resolved == str(desired.nodes["a"].addresses["lan"])


def test_a_created_node_has_not_started(provider: Provider, lab: Make) -> None:
    desired = lab(a={})
    provider.create(desired.networks["lan"], desired)
    provider.create(desired.nodes["a"], desired)
    seen = provider.observe(desired.lab).nodes["a"]
    assert (seen.started, seen.state) == (False, "created")


def test_a_node_that_was_never_started_is_made_anew(provider: Provider, lab: Make) -> None:
    desired = lab(a={})
    provider.create(desired.networks["lan"], desired)
    provider.create(desired.nodes["a"], desired)
    first = provider.observe(desired.lab).nodes["a"].id
    provider.create(desired.nodes["a"], desired, seed=[Entry("/etc/lab/late", b"in time")])
    assert provider.observe(desired.lab).nodes["a"].id != first
    provider.start(desired.nodes["a"])
    assert provider.shell(desired.nodes["a"]).get("/etc/lab/late") == b"in time"


def test_a_stubborn_node_is_killed_at_the_deadline(provider: Provider, lab: Make, baked: BakedImage) -> None:
    desired = lab(a={"image": "x", "box": None, "command": ("sh", "-c", "trap '' TERM HUP; while :; do sleep 1; done")})
    up(provider, desired)
    begin = time.monotonic()
    provider.stop(provider.observe(desired.lab).nodes["a"], timeout=1)
    assert time.monotonic() - begin < 8
    assert provider.observe(desired.lab).nodes["a"].exit_code == 137


def test_an_ended_command_leaves_its_exit_code(provider: Provider, lab: Make) -> None:
    desired = lab(a={"image": "x", "box": None, "command": "exit 3", "environment": {"A": "b c"}})
    up(provider, desired)
    assert eventually(lambda: provider.observe(desired.lab).nodes["a"].exit_code == 3)
    node = provider.observe(desired.lab).nodes["a"]
    assert (node.state, node.kind, node.started) == ("exited", "image", True)


def test_health_is_the_engines_own_word(provider: Provider, lab: Make) -> None:
    check = Healthcheck("test -e /tmp/well", interval=0.2, timeout=1, retries=1)
    desired = lab(a={"healthcheck": check})
    up(provider, desired)

    def health() -> str | None:
        return provider.observe(desired.lab).nodes["a"].health

    assert eventually(lambda: health() == "unhealthy")
    provider.shell(desired.nodes["a"]).put([Entry("/tmp/well", b"")])
    assert eventually(lambda: health() == "healthy")


# ---------------------------------------------------------------- files


def test_the_seed_is_there_before_the_first_process(provider: Provider, lab: Make) -> None:
    read = "stat -c '%a %u %g' /etc/lab/deep/down/secret; cat /etc/lab/deep/down/secret"
    desired = lab(a={"image": "x", "box": None, "command": read})
    up(provider, desired, a=(Entry("/etc/lab/deep/down/secret", b"s3-\xc3\xbc\n", 0o640, 1000, 33),))
    lines: list[bytes] = []

    def printed() -> bool:
        lines[:] = provider.logs(desired.nodes["a"])  # type: ignore[attr-defined]
        return len(lines) == 2

    assert eventually(printed), lines
    assert lines == [b"640 1000 33", b"s3-\xc3\xbc"]


def test_put_keeps_what_is_there_and_makes_what_is_missing(provider: Provider, lab: Make) -> None:
    desired = lab(a={})
    up(provider, desired)
    node = desired.nodes["a"]
    home = out(provider, node, "stat", "-c", "%a %u", "/home/lab")
    provider.shell(node).put(
        [Entry("/home/lab/x", b"\0" * 300_000, 0o600, 1000, 1000), Entry("/srv/new/dir/y", b"y", 0o755)]
    )
    assert out(provider, node, "stat", "-c", "%a %u", "/home/lab") == home
    assert out(provider, node, "stat", "-c", "%a %u", "/srv/new/dir", "/home/lab/x") == "755 0\n600 1000"
    assert provider.shell(node).get("/home/lab/x") == b"\0" * 300_000


def test_get_follows_links_and_knows_what_is_not_there(provider: Provider, lab: Make) -> None:
    desired = lab(a={})
    up(provider, desired)
    shell = provider.shell(desired.nodes["a"])
    out(provider, desired.nodes["a"], "sh", "-c", "echo hi > /tmp/file; ln -s file /tmp/link")
    assert shell.get("/tmp/link") == b"hi\n"
    for path in ("/tmp/none", "/tmp"):
        with pytest.raises(NotFoundError):
            shell.get(path)


def test_mounts_of_volumes_and_of_the_hosts_directories(provider: Provider, lab: Make, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "file").write_text("from the host")
    mounts = (Mount("/data", volume="data"), Mount("/src", source=tmp_path / "src", read_only=True))
    desired = lab(a={"mounts": mounts})
    up(provider, desired)
    node = desired.nodes["a"]
    assert out(provider, node, "cat", "/src/file") == "from the host"
    assert provider.shell(node).run(["touch", "/src/new"], timeout=10).code != 0
    out(provider, node, "sh", "-c", "echo kept > /data/file")
    assert provider.observe(desired.lab).nodes["a"].volumes == ("data",)
    provider.remove(provider.observe(desired.lab).nodes["a"])
    up(provider, desired)
    assert out(provider, node, "cat", "/data/file") == "kept"


# ---------------------------------------------------------------- shell


def test_exec_gives_clean_bytes_both_ways_and_the_childs_code(provider: Provider, lab: Make) -> None:
    desired = lab(a={})
    up(provider, desired)
    shell = provider.shell(desired.nodes["a"])
    blob = bytes(range(256)) * 8192  # 2 MiB: more than any buffer on the way
    assert shell.run(["cat"], stdin=blob, timeout=30).stdout == blob
    result = shell.run(["sh", "-c", "printf 'o\\0'; printf 'e\\r\\n' >&2; exit 37"], timeout=10)
    assert (result.code, result.stdout, result.stderr) == (37, b"o\0", b"e\r\n")
    assert shell.run(["cat"], timeout=10).stdout == b""
    assert shell.run(["head", "-c", "1"], stdin=blob, timeout=10).stdout == blob[:1]
    assert shell.run(["no-such-command"], timeout=10).code in (126, 127)


def test_exec_as_a_user_with_an_environment(provider: Provider, lab: Make) -> None:
    desired = lab(a={})
    up(provider, desired)
    command = ["sh", "-c", 'echo "$(id -un) $HOME $SECRET"']
    assert out(provider, desired.nodes["a"], *command, user="lab", environment={"SECRET": "a b"}) == "lab /home/lab a b"
    assert out(provider, desired.nodes["a"], "id", "-un") == "root"


def test_lines_are_handed_on_as_they_come(provider: Provider, lab: Make) -> None:
    desired = lab(a={})
    up(provider, desired)
    seen: list[tuple[str, float]] = []
    command = ["sh", "-c", "echo one; sleep 0.6; printf 'zwei-ü'"]
    provider.shell(desired.nodes["a"]).run(command, timeout=10, on_line=lambda line: seen.append((line, time.time())))
    assert [line for line, _ in seen] == ["one", "zwei-ü"]
    assert seen[1][1] - seen[0][1] > 0.3


def test_a_deadline_kills_what_the_command_started(provider: Provider, lab: Make) -> None:
    desired = lab(a={})
    up(provider, desired)
    node = desired.nodes["a"]
    # A child with an empty environment, one in a session of its own, and the command itself.
    command = "env -i sleep 7771 & setsid sleep 7772 & sleep 7773"
    begin = time.monotonic()
    with pytest.raises(DeadlineError):
        provider.shell(node).run(["sh", "-c", command], timeout=0.7)
    assert time.monotonic() - begin < 4
    assert provider.shell(node).run(["pgrep", "-f", "sleep 777"], timeout=10).code == 1
    assert eventually(lambda: greeting(str(node.addresses["lan"]), 22).startswith(b"SSH-"))  # and nothing else


def test_an_error_while_lines_come_ends_the_command_too(provider: Provider, lab: Make) -> None:
    desired = lab(a={})
    up(provider, desired)

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        provider.shell(desired.nodes["a"]).run(["sh", "-c", "echo; sleep 7774"], timeout=20, on_line=stop)
    assert provider.shell(desired.nodes["a"]).run(["pgrep", "-f", "sleep 7774"], timeout=10).code == 1


def test_a_shell_into_a_stopped_node_says_so(provider: Provider, lab: Make) -> None:
    desired = lab(a={})
    up(provider, desired)
    provider.stop(provider.observe(desired.lab).nodes["a"], timeout=5)
    with pytest.raises(LabctlError, match="node a is not running"):
        provider.shell(desired.nodes["a"]).run(["true"], timeout=5)


# ---------------------------------------------------------------- the host's side


def test_ports_are_published_on_loopback_only(provider: Provider, lab: Make) -> None:
    port = free_port()
    desired = lab(a={"ports": (Port(22, port),)})
    up(provider, desired)
    assert eventually(lambda: greeting("127.0.0.1", port).startswith(b"SSH-"))
    with pytest.raises(OSError):  # noqa: PT011
        greeting(str(desired.networks["lan"].gateway), port)
    assert (port, "tcp") in provider.observe(desired.lab).taken_ports


@pytest.mark.parametrize("chosen", [True, False])
def test_a_taken_port_is_a_conflict(provider: Provider, lab: Make, chosen: bool) -> None:  # noqa: FBT001
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        assert (port, "tcp") in provider.observe("b-nothing").taken_ports
        desired = lab(a={"ports": (Port(22, port),), "chosen_ports": frozenset({port} if chosen else ())})
        with pytest.raises(ConflictError) as caught:
            up(provider, desired)
        assert caught.value.taken == f"port 127.0.0.1:{port}"
        assert caught.value.retry is chosen
    assert provider.observe(desired.lab).nodes["a"].started is False


@pytest.mark.parametrize("chosen", [True, False])
def test_a_taken_subnet_is_a_conflict_and_seen_beforehand(provider: Provider, lab: Make, chosen: bool) -> None:  # noqa: FBT001
    first = lab(a={})
    provider.create(first.networks["lan"], first)
    subnet = first.networks["lan"].subnet
    assert subnet in provider.observe("b-nothing").taken_subnets
    assert subnet not in provider.observe(first.lab).taken_subnets
    second = lab("-2", a={})
    with pytest.raises(ConflictError) as caught:
        provider.create(replace(second.networks["lan"], chosen=chosen), second)
    assert caught.value.taken == f"subnet {subnet}"
    assert caught.value.retry is chosen
    assert provider.observe(second.lab).networks == {}


def test_a_used_address_is_a_conflict(provider: Provider, lab: Make) -> None:
    desired = lab(a={"address": 9}, b={"address": 9})
    with pytest.raises(ConflictError, match="address"):
        up(provider, desired)


def test_a_network_in_use_is_named_and_kept(provider: Provider, lab: Make) -> None:
    desired = lab(a={})
    up(provider, desired)
    with pytest.raises(LabctlError, match="still in use") as caught:
        provider.remove(provider.observe(desired.lab).networks["lan"])
    assert "labctl-b-contract-a" in " ".join(caught.value.details)


def test_a_node_whose_network_was_made_anew_has_lost_its_shape(provider: Provider, lab: Make) -> None:
    desired = lab(a={})
    up(provider, desired)
    seen: Observed = provider.observe(desired.lab)
    node: ObservedNode = seen.nodes["a"]
    provider.stop(node, timeout=5)
    provider.remove(seen.networks["lan"])
    assert provider.observe(desired.lab).nodes["a"].shape == ""
    provider.create(desired.networks["lan"], desired)
    lost = provider.observe(desired.lab).nodes["a"]
    assert (lost.shape, lost.addresses) == ("", node.addresses)


def test_capabilities_are_added_and_limits_hold(provider: Provider, lab: Make) -> None:
    desired: Desired = lab(a={"capabilities": ("NET_ADMIN",), "memory": 64 << 20}, b={})
    up(provider, desired)
    change = ["ip", "link", "set", "lo", "mtu", "1400"]
    assert provider.shell(desired.nodes["a"]).run(change, timeout=5).code == 0
    assert provider.shell(desired.nodes["b"]).run(change, timeout=5).code != 0
    eat = ["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"]
    assert provider.shell(desired.nodes["a"]).run(eat, timeout=20).code != 0
    assert provider.shell(desired.nodes["b"]).run(eat, timeout=20).code == 0
