"""Nodes as containers: everything that can be said at creation is said there, so that a start is only a start."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from typing import Any

from labctl.errors import ConflictError, DeadlineError
from labctl.model.lab import Command
from labctl.plan.desired import proxy_environment
from labctl.plan.model import Desired, DesiredNode, ObservedNode
from labctl.providers import labels
from labctl.providers.archive import archive
from labctl.providers.docker.client import APIError, Engine
from labctl.providers.docker.errors import foreign, translated
from labctl.recipe import Entry

LOG_SIZE = "10m"
LOG_FILES = "2"
STOP_GRACE = 10
"""Seconds that a node has to stop when somebody else than labctl stops it."""

DESKTOP_SHM = 512 << 20
"""Bytes of /dev/shm for a desktop: browsers crash in the engine's default of 64 MiB. It is a limit, not a use."""

SEVERAL_NETWORKS = (1, 44)
"""From this version of its language on, an engine takes all networks of a container at its creation."""


def create(engine: Engine, node: DesiredNode, config: dict[str, Any], seed: Collection[Entry]) -> None:
    """Make the container as `container_config` says with all its networks and its seed, not started.

    What fails half way is taken back; a container of this lab that was never started is made anew. Raises
    `ConflictError` when the name belongs to something else.
    """
    endpoints = config["NetworkingConfig"]["EndpointsConfig"]
    later = {} if engine.api >= SEVERAL_NETWORKS else dict(list(endpoints.items())[1:])
    for name in later:
        del endpoints[name]
    with translated(f"create node {node.name}"), ExitStack() as undo:
        container = _create(engine, node, config)
        if container is None:
            return
        undo.callback(_discard, engine, container)
        for name, endpoint in later.items():
            address = endpoint["IPAMConfig"]["IPv4Address"]
            engine.connect_container_to_network(container, name, ipv4_address=address, aliases=endpoint["Aliases"])
        if seed:
            engine.put_archive(container, "/", archive(seed))
        undo.pop_all()


def start(engine: Engine, node: DesiredNode | ObservedNode) -> None:
    """Start the container, or continue it when it is paused; one that runs is left alone."""
    reference = reference_of(node)
    chosen = node.chosen_ports if isinstance(node, DesiredNode) else frozenset()
    with translated(f"start node {node.name}", chosen_ports=chosen):
        if isinstance(node, ObservedNode) and node.state == "paused":
            engine.unpause(reference)
            return
        try:
            engine.start(reference)
        except APIError as error:
            if "paused" not in str(error.explanation):
                raise
            engine.unpause(reference)


def pause(engine: Engine, node: ObservedNode) -> None:
    """Freeze all processes of the container; one that is paused is fine."""
    with translated(f"suspend node {node.name}"):
        try:
            engine.pause(node.id)
        except APIError as error:
            if "already paused" not in str(error.explanation):
                raise


def adjust(engine: Engine, node: DesiredNode) -> None:
    """Change the limits of the running container to those of the node; one without a limit is left alone."""
    limits: dict[str, int] = {}
    if node.node.cpus is not None:
        limits["NanoCpus"] = int(node.node.cpus * 1e9)
    if node.node.memory is not None:
        limits |= {"Memory": node.node.memory, "MemorySwap": 2 * node.node.memory}
    if limits:
        with translated(f"change the limits of node {node.name}"):
            engine.update(node.engine_name, limits)


def stop(engine: Engine, node: ObservedNode, *, timeout: float) -> None:
    """Stop the container: its stop signal, then a kill after `timeout` seconds. One that is gone or stopped is fine."""
    with translated(f"stop node {node.name}"):
        try:
            if node.state == "paused":
                engine.unpause(node.id)
            engine.stop(node.id, timeout=max(1, math.ceil(timeout)))
        except APIError as error:
            if error.status_code != 404:
                raise


def remove(engine: Engine, node: DesiredNode | ObservedNode, lab: str | None = None) -> None:
    """Kill and remove the container with its anonymous volumes; one that is gone, or not labctl's, is no error."""
    reference = reference_of(node)
    with translated(f"remove node {node.name}"):
        if isinstance(node, DesiredNode):
            given = _labels(engine, reference)
            if given is None or given.get(labels.KIND) not in labels.NODES or lab not in (None, given.get(labels.LAB)):
                return
        _discard(engine, reference)


def verdict(engine: Engine, node: DesiredNode | ObservedNode) -> list[str]:
    """What the healthcheck's last run printed; none when it never ran, or there is none."""
    with translated(f"look at node {node.name}"):
        known = _inspect(engine, reference_of(node))
    log = ((known or {}).get("State", {}).get("Health") or {}).get("Log") or []
    if not log:
        return []
    return [f"healthcheck: exit code {log[-1]['ExitCode']}", *str(log[-1]["Output"]).strip().splitlines()[-8:]]


def reference_of(node: DesiredNode | ObservedNode) -> str:
    """What the engine is asked for: the id when it is known, else the name."""
    return node.engine_name if isinstance(node, DesiredNode) else node.id


# ---------------------------------------------------------------- pure


def container_config(
    node: DesiredNode,
    desired: Desired,
    proxies: Mapping[str, str],
    identity: Mapping[str, str],
    socket: str = "",
) -> dict[str, Any]:
    """The engine's own description of the container, with every network among its endpoints.

    `identity` is what a box learns of itself, `proxies` what somebody else's image needs to reach the outside, `socket`
    the engine's own, which the keeper of a lab's storage gets.
    """
    wanted = node.node
    config: dict[str, Any] = {
        "Image": node.image,
        "Hostname": node.hostname,
        "Labels": labels.of_node(desired, node),
        "ExposedPorts": {f"{port.container}/{port.protocol}": {} for port in node.ports},
        "StopTimeout": STOP_GRACE,
        "HostConfig": _host_config(node, socket),
        "NetworkingConfig": {
            "EndpointsConfig": {
                node.networks[name]: {"IPAMConfig": {"IPv4Address": str(address)}, "Aliases": list(node.aliases)}
                for name, address in node.addresses.items()
            }
        },
    }
    environment = dict(identity)
    if node.confined.network_of is not None:
        del config["Hostname"], config["ExposedPorts"]
    if node.confined.command:
        config["Cmd"] = list(node.confined.command)
    if wanted.image is not None:
        environment = {**proxy_environment(desired, proxies), **wanted.environment}
        if wanted.command is not None:
            config["Cmd"] = _argv(wanted.command)
    config["Env"] = [f"{name}={value}" for name, value in environment.items()]
    if wanted.healthcheck is not None:
        check = wanted.healthcheck
        kind = "CMD-SHELL" if isinstance(check.test, str) else "CMD"
        config["Healthcheck"] = {
            "Test": [kind, check.test] if isinstance(check.test, str) else [kind, *check.test],
            "Interval": _nanoseconds(check.interval),
            "Timeout": _nanoseconds(check.timeout),
            "StartPeriod": _nanoseconds(check.start_period),
            "Retries": check.retries,
        }
    return config


def _host_config(node: DesiredNode, socket: str) -> dict[str, Any]:
    wanted, confined = node.node, node.confined
    # Storage containers come back through the keeper: only after their node, whose network they share.
    stays = wanted.image is None and node.role != "storage"
    config: dict[str, Any] = {
        "NetworkMode": next(iter(node.networks.values()), "none"),
        "ExtraHosts": _extra_hosts(node.hosts),
        "PortBindings": _bindings(node),
        "CapAdd": sorted({*wanted.capabilities, *node.recipe.capabilities}),
        "LogConfig": {"Type": "json-file", "Config": {"max-size": LOG_SIZE, "max-file": LOG_FILES}},
        # A box comes back with the engine; somebody else's image may be made to end, and is then left ended.
        "RestartPolicy": {"Name": "unless-stopped" if stays else "no"},
        "Init": False,
        "Mounts": _mounts(node),
    }
    if node.role == "gateway":
        # It is on several networks and must be no way from one to the other.
        config["Sysctls"] = {"net.ipv4.ip_forward": "0"} if node.addresses else {}
        config["CapDrop"] = ["ALL"]
        config["SecurityOpt"] = ["no-new-privileges"]
    if confined.capabilities:
        config |= {"CapDrop": ["ALL"], "CapAdd": sorted(confined.capabilities)}
    if confined.network_of is not None:
        config["NetworkMode"] = f"container:{confined.network_of}"
        del config["ExtraHosts"], config["PortBindings"]
    if confined.host_processes:
        config["PidMode"] = "host"
    if confined.devices:
        config["Devices"] = [
            {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"} for path in confined.devices
        ]
    if confined.device_rules:
        config["DeviceCgroupRules"] = list(confined.device_rules)
    if confined.security:
        config["SecurityOpt"] = list(confined.security)
    if node.role == "keeper":
        config["Binds"] = [f"{socket}:/run/docker.sock"]
    if wanted.cpus is not None:
        config["NanoCpus"] = int(wanted.cpus * 1e9)
    if wanted.memory is not None:
        config["Memory"] = wanted.memory
    if wanted.desktop is not None:
        config["ShmSize"] = DESKTOP_SHM
    return config


def _mounts(node: DesiredNode) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = []
    for mount in node.node.mounts:
        if mount.source is not None:
            kind, source = "bind", str(mount.source)
        elif mount.volume is not None and mount.volume in node.volumes:
            kind, source = "volume", node.volumes[mount.volume]
        else:
            continue  # storage of another type is mounted from outside, once the node runs
        mounts.append({"Type": kind, "Source": source, "Target": mount.target, "ReadOnly": mount.read_only})
    for name, path in node.serves:
        # What the image may have at that place is no part of the volume.
        options = {"NoCopy": True}
        mounts.append({"Type": "volume", "Source": node.volumes[name], "Target": path, "VolumeOptions": options})
    return mounts


def _extra_hosts(lines: Collection[str]) -> list[str]:
    """Lines of /etc/hosts (``10.0.0.2 db db.shop.internal``) in the engine's form, a name each."""
    found = []
    for line in lines:
        address, *names = line.split()
        found += [f"{name}:{address}" for name in names]
    return found


def _bindings(node: DesiredNode) -> dict[str, list[dict[str, str]]]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in node.ports:
        place = {"HostIp": port.address, "HostPort": str(port.host or "")}
        bindings.setdefault(f"{port.container}/{port.protocol}", []).append(place)
    return bindings


def _argv(command: Command) -> list[str]:
    return ["sh", "-c", command] if isinstance(command, str) else list(command)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)


# ---------------------------------------------------------------- engine


def _create(engine: Engine, node: DesiredNode, config: dict[str, Any]) -> str | None:
    """The new container's id; None when an equal one of this lab is there and has run."""
    for _ in range(2):
        try:
            return engine.new_container(config, node.engine_name)
        except APIError as error:
            if error.status_code != 409:
                raise
            known = _inspect(engine, node.engine_name)
            if known is None:
                continue
            given = known["Config"]["Labels"] or {}
            if not labels.same_owner(given, config["Labels"]):
                raise foreign("container", node.engine_name, given.get(labels.LAB)) from error
            if known["State"]["Status"] == "created":
                _discard(engine, known["Id"])
                continue
            if given.get("labctl.shape") != node.shape:
                raise ConflictError(
                    f"node {node.name} is there in another shape",
                    taken=f"container {node.engine_name}",
                    retry=True,
                    hint="labctl up",
                    code="LAB-NODE-007",
                ) from error
            return None
    raise ConflictError(
        f"the container name {node.engine_name} is in use, and its owner comes and goes",
        taken=f"container {node.engine_name}",
        retry=True,
        hint="labctl up",
        code="LAB-NODE-007",
    )


def _discard(engine: Engine, container: str) -> None:
    """Remove a container and wait until it is gone, also when somebody else removes it at the same time."""
    end = time.monotonic() + 30
    while True:
        try:
            engine.remove_container(container, v=True, force=True)
        except APIError as error:
            if error.status_code == 404:
                return
            if error.status_code != 409:
                raise
        else:
            return
        if time.monotonic() > end:
            raise DeadlineError(
                f"container {container[:12]} was not removed within 30 s", hint="labctl down again", code="LAB-HOST-006"
            )
        time.sleep(0.1)


def _inspect(engine: Engine, reference: str) -> dict[str, Any] | None:
    try:
        known: dict[str, Any] = engine.inspect_container(reference)
    except APIError as error:
        if error.status_code == 404:
            return None
        raise
    return known


def _labels(engine: Engine, reference: str) -> dict[str, str] | None:
    known = _inspect(engine, reference)
    return None if known is None else known["Config"]["Labels"] or {}
