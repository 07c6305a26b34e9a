"""A program in a node that writes numbers to a file, each with fsync, and says which are safe."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from tests.storage.rig import Rig, until

_PERL = r"""
use IO::Handle; use Time::HiRes "time"; $| = 1; open my $f, ">", $ARGV[0] or die "open: $!\n"; $f->autoflush(1);
for my $n (0 .. 1e8) { printf $f "%015d\n", $n or die "write: $!\n"; $f->sync or die "sync: $!\n";
    printf "%d %.3f\n", $n, time }
"""


class Writer:
    """The program, until `end`. What it says goes to the file `said`."""

    def __init__(self, lab: Rig, node: str, path: str, said: Path) -> None:
        self._said = said
        self._lab = lab
        self._node = node
        words = ["docker", "exec", "-i", lab.name(node), "perl", "-e", _PERL, path]
        with said.open("w") as output:
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        until(lambda: self.count > 20, 15, f"writes to {path}")

    def end(self) -> None:
        """End it, if it has not ended."""
        self._lab.sh(self._node, "pkill -9 perl", check=False)
        self._process.kill()
        self._process.wait()

    @property
    def count(self) -> int:
        """How many numbers are safe."""
        return len(self._times())

    @property
    def errors(self) -> list[str]:
        """What else it said."""
        return [line for line in self._said.read_text().splitlines() if not line[:1].isdecimal()]

    def longest_pause(self) -> float:
        """The longest time between two writes, in seconds."""
        times = self._times()
        return max(later - earlier for earlier, later in pairwise(times))

    def _times(self) -> list[float]:
        lines = self._said.read_text().split("\n")[:-1]
        return [float(line.split()[1]) for line in lines if line[:1].isdecimal()]


@contextmanager
def writing(lab: Rig, path: str, directory: Path, node: str = "one") -> Iterator[Writer]:
    """Numbers are written to `path` of a node meanwhile."""
    writer = Writer(lab, node, path, directory / f"{node}.said")
    try:
        yield writer
    finally:
        writer.end()


def kept(lab: Rig, path: str, node: str = "one") -> int:
    """How many numbers are in the file, in order and whole."""
    lines = lab.sh(node, f"cat {path}").splitlines()
    wrong = (number for number, line in enumerate(lines) if line != f"{number:015d}")
    return next(wrong, len(lines))
