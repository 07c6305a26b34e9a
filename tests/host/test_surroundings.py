"""Firewall, control groups, names, programs, kernel and virtual machines of made-up hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl.probe.host import Attempt
from labctl.probe.kernel import kernel_findings, netem_findings
from labctl.probe.surroundings import (
    apparmor_findings,
    cgroup_mount_findings,
    firewall_findings,
    program_findings,
    resolver_findings,
    user_findings,
)
from labctl.probe.user import InvokingUser
from tests.host.made_up import made_up_host

ANA = InvokingUser("ana", 1000, 1000, Path("/home/ana"))


def test_iptables_that_is_not_there_is_installed(tmp_path: Path) -> None:
    (finding,) = firewall_findings(made_up_host(tmp_path))
    assert (finding.status, finding.packages) == ("missing", ("iptables",))


def test_iptables_whose_backend_the_kernel_lacks_is_switched(tmp_path: Path) -> None:
    refused = Attempt(3, "iptables v1.8.9 (nf_tables): Could not fetch rule set generation id: Invalid argument")
    host = made_up_host(tmp_path, programs=["iptables", "iptables-legacy"], answers={"iptables": refused})
    (finding,) = firewall_findings(host)
    assert finding.status == "missing"
    assert finding.fix == (("update-alternatives", "--set", "iptables", "/usr/sbin/iptables-legacy"),)
    both = {"iptables": refused, "iptables-legacy": refused}
    (finding,) = firewall_findings(made_up_host(tmp_path, programs=["iptables", "iptables-legacy"], answers=both))
    assert (finding.status, finding.fix) == ("limited", ())


def test_iptables_that_an_ordinary_user_may_not_ask_is_no_finding(tmp_path: Path) -> None:
    answers = {"iptables": Attempt(4, "Permission denied (you must be root)")}
    host = made_up_host(tmp_path, programs=["iptables"], answers=answers, user=ANA, uid=1000)
    assert firewall_findings(host)[0].status == "ok"


def test_control_groups_that_nobody_mounted(tmp_path: Path) -> None:
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (finding,) = cgroup_mount_findings(made_up_host(tmp_path))
    assert finding.status == "missing"
    assert finding.fix[0][0] == "mount"
    (tmp_path / "sys/fs/cgroup/memory").mkdir()
    assert cgroup_mount_findings(made_up_host(tmp_path)) == []


def test_apparmor_without_its_parser(tmp_path: Path) -> None:
    files = {"/sys/module/apparmor/parameters/enabled": "Y\n"}
    assert apparmor_findings(made_up_host(tmp_path, files=files))[0].packages == ("apparmor",)
    assert apparmor_findings(made_up_host(tmp_path, files=files, programs=["apparmor_parser"])) == []
    assert apparmor_findings(made_up_host(tmp_path / "other")) == []


@pytest.mark.parametrize(
    ("files", "status", "evidence"),
    [
        ({"/etc/resolv.conf": ""}, "limited", "no server"),
        ({"/etc/resolv.conf": "nameserver 127.0.0.1\n"}, "limited", "this host itself"),
        ({"/etc/resolv.conf": "nameserver ::1\nnameserver 127.0.0.53\n"}, "limited", "this host itself"),
        ({"/etc/resolv.conf": "# x\nsearch a b\nnameserver 10.9.8.7\n"}, "ok", "10.9.8.7"),
        (
            {
                "/etc/resolv.conf": "nameserver 127.0.0.53\n",
                "/run/systemd/resolve/resolv.conf": "nameserver 10.9.8.7\n",
            },
            "ok",
            "127.0.0.53",
        ),
        (
            {
                "/etc/resolv.conf": "nameserver 10.9.8.7\n",
                "/etc/apt/sources.list": "deb http://packages.invalid/x y z\n",
            },
            "limited",
            "packages.invalid",
        ),
        (
            {
                "/etc/resolv.conf": "nameserver 10.9.8.7\n",
                "/etc/apt/sources.list.d/x.sources": "Types: deb\nURIs: http://localhost/x\n",
            },
            "ok",
            "localhost is known",
        ),
    ],
)
def test_name_resolution(tmp_path: Path, files: dict[str, str], status: str, evidence: str) -> None:
    (finding,) = resolver_findings(made_up_host(tmp_path, files=files))
    assert finding.status == status
    assert evidence in finding.evidence


def test_behind_a_proxy_names_need_not_resolve(tmp_path: Path) -> None:
    files = {"/etc/resolv.conf": "nameserver 10.9.8.7\n", "/etc/apt/sources.list": "deb http://packages.invalid/x y\n"}
    host = made_up_host(tmp_path, files=files, environ={"http_proxy": "http://proxy.corp.example:3128"})
    assert resolver_findings(host)[0].status == "ok"


def test_programs(tmp_path: Path) -> None:
    found = {finding.id: finding for finding in program_findings(made_up_host(tmp_path))}
    assert found["ssh"].packages == ("openssh-client",)
    assert "prints the address" in found["browser"].evidence
    host = made_up_host(tmp_path, programs=["ssh", "firefox"], environ={"DISPLAY": ":0"})
    found = {finding.id: finding for finding in program_findings(host)}
    assert (found["ssh"].status, found["browser"].evidence) == ("ok", "/usr/bin/firefox")


def test_whose_home_it_is_under_sudo(tmp_path: Path) -> None:
    (finding,) = user_findings(made_up_host(tmp_path, user=ANA))
    assert "called by ana" in finding.evidence
    assert "/home/ana" in finding.evidence


def test_what_the_kernel_lacks_is_information(tmp_path: Path) -> None:
    findings = kernel_findings(made_up_host(tmp_path, files={"/proc/filesystems": "nodev\tsysfs\n\text4\n"}))
    assert {finding.id: finding.status for finding in findings} == dict.fromkeys(
        ["nfs", "iscsi", "fuse", "loop"], "limited"
    )
    assert all(finding.remedy for finding in findings)


def test_what_the_kernel_has_or_can_load(tmp_path: Path) -> None:
    files = {
        "/proc/filesystems": "nodev\tnfs4\n",
        "/proc/sys/kernel/osrelease": "6.1.0-40-amd64\n",
        "/lib/modules/6.1.0-40-amd64/modules.dep": "kernel/drivers/scsi/iscsi_tcp.ko.xz: kernel/…\n",
        "/dev/fuse": "",
        "/dev/loop-control": "",
    }
    findings = kernel_findings(made_up_host(tmp_path, files=files))
    assert {finding.status for finding in findings} == {"ok"}
    assert "as a module" in findings[1].evidence


@pytest.mark.parametrize(
    ("programs", "answer", "status"),
    [
        (["tc", "unshare"], Attempt(0), "ok"),
        (["tc", "unshare"], Attempt(2, "Error: Specified qdisc kind is unknown."), "limited"),
        (["tc", "unshare"], Attempt(None, "no answer within 3 s"), "limited"),
        (["unshare"], Attempt(0), "unknown"),
    ],
)
def test_netem_is_tried(tmp_path: Path, programs: list[str], answer: Attempt, status: str) -> None:
    (finding,) = netem_findings(made_up_host(tmp_path, programs=programs, answers={"unshare": answer}))
    assert finding.status == status
