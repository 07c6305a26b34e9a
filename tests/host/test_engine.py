"""What is said about an engine: made-up ones answer over a real socket."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from labctl.probe.engine import engine_findings, permission_findings
from labctl.probe.finding import Finding
from labctl.probe.images import image_findings
from labctl.probe.subnets import routes, subnet_findings
from labctl.probe.user import InvokingUser
from tests.host.made_up import engine_answers, made_up_engine, made_up_host


def by_id(findings: list[Finding]) -> dict[str, Finding]:
    assert len({finding.id for finding in findings}) == len(findings)
    return {finding.id: finding for finding in findings}


def ask(tmp_path: Path, answers: dict[str, tuple[int, Any]]) -> dict[str, Finding]:
    with made_up_engine(tmp_path / "engine.sock", answers) as address:
        return by_id(engine_findings(made_up_host(tmp_path, environ={"DOCKER_HOST": address})))


def test_a_good_engine(tmp_path: Path) -> None:
    findings = ask(tmp_path, engine_answers())
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert "Docker Engine 20.10.24 (API 1.41)" in findings["engine"].evidence


@pytest.mark.parametrize(
    ("version", "info", "which", "status", "evidence"),
    [
        ({"ApiVersion": "1.40"}, {}, "engine", "missing", "too old"),
        ({"ApiVersion": "1.100"}, {}, "engine", "ok", "API 1.100"),
        ({"Components": [{"Name": "Podman Engine"}]}, {}, "engine", "unknown", "not tested"),
        ({}, {"SecurityOptions": ["name=rootless"]}, "engine-local", "missing", "rootless"),
        ({}, {"OperatingSystem": "Docker Desktop"}, "engine-local", "missing", "virtual machine"),
        ({}, {"OSType": "windows"}, "engine-local", "missing", "windows"),
        ({}, {"Driver": "vfs"}, "storage", "limited", "copies"),
        ({}, {"MemoryLimit": False}, "cgroups", "limited", "the limits memory"),
        ({}, {"MemoryLimit": False, "CpuCfsQuota": False}, "cgroups", "limited", "memory and cpus"),
        ({}, {"IPv4Forwarding": False}, "forwarding", "limited", "no way out"),
    ],
)
def test_what_an_engine_lacks(
    tmp_path: Path, version: dict[str, Any], info: dict[str, Any], which: str, status: str, evidence: str
) -> None:
    finding = ask(tmp_path, engine_answers(version, info))[which]
    assert finding.status == status
    assert evidence in finding.evidence
    assert finding.remedy or status == "ok"


def test_an_engine_that_answers_with_an_error(tmp_path: Path) -> None:
    finding = ask(tmp_path, {"/version": (500, {"message": "no space left"})})["engine"]
    assert (finding.status, finding.fix) == ("missing", ())
    assert "no space left" in finding.evidence


def test_an_engine_that_talks_rubbish(tmp_path: Path) -> None:
    assert ask(tmp_path, {"/version": (200, "<html>")})["engine"].status == "missing"


def test_an_engine_that_says_nothing_costs_its_deadline_only(tmp_path: Path) -> None:
    begin = time.monotonic()
    with made_up_engine(tmp_path / "engine.sock", {}, silent=True) as address:
        findings = engine_findings(made_up_host(tmp_path, environ={"DOCKER_HOST": address}))
    assert findings[0].status == "missing"
    assert "no answer" in findings[0].evidence
    assert time.monotonic() - begin < 8


def test_a_socket_without_anybody_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "engine.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.close()
    (finding,) = engine_findings(made_up_host(tmp_path, environ={"DOCKER_HOST": f"unix://{path}"}))
    assert finding.status == "missing"
    assert "nothing answers" in finding.evidence
    assert finding.fix == ()  # whatever --fix starts would listen elsewhere


@pytest.mark.parametrize("address", ["tcp://10.0.0.5:2375", "ssh://ana@build.example", "10.0.0.5:2375"])
def test_an_engine_elsewhere_is_refused_in_words(tmp_path: Path, address: str) -> None:
    (finding,) = engine_findings(made_up_host(tmp_path, environ={"DOCKER_HOST": address}))
    assert finding.status == "missing"
    assert "not on this host" in finding.evidence
    assert finding.remedy


def test_a_docker_context_counts(tmp_path: Path) -> None:
    environ = {"DOCKER_CONTEXT": "nowhere", "DOCKER_CONFIG": str(tmp_path)}
    (finding,) = engine_findings(made_up_host(tmp_path, environ=environ))
    assert finding.status == "missing"
    assert "nowhere" in finding.evidence


def test_who_calls_through_sudo_hears_of_the_group(tmp_path: Path) -> None:
    caller = InvokingUser("ana-of-nowhere", 4_000_000, 4_000_000, Path("/home/ana"))
    (finding,) = permission_findings(made_up_host(tmp_path, user=caller))
    assert finding.status == "limited"
    assert "as good as root" in (finding.remedy or "")
    assert finding.fix == (("usermod", "-aG", "docker", "ana-of-nowhere"),)
    assert permission_findings(made_up_host(tmp_path)) == []


# ---------------------------------------------------------------- base images and subnets

REGISTRY = "/distribution/debian:stable-slim/json"


@pytest.mark.parametrize(
    ("answer", "programs", "status", "packages"),
    [
        ((200, {}), [], "ok", ()),
        ((200, {}), ["mmdebstrap"], "ok", ()),
        ((500, {"message": "Get …: dial tcp: lookup x: no such host\n"}), ["mmdebstrap"], "ok", ()),
        ((500, {"message": "Get …: dial tcp: lookup x: no such host\n"}), [], "missing", ("mmdebstrap",)),
        ((403, "denied"), [], "missing", ("mmdebstrap",)),
    ],
)
def test_where_base_images_come_from(
    tmp_path: Path, answer: tuple[int, Any], programs: list[str], status: str, packages: tuple[str, ...]
) -> None:
    with made_up_engine(tmp_path / "engine.sock", {REGISTRY: answer}) as address:
        host = made_up_host(tmp_path, environ={"DOCKER_HOST": address}, programs=programs)
        (finding,) = image_findings(host)
    assert (finding.status, finding.packages) == (status, packages)


def test_an_ordinary_user_needs_more_to_bootstrap(tmp_path: Path) -> None:
    ana = InvokingUser("ana", 1000, 1000, Path("/home/ana"))
    ubuntu = {"/etc/os-release": "ID=ubuntu\nID_LIKE=debian\nVERSION_ID=24.04\n"}
    host = made_up_host(tmp_path, files=ubuntu, user=ana, uid=1000, environ={"DOCKER_HOST": "unix:///nowhere"})
    (finding,) = image_findings(host)
    assert finding.packages == ("mmdebstrap", "debian-archive-keyring", "uidmap")


ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
tun0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0
"""


def test_routes_are_read_as_the_kernel_writes_them(tmp_path: Path) -> None:
    host = made_up_host(tmp_path, files={"/proc/net/route": ROUTES})
    assert [str(route) for route in routes(host)] == ["192.168.2.0/24", "10.0.0.0/8"]


def test_subnets_left_are_counted(tmp_path: Path) -> None:
    none = {
        **engine_answers(),
        "/networks": (200, [{"IPAM": {"Config": [{"Subnet": "fd00::/64"}, {}]}}, {"IPAM": None}]),
    }
    one = {**engine_answers(), "/networks": (200, [{"IPAM": {"Config": [{"Subnet": "172.24.3.128/25"}]}}])}
    counts = []
    for number, answers in enumerate([none, one]):
        with made_up_engine(tmp_path / f"{number}.sock", answers) as address:
            host = made_up_host(tmp_path, files={"/proc/net/route": ROUTES}, environ={"DOCKER_HOST": address})
            (finding,) = subnet_findings(host)
        counts.append(int(finding.evidence.split()[0]))
    assert counts[0] == 2048 + 128 + 512  # the 10/8 of a VPN takes the first pool away
    assert counts[1] == counts[0] - 1
