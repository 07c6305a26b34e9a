"""From findings to commands: what is run, in which order, as whom."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from labctl.errors import HostError
from labctl.probe.engine import engine_findings, start_engine
from labctl.probe.finding import Argv, Finding
from labctl.probe.fix import as_root, repair
from labctl.probe.host import Host
from labctl.probe.user import InvokingUser
from tests.host.made_up import made_up_host

ANA = InvokingUser("ana", 1000, 1000, Path("/home/ana"))
SYSTEMD = {"/run/systemd/system/x": ""}


def short(commands: tuple[Argv, ...]) -> list[str]:
    """Commands as one would type them, without apt's settings."""
    shown = []
    for command in commands:
        words = list(command)
        if "apt-get" in words:
            words = [
                "apt-get",
                *(word for word in words[words.index("apt-get") + 1 :] if word != "-o" and "::" not in word),
            ]
        shown.append(" ".join(words))
    return shown


def missing(name: str, *packages: str, fix: tuple[Argv, ...] = ()) -> Finding:
    return Finding(name, name, "missing", "not there", packages=packages, fix=fix)


def wanted(host: Host, *findings: Finding) -> list[str]:
    return short(repair(findings, host, now=time.time()))


def test_nothing_to_mend(tmp_path: Path) -> None:
    assert wanted(made_up_host(tmp_path), Finding("a", "a", "ok", "", packages=("x",), fix=(("y",),))) == []
    assert wanted(made_up_host(tmp_path), Finding("a", "a", "missing", "")) == []


def test_packages_of_all_findings_come_in_one_go_and_the_engine_starts_last(tmp_path: Path) -> None:
    host = made_up_host(tmp_path, files=SYSTEMD)
    start = start_engine(host)
    commands = wanted(
        host,
        missing("engine", "docker.io", "iptables", fix=(("usermod", "-aG", "docker", "ana"), start)),
        missing("iptables", "iptables", fix=(("update-alternatives", "x"),)),
        missing("images", "mmdebstrap"),
    )
    assert commands == [
        "apt-get update",
        "apt-get install -y --no-install-recommends docker.io iptables mmdebstrap",
        "usermod -aG docker ana",
        "update-alternatives x",
        "systemctl enable --now docker",
    ]


def test_lists_are_fetched_when_missing_or_old(tmp_path: Path) -> None:
    host = made_up_host(tmp_path, files={"/var/lib/apt/lists/x_main_binary-amd64_Packages": ""})
    assert wanted(host, missing("a", "x"))[0].startswith("apt-get install")
    old = time.time() - 3 * 86400
    os.utime(tmp_path / "var/lib/apt/lists", (old, old))
    assert wanted(host, missing("a", "x"))[0] == "apt-get update"


def test_without_systemd_the_engine_is_started_detached_with_a_log(tmp_path: Path) -> None:
    name, option, script = start_engine(made_up_host(tmp_path))
    assert (name, option) == ("sh", "-c")
    assert "setsid dockerd" in script
    assert "/var/log/dockerd.log" in script
    assert script.endswith("&")


@pytest.mark.parametrize(
    ("release", "programs", "packages"),
    [
        ('ID=debian\nVERSION_ID="12"\n', (), {"docker.io", "iptables", "ca-certificates"}),
        ('ID=debian\nVERSION_ID="13"\n', (), {"docker.io", "docker-cli", "iptables", "ca-certificates"}),
        ("ID=debian\n", ("docker",), {"docker.io", "iptables", "ca-certificates"}),
        ("ID=ubuntu\nID_LIKE=debian\nVERSION_ID=24.04\n", (), {"docker.io", "iptables", "ca-certificates"}),
    ],
)
def test_an_engine_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, programs: tuple[str, ...], packages: set[str]
) -> None:
    monkeypatch.setattr("labctl.providers.docker.endpoint.SOCKET", f"unix://{tmp_path}/none.sock")
    monkeypatch.setattr("labctl.probe.engine.SOCKET", f"unix://{tmp_path}/none.sock")
    host = made_up_host(tmp_path, files={"/etc/os-release": release}, programs=programs, user=ANA, uid=1000)
    (finding,) = engine_findings(host)
    assert set(finding.packages) == packages
    assert finding.fix == (("usermod", "-aG", "docker", "ana"), start_engine(host))


def test_an_engine_that_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labctl.providers.docker.endpoint.SOCKET", f"unix://{tmp_path}/none.sock")
    monkeypatch.setattr("labctl.probe.engine.SOCKET", f"unix://{tmp_path}/none.sock")
    host = made_up_host(tmp_path, files=SYSTEMD, programs=["dockerd"])
    (finding,) = engine_findings(host)
    assert (finding.packages, finding.fix) == ((), (("systemctl", "enable", "--now", "docker"),))


def test_other_distributions_are_told_what_to_do(tmp_path: Path) -> None:
    host = made_up_host(tmp_path, files={"/etc/os-release": 'ID=fedora\nPRETTY_NAME="Fedora Linux 42"\n'})
    with pytest.raises(HostError) as caught:
        repair([missing("engine", "docker.io")], host, now=0)
    assert "Fedora Linux 42" in caught.value.message
    assert "dnf install" in (caught.value.hint or "")
    assert repair([missing("engine", fix=(("start", "it"),))], host, now=0) == (("start", "it"),)


def test_as_whom_commands_run(tmp_path: Path) -> None:
    assert as_root(("x",), made_up_host(tmp_path)) == ("x",)
    assert as_root(("x",), made_up_host(tmp_path, user=ANA, uid=1000, programs=["sudo"])) == ("sudo", "x")
    with pytest.raises(HostError, match="sudo is not there"):
        as_root(("x",), made_up_host(tmp_path, user=ANA, uid=1000))
