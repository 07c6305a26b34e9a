"""Programs that run on the host itself, for labs of machines: their files, with a content address."""

from __future__ import annotations

from hashlib import sha256

from labctl.features.base import shipped
from labctl.plan.model import HostProgram


def bake(kind: str) -> HostProgram:
    """The program for the desktops (``gateway``) or the ports (``ports``) of a lab."""
    files = (*shipped("host"), *(shipped("gateway") if kind == "gateway" else ()))
    digest = sha256()
    for each in files:
        digest.update(f"{each.path}\0{len(each.content)}\0".encode() + each.content)
    return HostProgram(tag=f"{HostProgram.PREFIX}{kind}-{digest.hexdigest()[:12]}", context=files)
