"""Why machines do not come up, as far as it can be said without one: last words, consoles, a shutdown that hangs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from labctl.errors import ConflictError, HostError, LabctlError
from labctl.providers.vagrant import causes, libvirt, machines
from labctl.providers.vagrant.client import Vagrant

CREATE = "Call to virDomainCreateWithFlags failed: "


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        ("qemu-img: error while writing: No space left on device", "disk is full", "box prune"),
        (CREATE + "cannot set up guest memory 'pc.ram': Cannot allocate memory", "no memory left", "memory"),
        (CREATE + "qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69", "with KVM", "doctor"),
        (
            CREATE + "qemu: could not load kernel '/home/ana/.vagrant.d/boxes/x/vmlinuz': Permission denied",
            "may not read /home/ana/.vagrant.d/boxes/x/vmlinuz",
            "chmod o+x",
        ),
        ("Failed to connect socket to '/run/libvirt/libvirt-sock': Permission denied", "no permission", "usermod"),
        ("Failed to connect socket to '/run/libvirt/libvirt-sock': No such file", "does not run", "doctor --fix"),
        ("The provider 'libvirt' could not be found, but was requested", "vagrant-libvirt is not", "doctor --fix"),
        (
            CREATE + "could not open kernel file '/root/.vagrant.d/boxes/x/vmlinuz': No such file or directory",
            "a part of the box is gone: /root/.vagrant.d/boxes/x/vmlinuz",
            "box remove",
        ),
        ("qemu-img: Could not open 'box.img': Image is not in qcow2 format", "a box is damaged", "box verify"),
        ("The box 'labctl/x-0123' could not be found or", "box labctl/x-0123 is not there", "labctl up"),
        ("An action 'up' was attempted: Vagrant is already executing an action on", "another Vagrant", "wait"),
        ("Network not found: no network with matching name 'labctl-x-lan'", "network labctl-x-lan", "labctl up"),
        (CREATE + "Cannot get interface MTU on 'lab01': No such device", "bridge lab01", "labctl up"),
    ],
)
def test_last_words_are_a_sentence_with_one_remedy(said: str, message: str, hint: str) -> None:
    error = causes.of(["==> web: Starting domain.", said])
    assert error is not None
    assert message in error.message
    assert hint in (error.hint or "")
    assert said in error.details


def test_a_name_that_is_taken_is_a_conflict() -> None:
    error = causes.of(["Name `labctl-shop-web` of domain about to create is already taken. Please try to run"])
    assert isinstance(error, ConflictError)
    assert not error.retry
    assert "labctl-shop-web" in (error.hint or "")


def test_words_that_nobody_knows_are_shown_as_they_are() -> None:
    assert causes.of(["the moon is in the wrong house"]) is None


def test_vagrants_failure_is_told_by_its_cause_and_not_by_rubys_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "vagrant"
    stack = "".join(f"/usr/lib/ruby/action/warden.rb:{line}:in `call'\n" for line in range(30))
    program.write_text(f"#!/bin/sh\ncat <<'X'\nCall failed: No space left on device\n{stack}X\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(HostError, match="disk is full") as caught:
        Vagrant(tmp_path).destroy_all(["web"], timeout=20.0)
    assert list(caught.value.details) == ["Call failed: No space left on device"]


KERNEL = "SeaBIOS (version 1.16)\nlab: kernel is up\n"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("SeaBIOS (version 1.16)\nBooting from ROM..\n", "kernel did not start"),
        (KERNEL + "[ 1.2] Kernel panic - not syncing: Attempted to kill init!\n", "stopped: Attempted to kill init!"),
        (KERNEL + "lab: no root file system on /dev/vda\n", "box verify"),
        (KERNEL + "lab: disk is mounted\nOut of memory: Killed process 9 (apt-get) total-vm\n", "apt-get was killed"),
        (KERNEL + "lab: disk is mounted\nYou are in emergency mode.\n", "gave up"),
        (KERNEL + "lab: disk is mounted\nssh host key: ssh-ed25519 AAAA\n", "ssh server started"),
        # what was said at a former start does not count
        (KERNEL + "lab: disk is mounted\nssh host key: x\n" + KERNEL, "disk was not found"),
        (KERNEL + "lab: disk is mounted\nssh host key: x\nSeaBIOS (version 1.16)\n", "kernel did not start"),
    ],
)
def test_a_console_says_in_which_phase_a_machine_stands(tmp_path: Path, said: str, words: str) -> None:
    console = tmp_path / "web.console"
    console.write_text(said)
    assert words in machines.phase(console)


def test_no_answer_in_time_shows_the_console_and_the_phase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = tmp_path / "web.console"
    console.write_text(KERNEL + "lab: disk is mounted, starting systemd\n")
    monkeypatch.setattr(machines, "BOOT_TIMEOUT", 0.6)
    monkeypatch.setattr(machines, "state", lambda domain: "running")
    with pytest.raises(LabctlError, match="systemd started, and its ssh server did not") as caught:
        machines.wait("web", "labctl-shop-web", console, lambda: False, None)
    assert "lab: kernel is up" in caught.value.details
    assert caught.value.exit_code == 5


def test_a_machine_that_crashed_ends_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = tmp_path / "web.console"
    console.write_text(KERNEL + "Kernel panic - not syncing: no init\n")
    monkeypatch.setattr(machines, "state", lambda domain: "dead")
    monkeypatch.setattr(machines, "LOOK_EVERY", 0.1)
    began = time.monotonic()
    with pytest.raises(LabctlError, match="web ended while it started: its kernel stopped: no init"):
        machines.wait("web", "labctl-shop-web", console, lambda: False, None)
    assert time.monotonic() - began < 5


def test_a_shutdown_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(machines, "state", lambda domain: "running")

    def virsh(*argv: str) -> str:
        told.append(argv[0])
        return ""

    monkeypatch.setattr(libvirt, "virsh", virsh)
    began = time.monotonic()
    machines.shut_down("labctl-shop-web", lambda: None, timeout=0.5)
    assert told == ["destroy"]
    assert 0.4 < time.monotonic() - began < 5


def test_libvirt_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "virsh"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(LabctlError, match="gave no answer within") as caught:
        libvirt.virsh("list", timeout=0.5)
    assert caught.value.exit_code == 5


def test_vagrant_is_ended_when_all_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "vagrant"
    program.write_text("#!/bin/sh\necho waiting\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    asked: list[None] = []

    def enough() -> bool:
        asked.append(None)
        return len(asked) == 2

    began = time.monotonic()
    Vagrant(tmp_path).up_all(["web"], timeout=30.0, enough=enough)
    assert len(asked) == 2
    assert time.monotonic() - began < 8
