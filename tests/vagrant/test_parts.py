"""What machines are made of, without one: the Vagrantfile, the first file system, calls made together, consoles."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from labctl import features
from labctl.assets import tree
from labctl.errors import LabctlError
from labctl.model.lab import Node
from labctl.plan.model import Desired, DesiredNetwork
from labctl.providers.vagrant import initrd, journal, machines, networks
from labctl.providers.vagrant.client import Vagrant
from labctl.providers.vagrant.kernel import unpacked
from labctl.providers.vagrant.place import Place
from labctl.providers.vagrant.together import Together
from labctl.providers.vagrant.vagrantfile import render
from labctl.recipe import Recipe, Trust
from labctl.render import machine as rendered
from labctl.source.boxes import box
from tests.vagrant.example import SETTINGS, machine


def test_quotes_in_labels_stay_what_they_are() -> None:
    odd = dataclasses.replace(machine("web", 3), labels='{"a": "it\'s \\\\ #{x}"}')
    text = render(SETTINGS, (odd,))
    assert 'libvirt.description = \'{"a": "it\\\'s \\\\\\\\ #{x}"}\'' in text


def test_a_place_keeps_what_it_was_told(tmp_path: Path) -> None:
    place = Place(tmp_path / "machines", tmp_path / "key")
    assert not place.exists
    assert place.kept() == {}
    place.keep(machine("web", 3), SETTINGS)
    place.keep(machine("db", 2), SETTINGS)
    place.told("web", "uuid-1")
    again = Place(tmp_path / "machines", tmp_path / "key").kept()
    assert again["web"].machine == machine("web", 3)
    assert (again["web"].told, again["db"].told) == ("uuid-1", "")
    assert (place.path / "Vagrantfile").read_text() == render(SETTINGS, (machine("db", 2), machine("web", 3)))
    place.forget("web")
    assert set(place.kept()) == {"db"}


def test_calls_that_come_together_are_one() -> None:
    rounds: list[list[str]] = []

    def act(names: Sequence[str]) -> None:
        rounds.append(sorted(names))
        if "bad" in names:
            raise LabctlError("no")

    together = Together(act, gather=0.2)
    failed: list[str] = []

    def one(name: str) -> None:
        try:
            together(name)
        except LabctlError:
            failed.append(name)

    threads = [threading.Thread(target=one, args=(name,)) for name in ("a", "b", "bad")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    together("c")
    assert rounds == [["a", "b", "bad"], ["c"]]
    assert sorted(failed) == ["a", "b", "bad"]


def test_the_first_file_system_can_be_unpacked(tmp_path: Path) -> None:
    cpio = shutil.which("cpio")
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "virtio.ko").write_bytes(b"driver")
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"program!")
    target = tmp_path / "initrd"
    initrd.write(target, b"#!/bin/sh\n", busybox, modules)
    data = target.read_bytes()
    assert data.startswith(b"070701")
    assert len(data) % 4 == 0
    if cpio is None:
        pytest.skip("no cpio on this host")
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run([cpio, "-id", "--quiet"], cwd=out, stdin=target.open("rb"), check=True, timeout=60)
    assert (out / "init").read_bytes() == b"#!/bin/sh\n"
    assert (out / "bin" / "sh").readlink() == Path("busybox")
    assert (out / "modules" / "virtio.ko").read_bytes() == b"driver"


def test_what_is_no_kernel_stays_as_it_is() -> None:
    assert unpacked(b"short") == b"short"
    assert unpacked(b"\0" * 4096) == b"\0" * 4096


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("", "kernel did not start"),
        ("lab: kernel is up\n", "disk was not found"),
        ("lab: kernel is up\nlab: disk is mounted, starting systemd\n", "systemd started"),
        ("lab: disk is mounted\n[ 14.8] sshd[1]: ssh host key: ssh-ed25519 AAAA\n", "ssh server started"),
    ],
)
def test_a_console_says_how_far_a_machine_came(tmp_path: Path, said: str, words: str) -> None:
    console = tmp_path / "web.console"
    console.write_text(said)
    assert words in machines.phase(console)


def test_a_console_is_shown_without_what_steers_a_terminal(tmp_path: Path) -> None:
    console = tmp_path / "web.console"
    console.write_bytes(b"\x1bc\x1b[?7l\x1b[2JSeaBIOS\r\n\r\n\x1b[!pBooting\r\n")
    assert machines.tail(console, 5) == ["SeaBIOS", "Booting"]


def test_a_line_of_the_journal_is_a_line_of_a_log() -> None:
    line = journal.line(b'{"__REALTIME_TIMESTAMP":"1795200906123456","SYSLOG_IDENTIFIER":"tick","MESSAGE":"started"}')
    assert line.data == b"tick: started\n"
    assert line.time.endswith(".123456000Z")
    assert journal.line(b'{"__REALTIME_TIMESTAMP":"1","SYSLOG_IDENTIFIER":"sshd","MESSAGE":[104,105]}').data == b"hi\n"


def test_an_internal_network_has_no_way_out() -> None:
    desired = Desired("shop", "/srv/<shop>", {}, {}, {}, {})
    subnet = IPv4Network("10.201.4.0/24")

    def network(name: str, *, internal: bool) -> str:
        gateway = IPv4Address("10.201.4.1")
        made = DesiredNetwork(name, f"labctl-shop-{name}", "lab0", subnet, gateway, internal, chosen=True)
        return networks.xml(made, desired)

    assert "<forward" in network("lan", internal=False)
    assert "<forward" not in network("san", internal=True)
    assert "isolated='yes'" in network("_machines", internal=True)
    assert "/srv/<shop>" not in network("lan", internal=False)


def test_a_box_is_known_by_all_that_it_is_made_of() -> None:
    recipe = features.recipe(Node("plain", "plain"))
    one = rendered.bake(box("debian-13"), recipe, Trust())
    assert one == rendered.bake(box("debian-13"), recipe, Trust())
    more = rendered.bake(box("debian-13"), recipe + Recipe(build=("true",)), Trust())
    assert one.tag != more.tag
    assert one.tag != rendered.bake(box("debian-12"), recipe, Trust()).tag
    paths = {each.path for each in one.files}
    assert "/etc/systemd/system/lab-sshd.service" in paths
    assert {path for path, _ in tree("machine", "build")} == {"/init", "/root", "/tune"}  # they count too
    boot = next(each for each in one.files if each.path == "/usr/lib/lab/boot")
    assert b"runsvdir" not in boot.content


def test_vagrant_is_ended_at_its_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "vagrant"
    program.write_text("#!/bin/sh\necho waiting for it\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    began = time.monotonic()
    with pytest.raises(LabctlError, match="did not end within 1 s") as caught:
        Vagrant(tmp_path).destroy_all(["web"], timeout=1.0)
    assert "waiting for it" in caught.value.details
    assert time.monotonic() - began < 10


def test_vagrants_last_words_are_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "vagrant"
    program.write_text("#!/bin/sh\necho no such box >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(LabctlError, match="failed") as caught:
        Vagrant(tmp_path).add("x", tmp_path / "x.box", timeout=20.0)
    assert list(caught.value.details) == ["no such box"]
