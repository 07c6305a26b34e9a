"""Three small virtual machines until all let one in by ssh: `labctl up` beside plain `vagrant up` of an untuned box.

The other side is Vagrant as one uses it: names and addresses set by Vagrant, keys made by it, an ordinary Debian.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import platformdirs

from labctl.providers import bootstrap
from labctl.providers.vagrant import acceleration, boxfile, libvirt
from tests.bench import host
from tests.bench.contenders import HERE
from tests.bench.table import Series

COUNT, MEMORY = 3, 384
LAB = "bench-machines"
BOX = "labctl-bench-untuned"
PATIENCE = 900.0
"""Seconds after which a machine that is not there is a failure."""

_LAB_FILE = f"""\
name: {LAB}
defaults: {{provider: vagrant, memory: {MEMORY}MiB}}
networks: {{lan: {{}}}}
nodes:
  vm: {{count: {COUNT}}}
"""

_VAGRANTFILE = """\
Vagrant.configure("2") do |config|
  config.vm.box = "{box}"
  config.vm.boot_timeout = 900
  config.vm.synced_folder ".", "/vagrant", disabled: true
  (1..{count}).each do |number|
    config.vm.define "vm#{{number}}" do |node|
      node.vm.hostname = "vm#{{number}}"
      node.vm.network :private_network, ip: "10.213.77.#{{10 + number}}", libvirt__network_name: "{box}"
      node.vm.provider :libvirt do |libvirt|
        libvirt.default_prefix = "{box}-"
        libvirt.memory = {memory}
        libvirt.kernel = "{here}/vmlinuz"
        libvirt.initrd = "{here}/initrd"
        libvirt.cmd_line = "root=/dev/vda ro console=ttyS0"
        libvirt.driver = "{driver}"
        {cpu}
      end
    end
  end
end
"""


def measure(rounds: int, patience: float, say: Callable[[str], None]) -> list[Series]:
    """Both in turn, `rounds` times; what is measured is warm: boxes are made and known before."""
    libvirt.require()
    place = Path(platformdirs.user_cache_dir("labctl", appauthor=False)) / "bench" / "untuned"
    say("making the boxes, where they are not there")
    _untuned(place, say)
    series = Series(f"{COUNT} virtual machines of {MEMORY} MiB until ssh", "≤ 0.5 × plain Vagrant")
    with _project(place) as (tuned, plain):
        for number in range(rounds):
            seconds = {}
            for name, each in [("labctl", tuned), ("plain Vagrant", plain)][:: -1 if number % 2 else 1]:
                if not host.quiet(patience=patience):
                    say("the host was not quiet")
                seconds[name] = each.up()
                say(f"{name}: {seconds[name]:.1f} s")
                each.down()
            series.rounds.append({name: seconds[name] for name in ("labctl", "plain Vagrant")})
    return [series]


class _Side:
    """One way to have the machines: `begin` makes them, `enter` is a command in each, `end` removes them."""

    def __init__(self, directory: Path, begin: list[str], enter: list[list[str]], end: list[str]) -> None:
        self._directory, self._begin, self._enter, self._end = directory, begin, enter, end

    def up(self) -> float:
        began = time.monotonic()
        self._run(self._begin)
        for command in self._enter:
            self._run(command)
        return time.monotonic() - began

    def down(self) -> None:
        self._run(self._end)

    def _run(self, argv: list[str]) -> None:
        done = subprocess.run(
            argv,
            cwd=self._directory,
            env={**os.environ, **_QUIET},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)}: {done.returncode}\n{done.stdout[-3000:]}")


_QUIET: Mapping[str, str] = {
    "VAGRANT_CHECKPOINT_DISABLE": "1",
    "VAGRANT_BOX_UPDATE_CHECK_DISABLE": "1",
    "VAGRANT_NO_COLOR": "1",
    "VAGRANT_DEFAULT_PROVIDER": "libvirt",
}


@contextmanager
def _project(place: Path) -> Iterator[tuple[_Side, _Side]]:
    """Both sides, with their boxes known; nothing is left of either."""
    labctl = str(Path(sys.executable).with_name("labctl"))
    directory = place / "project"
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "labctl").mkdir(parents=True)
    (directory / "plain").mkdir()
    (directory / "labctl" / "lab.yaml").write_text(_LAB_FILE)
    emulated = acceleration.judge(place, place / "vmlinuz", None).emulated
    cpu = 'libvirt.cpu_mode = "custom"; libvirt.cpu_model = "qemu64"' if emulated else ""
    text = _VAGRANTFILE.format(
        box=BOX, count=COUNT, memory=MEMORY, here=place, driver="qemu" if emulated else "kvm", cpu=cpu
    )
    (directory / "plain" / "Vagrantfile").write_text(text)
    names = [f"vm-{number}" for number in range(1, COUNT + 1)]
    tuned = _Side(
        directory / "labctl",
        [labctl, "up", "--yes"],
        [[labctl, "ssh", name, "true"] for name in names],
        [labctl, "down"],
    )
    plain = _Side(
        directory / "plain",
        ["vagrant", "up"],
        [["vagrant", "ssh", name.replace("-", ""), "-c", "true"] for name in names],
        ["vagrant", "destroy", "--force"],
    )
    subprocess.run(
        ["vagrant", "box", "add", "--force", "--name", BOX, str(place / "untuned.box")],
        env={**os.environ, **_QUIET}, check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    try:
        # The first `up` makes the box and puts disks into the pool: both are warm then.
        subprocess.run([labctl, "box", "build", "debian-13", "--for", "vagrant"], check=True, timeout=PATIENCE)
        yield tuned, plain
    finally:
        tuned.down()
        plain.down()
        subprocess.run(
            ["vagrant", "box", "remove", "--force", "--all", BOX], capture_output=True, timeout=120, check=False
        )
        _forget_disks()


def _forget_disks() -> None:
    for line in libvirt.virsh("vol-list", "default").splitlines():
        if line.strip().startswith(f"{BOX}_vagrant_box_image"):
            libvirt.virsh("vol-delete", line.split()[0], "default")


def _untuned(place: Path, say: Callable[[str], None]) -> None:
    """The ordinary box, made from packages once for each form of its script."""
    script = HERE / "programs" / "untuned"
    stamp, wanted = place / "made-by", sha256(script.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    key = next(Path("/usr/share/rubygems-integration/all/gems").glob("vagrant-2*/keys/vagrant.pub"))
    done = subprocess.run(
        bootstrap.as_root(["sh", str(script), str(place), str(key)]),
        env={**os.environ, "TMPDIR": str(place)}, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-3000:])
    say("compressing the untuned disk")
    boxfile.compress(place / "disk.raw", place / "box.img")
    (place / "disk.raw").unlink()
    (place / "metadata.json").write_text('{"provider": "libvirt", "format": "qcow2", "virtual_size": 20}')
    with tarfile.open(place / "untuned.box", "w") as tar:
        for name in ("metadata.json", "box.img"):
            tar.add(place / name, arcname=name)
    (place / "box.img").unlink()
    stamp.write_text(wanted)
