"""What is asked of a host that is to run virtual machines, and what is done about it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.features.gateway import ON_HOST
from labctl.probe.desktops import desktop_findings
from labctl.probe.fix import repair
from labctl.probe.host import Attempt, Host
from labctl.probe.hypervisor import hypervisor_findings
from labctl.probe.machines import acceleration_findings, box_findings, vagrant_findings
from labctl.probe.user import InvokingUser
from labctl.providers.vagrant import acceleration, reach
from tests.host.made_up import made_up_host

PROGRAMS = ["libvirtd", "virsh", "qemu-system-x86_64", "qemu-img", "dnsmasq", "iptables", "nft", "ip"]
SOCKET = {"/run/libvirt/libvirt-sock": ""}
POOL = "Name: default\nState:  running\nAvailable: {free}\n"


def asked(host: Host, **said: Attempt) -> Host:
    """`host` where each of virsh's commands, and the trial machine, answers what is `said`."""

    def run(argv: Sequence[str], timeout: float) -> Attempt:
        word = "create" if argv[0] == "sh" else argv[4].replace("-", "_")
        return said.get(word, Attempt(0, "Running hypervisor: QEMU 7.2.19"))

    return replace(host, run=run)


def test_a_bare_host_lacks_all(tmp_path: Path) -> None:
    host = made_up_host(tmp_path)
    (hypervisor,) = hypervisor_findings(host)
    found = [*vagrant_findings(host), hypervisor, *box_findings(host)]
    assert {finding.status for finding in found} == {"missing"}
    update, install = repair(found, host, now=time.time())
    assert {"vagrant", "vagrant-libvirt", "libvirt-daemon-system", "dnsmasq-base", "mmdebstrap"} <= set(install)
    assert update[-1] == "update"


def test_vagrant_without_its_way_to_libvirt(tmp_path: Path) -> None:
    host = made_up_host(tmp_path, programs=["vagrant"], answers={"vagrant": Attempt(0, "No plugins installed.")})
    assert [finding.status for finding in vagrant_findings(host)] == ["ok", "missing"]
    said = Attempt(0, "vagrant-libvirt (0.11.2, system)")
    (finding,) = vagrant_findings(made_up_host(tmp_path, programs=["vagrant"], answers={"vagrant": said}))
    assert finding.evidence == "with vagrant-libvirt 0.11.2"


@pytest.mark.parametrize(("systemd", "word"), [(True, "systemctl"), (False, "sh")])
def test_libvirt_that_does_not_run_is_started(tmp_path: Path, word: str, *, systemd: bool) -> None:
    files = {"/run/systemd/system/x": ""} if systemd else {}
    (finding,) = hypervisor_findings(made_up_host(tmp_path, files=files, programs=PROGRAMS))
    assert finding.fix[-1][0] == word
    assert "does not run" in finding.evidence


def test_who_may_not_use_libvirt_joins_its_group(tmp_path: Path) -> None:
    ana = InvokingUser("ana", 1000, 1000, Path("/home/ana"))
    host = made_up_host(tmp_path, files=SOCKET, programs=PROGRAMS, user=ana, uid=1000)
    refused = Attempt(1, "error: Failed to connect socket to '/run/libvirt/libvirt-sock': Permission denied")
    (finding,) = hypervisor_findings(asked(host, version=refused))
    assert finding.fix == (("usermod", "-aG", "libvirt", "ana"),)


def test_libvirt_that_asks_polkit_in_vain_is_told_whom_to_let_in(tmp_path: Path) -> None:
    ana = InvokingUser("ana", 1000, 1000, Path("/home/ana"))
    host = made_up_host(tmp_path, files=SOCKET, programs=PROGRAMS, user=ana, uid=1000)
    refused = Attempt(1, "error: failed to connect to the hypervisor\nerror: Unable to get system bus connection")
    (finding,) = hypervisor_findings(asked(host, version=refused))
    join, write, again = finding.fix
    assert join == ("usermod", "-aG", "libvirt", "ana")
    assert 'auth_unix_rw = "none"' in write[-1]
    assert "libvirtd -d" in again[-1]


def test_libvirt_that_starts_nothing_is_set_up_once_and_only_without_systemd(tmp_path: Path) -> None:
    failed = Attempt(1, "error: Failed to create domain from /dev/stdin\nerror: cgroups are not there")
    host = made_up_host(tmp_path, files=SOCKET, programs=PROGRAMS)
    (finding,) = hypervisor_findings(asked(host, create=failed))
    assert finding.evidence == "libvirt starts no machine: cgroups are not there"
    write, again = finding.fix
    assert "security_driver" in write[-1]
    assert "libvirtd -d" in again[-1]
    host = made_up_host(tmp_path, files={**SOCKET, "/etc/libvirt/qemu.conf": write[-1]}, programs=PROGRAMS)
    (finding,) = hypervisor_findings(asked(host, create=failed))
    assert finding.fix == ()
    host = made_up_host(tmp_path / "b", files={**SOCKET, "/run/systemd/system/x": ""}, programs=PROGRAMS)
    (finding,) = hypervisor_findings(asked(host, create=failed))
    assert finding.fix == ()


@pytest.mark.parametrize(
    ("said", "status", "fix"),
    [
        (Attempt(0, POOL.format(free=50 << 30)), "ok", 0),
        (Attempt(0, POOL.format(free=2 << 30)), "limited", 0),
        (Attempt(0, POOL.format(free=1 << 20)), "missing", 0),
        (Attempt(0, "Name: default\nState:  inactive\n"), "missing", 2),
        (Attempt(1, "error: failed to get pool 'default'"), "missing", 4),
    ],
)
def test_disks_need_a_place(tmp_path: Path, said: Attempt, status: str, fix: int) -> None:
    host = asked(made_up_host(tmp_path, files=SOCKET, programs=PROGRAMS), pool_info=said)
    runs, pool, *_ = hypervisor_findings(host)
    assert (runs.status, pool.status, len(pool.fix)) == ("ok", status, fix)
    assert "7.2.19" in runs.evidence


def test_acceleration_is_a_kernel_that_comes_up(tmp_path: Path) -> None:
    host = made_up_host(tmp_path)
    (finding,) = acceleration_findings(host, cache=tmp_path)
    assert finding.status == "limited"
    assert finding.remedy is not None
    assert "firmware" in finding.remedy
    host = made_up_host(tmp_path, files={"/dev/kvm": ""})
    (finding,) = acceleration_findings(host, cache=tmp_path)
    assert finding.status == "unknown"


def qemu(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in qemu's place."""
    program = directory / acceleration.EMULATOR
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'lab: kernel is up'; exec sleep 60", None),
        ("echo booting; exec sleep 60", "within 1 s"),
        ("echo 'x: error: failed to set MSR 0x10a' >&2; echo assertion >&2; exit 134", ": failed to set MSR 0x10a"),
        ("exit 1", "without a word"),
    ],
)
def test_a_machine_that_does_not_come_up_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str | None
) -> None:
    qemu(tmp_path, script, monkeypatch)
    began = time.monotonic()
    failure = acceleration.failure_of(tmp_path / "k", tmp_path / "i", deadline=1.0)
    assert failure is None if why is None else why in (failure or "")
    assert time.monotonic() - began < 8


def test_the_answer_is_kept_until_the_host_starts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "without_trying", lambda: None)
    qemu(tmp_path, "exit 1", monkeypatch)
    first = acceleration.judge(tmp_path / "cache", tmp_path / "k", tmp_path / "i")
    assert first.emulated
    qemu(tmp_path, "echo 'lab: kernel is up'; exec sleep 60", monkeypatch)
    assert acceleration.judge(tmp_path / "cache", tmp_path / "k", tmp_path / "i") == first
    monkeypatch.setattr(acceleration, "_boot", lambda: "another")
    assert not acceleration.judge(tmp_path / "cache", tmp_path / "k", tmp_path / "i").emulated


def test_what_shows_desktops_is_installed_for_a_lab_that_needs_it(tmp_path: Path) -> None:
    host = made_up_host(tmp_path)
    (finding,) = desktop_findings(host, needed=True)
    assert (finding.status, finding.packages) == ("missing", ("novnc", "python3-websockify"))
    (finding,) = desktop_findings(host, needed=False)
    assert (finding.status, finding.packages) == ("limited", ())
    there = made_up_host(tmp_path, files=dict.fromkeys(ON_HOST.values(), ""))
    assert [each.status for each in desktop_findings(there, needed=True)] == ["ok"]


def test_machines_have_to_come_to_their_kernels(tmp_path: Path) -> None:
    home = tmp_path / "ana"
    (home / ".vagrant.d").mkdir(parents=True)
    home.chmod(0o700)
    settings = tmp_path / "qemu.conf"
    assert reach.barrier(home / ".vagrant.d", settings, home) == home
    settings.write_text('#user = "root"\n')
    assert reach.barrier(home / ".vagrant.d", settings, home) == home
    settings.write_text('user = "root"\n')
    assert reach.barrier(home / ".vagrant.d", settings, home) is None
    settings.unlink()
    home.chmod(0o711)
    assert reach.barrier(home / ".vagrant.d", settings, home) is None
    assert reach.barrier(home / "not" / "there", settings, home) is None
