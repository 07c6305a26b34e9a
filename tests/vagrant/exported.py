"""`labctl export vagrant` of ``examples/vagrant``: ``python -m tests.vagrant.exported > Vagrantfile.example``.

Where boxes lie, and what they are called by what they are made of, is nobody's to compare.
"""

from __future__ import annotations

import re
from pathlib import Path

from labctl import api, exporting
from labctl.plan.model import Observed
from labctl.planning import wanted

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "examples" / "vagrant" / "lab.yaml"
CACHE = Path("/home/ana/.cache/labctl")


def export(file: Path = LAB) -> str:
    """The Vagrantfile of the lab of `file`, on a host whose processor helps."""
    lab = api.load_lab([str(file)])
    text = exporting.rendered(lab, wanted(lab, Observed(lab.name)), CACHE, emulated=False)
    return re.sub(r"(debian-\d+)-[0-9a-f]{12}", r"\1-0123456789ab", text)


if __name__ == "__main__":
    print(export(), end="")  # noqa: T201
