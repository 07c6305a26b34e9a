"""Boxes as files, without a machine: their words, whether they are sound, taken in, listed, and taken away."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from labctl import machineboxes, planning, shelf
from labctl.errors import ConflictError, HostError, LabctlError, NotFoundError, UsageError
from labctl.lab import cache, home
from labctl.providers.vagrant import boxes, boxfile, libvirt, soundness, stock
from labctl.providers.vagrant.boxfile import Words
from labctl.providers.vagrant.serve import Server
from labctl.recipe import Recipe, Service, Trust

BUILT = Words("debian-13-0123456789ab", "debian-13", ("sshd",), built=True)
OWN = Words("mine", "debian-13", ("sshd", "desktop"), built=False)


def made(directory: Path, words: Words) -> Path:
    """A box with next to nothing in it."""
    if shutil.which("qemu-img") is None:
        pytest.skip("no qemu-img on this host")
    directory.mkdir(parents=True, exist_ok=True)
    image, kernel, initrd = (directory / name for name in ("i", "k", "r"))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "1M"], check=True, timeout=60)
    kernel.write_bytes(b"\x7fELF")
    initrd.write_bytes(b"070701")
    path = directory / f"{words.name}.box"
    boxfile.write(path, words, image=image, kernel=kernel, initrd=initrd)
    return path


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


@pytest.fixture(autouse=True)
def alone(labctl_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No libvirt, and a Vagrant of one's own."""
    monkeypatch.setattr(libvirt, "is_there", lambda: False)
    monkeypatch.setenv("VAGRANT_HOME", str(tmp_path / "vagrant"))


def test_a_box_says_what_it_is(tmp_path: Path) -> None:
    assert boxfile.words(made(tmp_path, OWN)) == OWN
    (tmp_path / "no.box").write_bytes(b"nothing")
    assert boxfile.words(tmp_path / "no.box") is None


def test_a_sound_box_has_no_faults(tmp_path: Path) -> None:
    path = made(tmp_path, OWN)
    assert soundness.faults(path, digest(path)) == []


def test_what_is_wrong_with_a_box_is_said(tmp_path: Path) -> None:
    path = made(tmp_path, OWN)
    assert "digest" in soundness.faults(path, "0" * 64)[0]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert soundness.faults(path, None) != []
    with tarfile.open(path, "w") as tar:
        tar.add(tmp_path / "k", arcname="vmlinuz")
    assert soundness.faults(path, None) == ["not in it: metadata.json, Vagrantfile, box.img, initrd"]
    (tmp_path / "i").write_bytes(b"no disk at all")
    boxfile.write(path, OWN, image=tmp_path / "i", kernel=tmp_path / "k", initrd=tmp_path / "r")
    assert soundness.faults(path, None) == ["its disk is no qcow2 image"]


def test_another_digest_is_refused_and_nothing_kept(tmp_path: Path) -> None:
    path = made(tmp_path, OWN)
    with pytest.raises(LabctlError, match="its sha256 is another") as caught:
        machineboxes.add(str(path), "0" * 64, None)
    assert f"found  {digest(path)}" in caught.value.details
    assert machineboxes.found() == ()
    assert list(cache().glob("bootstrap-*")) == []
    with pytest.raises(UsageError, match="64"):
        machineboxes.add(str(path), "abc", None)


def test_a_box_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path, OWN)
    with tarfile.open(path) as tar:
        tar.extractall(tmp_path / "out")
    (tmp_path / "out" / "labctl.json").unlink()
    with tarfile.open(path, "w") as tar:
        for each in sorted((tmp_path / "out").iterdir()):
            tar.add(each, arcname=each.name)
    with pytest.raises(LabctlError, match="was not made by labctl"):
        machineboxes.add(str(path), digest(path), "theirs")


def test_a_built_box_from_elsewhere_is_not_made_again(tmp_path: Path) -> None:
    path = made(tmp_path, BUILT)
    assert machineboxes.add(str(path), digest(path), None) == BUILT.name
    kept = boxes.path_of(cache(), f"labctl/{BUILT.name}")
    assert soundness.known_digest(kept) == digest(path)
    (verdict,) = machineboxes.verify(["debian-13"])
    assert (verdict.name, verdict.faults) == (BUILT.name, ())
    kept.write_bytes(kept.read_bytes() + b"x")
    (verdict,) = machineboxes.verify([])
    assert verdict.faults == ("its digest is not the one that it was made with",)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of a server of what lies in a directory."""
    directory = tmp_path / "served"
    directory.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_box_comes_from_an_address(tmp_path: Path, served: str) -> None:
    path = made(tmp_path / "served", OWN)
    added = machineboxes.add(f"{served}/{path.name}", digest(path), None)
    assert isinstance(added, shelf.OwnBox)
    assert (added.name, added.services) == ("mine", ("sshd", "desktop"))
    with pytest.raises(LabctlError, match="cannot be read: File not found"):
        machineboxes.add(f"{served}/no.box", digest(path), None)
    with pytest.raises(LabctlError, match="cannot be read"):
        machineboxes.add(str(tmp_path / "no.box"), digest(path), None)


def test_nodes_can_have_a_box_of_ones_own(tmp_path: Path) -> None:
    path = made(tmp_path, OWN)
    added = machineboxes.add(str(path), digest(path), "golden")
    assert isinstance(added, shelf.OwnBox)
    assert shelf.names(home()) == ["golden"]
    recipe = Recipe(services=(Service("sshd", "x"),))
    baked = planning._baked("vagrant", "golden", recipe, Trust())
    assert baked.tag == added.tag
    assert boxes.build(baked, cache(), {}, None).resolve() == shelf.file_of(home(), added)  # type: ignore[arg-type]
    with pytest.raises(HostError, match="has no web"):
        planning._baked("vagrant", "golden", Recipe(services=(Service("web", "x"),)), Trust())
    with pytest.raises(HostError, match="is one of virtual machines"):
        planning._baked("docker", "golden", recipe, Trust())
    shelf.file_of(home(), added).unlink()
    with pytest.raises(NotFoundError, match="is gone"):
        planning._baked("vagrant", "golden", recipe, Trust())


def test_names_that_are_taken_or_none_are_refused(tmp_path: Path) -> None:
    path = made(tmp_path, OWN)
    for name in ("debian-13", "Not A Name"):
        with pytest.raises(UsageError):
            machineboxes.add(str(path), digest(path), name)


def test_another_box_of_that_name_takes_its_place(tmp_path: Path) -> None:
    first = made(tmp_path / "a", OWN)
    machineboxes.add(str(first), digest(first), None)
    second = made(tmp_path / "b", Words("mine", "debian-12", (), built=False))
    machineboxes.add(str(second), digest(second), None)
    (own,) = shelf.boxes(home())
    assert own.system == "debian-12"
    assert [path.name for path in shelf.place(home()).glob("*.box")] == [f"mine-{digest(second)[:12]}.box"]


def test_what_is_used_stays_and_what_cannot_be_made_again_too(tmp_path: Path) -> None:
    for words in (OWN, BUILT):
        path = made(tmp_path, words)
        machineboxes.add(str(path), digest(path), None)
    used = next(each for each in machineboxes.found() if each.box == "debian-13")
    lab = home() / "labs" / "shop" / "machines"
    lab.mkdir(parents=True)
    machine = {"name": "web", "box": used.tag, "box_file": "", "memory": 1, "cpus": 1, "labels": "", "key": ""}
    kept = {"web": {"machine": {**machine, "interfaces": [], "dns": []}, "told": ""}}
    (lab / "machines.json").write_text(json.dumps(kept))
    with pytest.raises(ConflictError) as caught:
        machineboxes.remove(machineboxes.named(["debian-13"]))
    assert caught.value.details == ("by shop/web",)
    assert machineboxes.prune()[0] == []
    (lab / "machines.json").unlink()
    assert [each.tag for each in machineboxes.prune()[0]] == [f"labctl/{BUILT.name}"]
    assert [each.box for each in machineboxes.found()] == ["mine"]
    machineboxes.remove(machineboxes.named(["mine"]))
    assert (machineboxes.found(), shelf.names(home())) == ((), [])
    assert list((cache() / "boxes").iterdir()) == []


def test_locks_of_builds_that_ended_go_and_those_that_are_held_stay(tmp_path: Path) -> None:
    place = tmp_path / "boxes"
    place.mkdir()
    for name in ("dead.lock", "held.lock", "there.lock", "there.box"):
        (place / name).touch()
    held = os.open(place / "held.lock", os.O_RDWR)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert stock.clear_leftovers(tmp_path, tmp_path) == ["dead.lock"]
    finally:
        os.close(held)
    assert {path.name for path in place.iterdir()} == {"held.lock", "there.lock", "there.box"}


POOL = {
    # made from the box below by this Vagrant; a machine's disk is based on it
    "labctl-VAGRANTSLASH-x-0123456789ab_vagrant_box_image_0_1000_box.img": "",
    "labctl-lab-node.img": "/p/labctl-VAGRANTSLASH-x-0123456789ab_vagrant_box_image_0_1000_box.img",
    # of a Vagrant that has gone, of one that is somebody else's and new, of no box of labctl's
    "labctl-VAGRANTSLASH-y-0123456789ab_vagrant_box_image_0_1000_box.img": "",
    "labctl-VAGRANTSLASH-y-0123456789ab_vagrant_box_image_0_99999999999_box.img": "",
    "theirs-VAGRANTSLASH-y_vagrant_box_image_0_1000_box.img": "",
}


def test_disks_in_the_pool_go_with_their_box_but_never_below_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone: list[str] = []
    pool = dict(POOL)

    def virsh(command: str, *argv: str, **_: object) -> str:
        if command == "vol-list":
            return "".join(f"{name}  /p/{name}\n" for name in pool)
        if command == "vol-delete":
            gone.append(argv[0])
            return ""
        if command == "vol-dumpxml":
            backing = f"<backingStore><path>{pool[argv[0]]}</path></backingStore>"
            return f"<volume><allocation>5</allocation><target><path>/p/{argv[0]}</path></target>{backing}</volume>"
        return ""

    monkeypatch.setattr(libvirt, "is_there", lambda: True)
    monkeypatch.setattr(libvirt, "virsh", virsh)
    unpacked = tmp_path / "boxes" / "labctl-VAGRANTSLASH-x-0123456789ab"
    image = unpacked / "0" / "libvirt" / "box.img"
    image.parent.mkdir(parents=True)
    image.touch()
    os.utime(image, (1000, 1000))
    (box,) = stock.stock(tmp_path, tmp_path, {})
    assert box.volumes == ("labctl-VAGRANTSLASH-x-0123456789ab_vagrant_box_image_0_1000_box.img",)
    left = stock.clear_leftovers(tmp_path, tmp_path)
    assert left == gone == ["labctl-VAGRANTSLASH-y-0123456789ab_vagrant_box_image_0_1000_box.img"]
    gone.clear()
    stock.take_away(box)
    assert gone == []
    assert not unpacked.exists()
    del pool["labctl-lab-node.img"]
    stock.take_away(box)
    assert gone == list(box.volumes)


def test_a_lab_file_may_name_a_box_of_ones_own(tmp_path: Path) -> None:
    from labctl import api

    path = made(tmp_path, OWN)
    file = tmp_path / "lab.yaml"
    file.write_text("name: x\nnodes: {a: {provider: vagrant, box: golden}}\n")
    with pytest.raises(LabctlError, match="problem"):
        api.load_lab([str(file)])
    machineboxes.add(str(path), digest(path), "golden")
    assert api.load_lab([str(file)]).nodes["a"].box == "golden"


def test_boxes_are_offered_to_vagrant_and_to_labctl(tmp_path: Path) -> None:
    path = made(tmp_path, OWN)
    machineboxes.add(str(path), digest(path), None)
    with Server(machineboxes.offers, "127.0.0.1", 0) as server:
        server.start()
        with urlopen(f"{server.address}/mine", timeout=10) as answer:
            assert answer.headers["Content-Type"] == "application/json"
            metadata = json.load(answer)
        (version,) = metadata["versions"]
        assert re.fullmatch(r"\d+\.\d+\.\d+", version["version"])
        (provider,) = version["providers"]
        assert (provider["name"], provider["checksum"]) == ("libvirt", digest(path))
        with urlopen(provider["url"], timeout=10) as answer:
            assert answer.read() == path.read_bytes()
        for wrong in ("/other", "/boxes/../labctl.json", "/boxes/%2e%2e/x", "/boxes/"):
            with pytest.raises(HTTPError, match="404"):
                urlopen(f"{server.address}{wrong}", timeout=10)
        with pytest.raises(HostError, match="cannot listen"):
            Server(machineboxes.offers, "127.0.0.1", int(server.address.rpartition(":")[2]))
