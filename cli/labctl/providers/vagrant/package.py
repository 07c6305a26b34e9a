"""A machine that runs as a box that others can have: its files, read over ssh while it goes on, made a disk again."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from labctl.assets import assets
from labctl.errors import LabctlError, NotFoundError
from labctl.providers import bootstrap
from labctl.providers.base import Line
from labctl.providers.session import STDOUT, Access
from labctl.providers.vagrant import boxfile

_READ = (
    "tar", "-C", "/", "--one-file-system", "--numeric-owner", "--xattrs", "--xattrs-include=*",
    "--warning=no-file-changed",
    "--exclude=./tmp/*", "--exclude=./var/tmp/*", "--exclude=./run/*", "--exclude=./var/cache/apt/archives/*.deb",
    "--exclude=./etc/ssh/ssh_host_*", "--exclude=./lost+found", "-cf", "-", ".",
)  # fmt: skip
DEADLINE = 900.0
"""Seconds that a machine has to give its files."""

_CHANGED = 1
"""tar's exit code when a file changed while it was read: it runs, after all."""

_UNITS = ("sh", "-c", "cd /etc/systemd/system && ls lab-*.service")


@contextmanager
def packaged(
    access: Access, box: Path, name: str, system: str, cache: Path, on_line: Line | None
) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """The file of a box, to be moved away or gone afterwards, and labctl's services in it.

    `box` is where Vagrant has the box that the machine was made from: the kernel is that one's. Raises `LabctlError`.
    """
    if not (box / "vmlinuz").is_file():
        raise NotFoundError(f"the box that {name} is made from is gone: {box}", code="LAB-FIND-004")
    say = on_line or (lambda line: None)
    with bootstrap.workplace(cache) as directory:
        say("reading the machine's files")
        _copy(access, _READ, directory / "root.tar")
        _copy(access, _UNITS, directory / "units")
        units = (directory / "units").read_text().split()
        services = tuple(each.removeprefix("lab-").removesuffix(".service") for each in units)
        say("making a disk of them")
        script = directory / "disk"
        script.write_bytes((assets("templates") / "machine" / "package" / "disk").read_bytes())
        argv = bootstrap.as_root(["sh", str(script), str(directory), f"{boxfile.DISK_GIGABYTES}G"])
        bootstrap.run(argv, {**os.environ, "TMPDIR": str(directory)}, name, on_line)
        say("compressing the disk")
        image, finished = directory / "box.img", directory / "finished.box"
        boxfile.compress(directory / "disk.raw", image)
        words = boxfile.Words(name, system, services, built=False)
        boxfile.write(finished, words, image=image, kernel=box / "vmlinuz", initrd=box / "initrd")
        yield finished, services


def _copy(access: Access, command: tuple[str, ...], target: Path) -> None:
    said = b""
    with closing(access.open(command)) as session, target.open("wb") as file:
        end = threading.Timer(DEADLINE, session.close)
        end.start()
        try:
            while piece := session.read():
                stream, data = piece
                if stream == STDOUT:
                    file.write(data)
                else:
                    said = (said + data)[-4096:]
            code = session.wait()
        finally:
            end.cancel()
    if code not in (0, _CHANGED):
        raise LabctlError(
            "the machine's files could not be read",
            details=said.decode(errors="replace").splitlines()[-5:],
            code="LAB-VM-004",
        )
