"""How long a lab may live, on the engine itself: an empty volume whose labels say it.

Labels of what is there cannot change, and the lab's directory may be lost or belong to another user. A lease is made
anew to move the end, before the old one goes, so that at every moment the engine alone says when a lab is over.
"""

from __future__ import annotations

from labctl.providers import labels
from labctl.providers.docker.client import APIError, Engine
from labctl.providers.docker.errors import translated


def give(engine: Engine, lab: str, *, expires: float, directory: str, owner: str) -> None:
    """Let the lab end at `expires` (seconds since the epoch), whatever was said before."""
    name = f"labctl-{lab}-_lease-{int(expires)}"
    wanted = {
        labels.SCHEMA: labels.VERSION,
        labels.LAB: lab,
        labels.KIND: labels.LEASE,
        labels.NAME: "_lease",
        labels.DIRECTORY: directory,
        labels.OWNER: owner,
        labels.EXPIRES: str(int(expires)),
    }
    with translated(f"note when lab {lab} ends"):
        engine.create_volume(name, driver="local", labels=wanted)
    _remove(engine, lab, but=name)


def take_back(engine: Engine, lab: str) -> None:
    """Let the lab have no end; none is no error."""
    _remove(engine, lab)


def _remove(engine: Engine, lab: str, *, but: str = "") -> None:
    with translated(f"forget when lab {lab} ends"):
        listed = engine.volumes(filters=labels.query(lab))["Volumes"] or []
        for each in listed:
            if (each["Labels"] or {}).get(labels.KIND) == labels.LEASE and each["Name"] != but:
                try:
                    engine.remove_volume(each["Name"])
                except APIError as error:
                    if error.status_code != 404:
                        raise
