"""Networks: a bridge of the host each, with a fixed name, subnet and gateway."""

from __future__ import annotations

import time
from typing import Any

from labctl.errors import LabctlError
from labctl.plan.model import Desired, DesiredNetwork, ObservedNetwork
from labctl.providers import labels
from labctl.providers.docker.client import APIError, Engine, IPAMConfig, IPAMPool
from labctl.providers.docker.errors import foreign, translated

RETRIES = (0.1, 0.3, 0.6, 1.0, 2.0)
"""Seconds between the tries to remove a network that the engine holds to be in use."""


def create(engine: Engine, network: DesiredNetwork, desired: Desired) -> None:
    """Make the network; one of this lab's with the same subnet is kept.

    Raises `ConflictError` when the subnet is taken, or the name by something else.
    """
    wanted = labels.of(desired, "network", network.name)
    with translated(f"create network {network.name} ({network.subnet})", own_choice=network.chosen):
        try:
            engine.create_network(
                network.engine_name,
                driver="bridge",
                internal=network.internal,
                check_duplicate=True,
                labels=wanted,
                options={"com.docker.network.bridge.name": network.bridge},
                ipam=IPAMConfig(pool_configs=[_pool(network)]),
            )
        except APIError as error:
            known = _named(engine, network.engine_name)
            if known is None:
                raise
            if not labels.same_owner(known["Labels"], wanted):
                raise foreign("network", network.engine_name, (known["Labels"] or {}).get(labels.LAB)) from error
            if str(network.subnet) not in [each.get("Subnet") for each in known["IPAM"]["Config"] or ()]:
                raise LabctlError(
                    f"network {network.name} is there with another subnet",
                    details=[str(known["IPAM"]["Config"])],
                    hint="labctl up plans again with it",
                    code="LAB-NET-007",
                ) from error


def _pool(network: DesiredNetwork) -> IPAMPool:
    spare = str(network.spare) if network.spare is not None else None
    kept = {f"machine-{number}": str(each) for number, each in enumerate(sorted(network.reserved), start=1)}
    return IPAMPool(subnet=str(network.subnet), gateway=str(network.gateway), iprange=spare, aux_addresses=kept or None)


def remove(engine: Engine, network: DesiredNetwork | ObservedNetwork, lab: str | None = None) -> None:
    """Remove the network; one that is gone, or is not labctl's, is left.

    An engine may hold endpoints against a network and list none, or list those of containers that are gone: these are
    detached, and the removal is tried again for some seconds. Raises `LabctlError`, naming who uses it.
    """
    reference = network.id if isinstance(network, ObservedNetwork) else network.engine_name
    with translated(f"remove network {network.name}"):
        for pause in (*RETRIES, None):
            known = _ours(engine, reference, lab) if isinstance(network, DesiredNetwork) else {"Id": reference}
            if known is None:
                return
            try:
                engine.remove_network(known["Id"])
            except APIError as error:
                if error.status_code == 404:
                    return
                if "active endpoints" not in str(error.explanation):
                    raise
                users = _detach_ghosts(engine, known["Id"])
                if users or pause is None:
                    raise LabctlError(
                        f"network {network.name} is still in use",
                        details=[f"by container {name}" for name in users] or [str(error.explanation)],
                        hint=f"docker network disconnect -f {network.engine_name} {users[0]}"
                        if users
                        else f"restart the engine, then: docker network rm {network.engine_name}",
                        code="LAB-NET-007",
                    ) from error
                time.sleep(pause)
            else:
                return


def _detach_ghosts(engine: Engine, network: str) -> list[str]:
    """Detach endpoints of containers that are no more; names of containers that really are attached."""
    try:
        attached: dict[str, Any] = engine.inspect_network(network)["Containers"] or {}
    except APIError:
        return []
    living = []
    for container, endpoint in attached.items():
        try:
            engine.inspect_container(container)
            living.append(str(endpoint.get("Name") or container[:12]))
        except APIError:
            with translated("detach a container that is gone"):
                engine.disconnect_container_from_network(endpoint.get("Name") or container, network, force=True)
    return living


def _ours(engine: Engine, name: str, lab: str | None) -> dict[str, Any] | None:
    known = _named(engine, name)
    if known is None:
        return None
    given = known["Labels"] or {}
    return known if given.get(labels.KIND) == "network" and lab in (None, given.get(labels.LAB)) else None


def _named(engine: Engine, name: str) -> dict[str, Any] | None:
    found = [each for each in engine.networks(filters={"name": f"^{name}$"}) if each["Name"] == name]
    return found[0] if found else None
