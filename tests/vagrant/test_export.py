"""`labctl export vagrant`, without a machine: what it writes, where, and that Ruby reads the same."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labctl.errors import HostError, UsageError
from labctl.planning import refuse_unbuilt
from labctl.providers.vagrant import ruby
from tests.vagrant.exported import ROOT, export

LABCTL = str(Path(sys.executable).with_name("labctl"))

FOREIGN = """\
name: d-foreign
networks: {lan: {subnet: 10.77.0.0/24}, san: {subnet: 10.77.1.0/24, internal: true}}
nodes:
  box:
    provider: vagrant
    vagrant: {provider: virtualbox}
    networks: {lan: 10.77.0.7, san: 10.77.1.7}
    memory: 1GiB
    users: {ana: {sudo: true}}
    run: ["echo done > /srv/ran"]
  beside: {networks: [lan]}
"""


def run(directory: Path, *argv: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([LABCTL, *argv], cwd=directory, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    return done


def in_ruby(text: str) -> None:
    program = shutil.which("ruby")
    if program is None:
        pytest.skip("no ruby on this host")
    done = subprocess.run([program, "-wc"], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_the_example_is_what_is_written_of_its_lab() -> None:
    assert (ROOT / "Vagrantfile.example").read_text() == export()


def test_the_example_is_ruby() -> None:
    in_ruby(export())


@pytest.mark.parametrize(
    "data", [b"", b"a\n\tb\r\n", b'say "#{x}" #$y #@z \\n', "grüße 語".encode(), b"\0\1\2", b"\xff\xfe", b"it's # all"]
)
def test_ruby_reads_what_was_written(data: bytes) -> None:
    program = shutil.which("ruby")
    if program is None:
        pytest.skip("no ruby on this host")
    script = f'print [{ruby.content(data)}].pack("m0")'
    done = subprocess.run([program, "-Ku", "-e", script], capture_output=True, timeout=60, check=True)
    assert base64.b64decode(done.stdout) == data


@pytest.mark.parametrize("text", ["", 'it\'s #{x} \\ "y"', "\\'"])
def test_a_word_is_what_it_was(text: str) -> None:
    program = shutil.which("ruby")
    if program is None:
        pytest.skip("no ruby on this host")
    script = f'require "json"; print JSON.dump({ruby.word(text)})'
    assert (
        json.loads(subprocess.run([program, "-e", script], capture_output=True, timeout=60, check=True).stdout) == text
    )


def test_another_of_vagrants_providers_has_a_plain_box(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(FOREIGN)
    text = export(tmp_path / "lab.yaml")
    in_ruby(text)
    for line in (
        "node.vm.box = 'debian/trixie64'",
        "node.vm.hostname = 'box'",
        "node.vm.network :private_network, ip: '10.77.0.7', netmask: '255.255.255.0'\n",
        "ip: '10.77.1.7', netmask: '255.255.255.0', virtualbox__intnet: 'd-foreign-san'",
        "node.vm.provider 'virtualbox' do |machine|",
        "machine.memory = 1024",
        "# Untested",
        "ana sudo",
    ):
        assert line in text
    assert "libvirt" not in text.replace("with libvirt", "")
    assert "beside" not in text.replace("beside.d-foreign.internal", "").replace(" beside ", "")


def test_up_refuses_what_only_a_vagrantfile_can_say(tmp_path: Path) -> None:
    from labctl import api

    (tmp_path / "lab.yaml").write_text(FOREIGN)
    lab = api.load_lab([str(tmp_path / "lab.yaml")])
    with pytest.raises(HostError, match="Vagrant's provider virtualbox"):
        refuse_unbuilt(lab, ["box"])


def test_it_lies_beside_the_lab_file_and_replaces_only_its_own(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(FOREIGN)
    target = tmp_path / "Vagrantfile"
    (tmp_path / "deeper").mkdir()
    done = run(tmp_path / "deeper", "export", "vagrant")
    assert done.stdout == "../Vagrantfile\n"
    assert "containers are left out: beside" in done.stderr
    assert target.stat().st_mode & 0o777 == 0o600
    first = target.read_text()
    target.write_text(first + "# more\n")
    run(tmp_path, "export", "vagrant")
    assert target.read_text() == first
    target.write_text("mine\n")
    refused = run(tmp_path, "export", "vagrant", code=int(UsageError.exit_code))
    assert "--force" in refused.stderr
    assert target.read_text() == "mine\n"
    run(tmp_path, "export", "vagrant", "--force")
    assert target.read_text() == first


def test_a_lab_of_containers_has_nothing_to_write(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("name: d-none\nnodes: {one: {}}\n")
    assert "no virtual machines" in run(tmp_path, "export", "vagrant", code=2).stderr
    assert not (tmp_path / "Vagrantfile").exists()
