"""The ssh configuration as OpenSSH itself reads it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from labctl.lab import LabDirectory

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh client on this host")


@pytest.mark.parametrize("home", ["plain", "with space", "it's", 'a "quote"', "back\\slash", "100%h", "ä#b"])
def test_ssh_finds_the_files_of_any_home(tmp_path: Path, home: str) -> None:
    lab = LabDirectory(tmp_path / home, "shop")
    public = lab.public_key()
    lab.write_ssh_config({"db": "192.0.2.7", "web-1": "192.0.2.8"}, {"db": public, "web-1": public})
    read = subprocess.run(
        ["ssh", "-G", "-F", lab.ssh_config, "db"], capture_output=True, text=True, timeout=20, check=True
    ).stdout.splitlines()
    settings = dict(line.split(" ", 1) for line in read)
    assert settings["hostname"] == "192.0.2.7"
    assert settings["user"] == "lab"
    assert settings["stricthostkeychecking"] == "true"
    assert settings["hostkeyalias"] == "db"
    assert Path(settings["identityfile"].replace("%%", "%")).read_text() == lab.key.read_text()
    known = settings["userknownhostsfile"].replace("%%", "%")
    assert Path(known).read_text().splitlines()[1].startswith("web-1 ssh-ed25519 ")
