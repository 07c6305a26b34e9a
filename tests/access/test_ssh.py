"""`ssh` and `ssh-config` with the real clients: ssh, scp, sftp, rsync."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.access.conftest import Labctl

pytestmark = pytest.mark.engine


def run(*argv: str | Path, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv, cwd=cwd, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done
    return done


@pytest.fixture
def config(labctl: Labctl, tmp_path: Path) -> Path:
    path = tmp_path / "ssh_config"
    labctl.ok("ssh-config", "--write", str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    return path


def test_command_runs_as_lab_with_its_exit_code(labctl: Labctl) -> None:
    done = labctl("ssh", "dev", "--", "id -un; echo err >&2; exit 3")
    assert (done.stdout, done.returncode) == (b"lab\n", 3)
    assert done.stderr == b"err\n"


def test_several_words_arrive_as_they_are(labctl: Labctl) -> None:
    out = labctl.ok("ssh", "dev", "--", "printf", r"%s\n", "a b", "$HOME", "x'y")
    assert out == b"a b\n$HOME\nx'y\n"
    assert labctl("ssh", "dev", "--", "sh", "-c", "exit 7").returncode == 7


def test_one_word_is_a_line_for_the_shell(labctl: Labctl) -> None:
    assert labctl.ok("ssh", "dev", "--", "echo $HOME | wc -c").strip() == b"10"


def test_input_passes(labctl: Labctl) -> None:
    assert labctl.ok("ssh", "dev", "--", "cat", stdin=b"\0\xff") == b"\0\xff"


def test_environment_of_the_file_is_there(labctl: Labctl) -> None:
    assert labctl.ok("ssh", "web-1", "--", "printenv", "SECRET") == b"s3cr'et $x\n"


def test_shell_with_a_terminal(labctl: Labctl) -> None:
    terminal = labctl.terminal("ssh", "dev", columns=77, rows=33)
    terminal.expect("lab@dev")
    terminal.type("stty size\r")
    terminal.expect("33 77")
    terminal.type("exit 5\r")
    assert terminal.end() == 5


@pytest.mark.parametrize("node", ["thing", "alone"])
def test_node_without_ssh_gives_a_shell_by_exec(labctl: Labctl, node: str) -> None:
    terminal = labctl.terminal("ssh", node)
    terminal.type("echo I am $(id -un) on $(hostname)\r")
    terminal.expect(f"I am {'root' if node == 'thing' else 'lab'} on {node}")
    terminal.type("exit 4\r")
    assert terminal.end() == 4
    assert labctl("ssh", node, "--", "exit 6").returncode == 6


def test_own_failures(labctl: Labctl, tmp_path: Path) -> None:
    assert labctl("ssh", "nosuch").returncode == 125
    group = labctl("ssh", "web")
    assert group.returncode == 125
    assert b"web-1, web-2" in group.stderr
    without = Labctl(labctl.directory, labctl.name, {**labctl.environ, "PATH": str(tmp_path)})("ssh", "dev")
    assert without.returncode == 125
    assert b"no ssh client" in without.stderr


def test_plain_ssh_scp_and_sftp_use_the_configuration(config: Path, tmp_path: Path) -> None:
    assert run("ssh", "-F", config, "web-2", "hostname", cwd=tmp_path).stdout == "web-2\n"
    (tmp_path / "a").write_text("over\n")
    run("scp", "-F", config, "a", "dev:b", cwd=tmp_path)
    run("scp", "-F", config, "dev:b", "c", cwd=tmp_path)
    assert (tmp_path / "c").read_text() == "over\n"
    run("sftp", "-F", config, "-b", "-", "dev", cwd=tmp_path, stdin="put a d\nget d e\n")
    assert (tmp_path / "e").read_text() == "over\n"


def test_include_makes_names_known_to_every_client(labctl: Labctl, tmp_path: Path) -> None:
    path = labctl.ok("ssh-config", "--path").decode().strip()
    mine = tmp_path / "mine"
    mine.write_text(f"Include {path}\n\nHost *\n  LogLevel ERROR\n")
    assert run("ssh", "-F", mine, "dev", "hostname", cwd=tmp_path).stdout == "dev\n"


def test_host_keys_are_checked(labctl: Labctl, config: Path, tmp_path: Path) -> None:
    home = Path(labctl.environ["LABCTL_HOME"]) / "labs" / labctl.name / "known_hosts"
    wrong = tmp_path / "known_hosts"
    key = {line.split()[0]: line for line in home.read_text().splitlines()}["web-1"]
    wrong.write_text(key.replace("web-1", "dev", 1) + "\n")
    done = subprocess.run(
        ["ssh", "-F", config, "-o", f"UserKnownHostsFile={wrong}", "dev", "true"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 255
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in done.stderr


@pytest.mark.skipif(shutil.which("rsync") is None, reason="no rsync on this host")
def test_rsync_by_the_configuration(labctl: Labctl, config: Path, tmp_path: Path) -> None:
    if labctl("exec", "dev", "--", "sh", "-c", "command -v rsync").returncode != 0:
        pytest.skip("no rsync in the node")
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "file").write_text("synced\n")
    run("rsync", "-a", "-e", f"ssh -F {config}", "tree/", "dev:tree/", cwd=tmp_path)
    assert labctl.ok("exec", "dev", "--", "cat", "/home/lab/tree/deep/file") == b"synced\n"
