"""Labs from Python, and the fixture `lab` of the pytest plugin, on the real engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

import labctl
from labctl import Lab
from labctl.errors import DeadlineError, InvalidLabError, LabctlError, NotFoundError, UsageError
from labctl.scripting import CommandFailedError


def test_the_package_alone_loads_nothing() -> None:
    code = "import labctl, sys; assert not [m for m in sys.modules if m.startswith('labctl.')]; labctl.Lab"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError):
        _ = labctl.Nothing


def test_what_is_wrong_is_said_before_anything_starts() -> None:
    with pytest.raises(InvalidLabError):
        Lab({"nodes": {"a": {"colour": "red"}}})
    with pytest.raises(UsageError):
        Lab({"nodes": {"a": {}}}, name="Not A Name")


WEB = {
    "networks": {"lan": {"subnet": "10.214.3.0/24"}},
    "nodes": {
        "web": {
            "count": 2,
            "networks": {"lan": ["10.214.3.20", "10.214.3.21"]},
            "services": {"late": {"command": "sleep 1; touch /run/late; exec sleep 100000"}},
        },
        "dev": {"networks": ["lan"], "desktop": True},
    },
    "checks": {"ssh": {"tcp": "web-1:22", "from": "dev"}, "never": {"run": "false", "on": "dev", "retries": 1}},
}


@pytest.mark.engine
def test_a_lab_from_python(host_state: None, tmp_path: Path) -> None:
    with Lab(WEB, name="auto") as lab:
        assert lab.name.startswith("lab-")
        assert [node.name for node in lab] == ["dev", "web-1", "web-2"]
        assert [node.name for node in lab.group("web")] == ["web-1", "web-2"]
        web, dev = lab["web-1"], lab["dev"]
        assert str(web.address).endswith(".20")
        assert web.run("echo out; echo err >&2").stderr == "err\n"
        assert web.run(["printf", "%s", "a  b"]).stdout == "a  b"
        assert web.run("id -un", user="lab").stdout == "lab\n"
        assert web.run("cat", stdin="in").stdout == "in"
        assert web.run("exit 3", check=False).exit_code == 3
        with pytest.raises(CommandFailedError, match="exit code 3") as raised:
            web.run("echo why; exit 3")
        assert raised.value.result.stdout == "why\n"
        with pytest.raises(DeadlineError):
            web.run("sleep 60", timeout=0.5)
        web.put(b"content", "/opt/deep/file", owner="lab")
        assert web.get("/opt/deep/file", tmp_path / "copy") == b"content"
        assert (tmp_path / "copy").read_bytes() == b"content"
        assert web.run("stat -c %U /opt/deep/file").stdout == "lab\n"
        web.wait_for_port(22)
        web.wait_for_service("late")
        web.wait_for_file("/run/late")
        with pytest.raises(DeadlineError, match="no port 9"):
            web.wait_for_port(9, timeout=0.3)
        assert dev.screenshot().startswith(b"\x89PNG")
        assert lab.status().lab == lab.name
        checks = {check.name: check.state for check in lab.test().checks}
        assert checks == {"ssh": "passed", "never": "failed"}
        assert web.host.user("lab").uid == 1000
        with pytest.raises(NotFoundError, match="no node"):
            _ = lab["wbe"]


@pytest.mark.engine
def test_a_lab_that_does_not_come_up_is_taken_away(host_state: None) -> None:
    broken = Lab({"nodes": {"a": {"run": ["false"]}}}, name="auto")
    with pytest.raises(LabctlError, match="configuring"):
        broken.__enter__()


TESTS = """
    import pytest

    @pytest.mark.lab("lab.yaml", scope="module")
    class TestShared:
        def test_one(self, lab):
            assert lab["a"].run("echo $((20 + 1)); echo made > /root/mark").stdout == "21\\n"

        def test_two(self, lab):
            assert lab["a"].run("cat /root/mark").stdout == "made\\n"

    @pytest.mark.lab({"nodes": {"b": {}}})
    def test_inline(lab):
        lab["b"].run("echo seen in the log > /proc/1/fd/1")
        assert lab["b"].run("hostname").stdout == "c\\n"
"""


@pytest.mark.engine
@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_fixture_shares_labs_and_tells_of_failures(host_state: None, tmp_path: Path, workers: str) -> None:
    (tmp_path / "lab.yaml").write_text("name: shared\nnodes: {a: {}}\n")
    (tmp_path / "test_it.py").write_text(dedent(TESTS))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    argv = [sys.executable, "-m", "pytest", "-q", "--lab-evidence", "kept", "-p", "no:cacheprovider", "-n", workers]
    argv += ["--dist", "loadscope", "--strict-markers", "test_it.py"]
    done = subprocess.run(argv, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert "1 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert "log of b in lab lab-" in done.stdout
    assert "seen in the log" in done.stdout
    (directory,) = (tmp_path / "kept").iterdir()
    assert "seen in the log" in (directory / "logs/b.log").read_text()
