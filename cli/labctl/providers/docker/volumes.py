"""Volumes of type local: kept by the engine, outliving the nodes that use them."""

from __future__ import annotations

from labctl.errors import LabctlError
from labctl.plan.model import Desired, DesiredVolume, ObservedVolume
from labctl.providers import labels
from labctl.providers.docker.client import APIError, Engine
from labctl.providers.docker.errors import foreign, translated


def create(engine: Engine, volume: DesiredVolume, desired: Desired) -> None:
    """Make the volume; one of this lab's that is there is kept with its data. Raises `ConflictError` for another's."""
    wanted = labels.of_volume(desired, volume)
    with translated(f"create volume {volume.name}"):
        # The engine answers with the volume that has the name already, whoever made it.
        made = engine.create_volume(volume.engine_name, driver="local", labels=wanted)
        if not labels.same_owner(made["Labels"], wanted):
            raise foreign("volume", volume.engine_name, (made["Labels"] or {}).get(labels.LAB))


def remove(engine: Engine, volume: DesiredVolume | ObservedVolume) -> None:
    """Remove the volume and its data; one that is gone is no error, one that is not labctl's is left."""
    with translated(f"remove volume {volume.name}"):
        try:
            if isinstance(volume, DesiredVolume):
                known = engine.inspect_volume(volume.engine_name)
                if (known["Labels"] or {}).get(labels.KIND) != "volume":
                    return
            engine.remove_volume(volume.engine_name)
        except APIError as error:
            if error.status_code == 404:
                return
            if error.status_code == 409:
                raise LabctlError(
                    f"volume {volume.name} is still in use",
                    details=[str(error.explanation)],
                    hint=f"docker ps -a --filter volume={volume.engine_name} shows by whom",
                    code="LAB-VOL-001",
                ) from error
            raise
