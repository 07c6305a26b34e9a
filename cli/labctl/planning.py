"""From a lab file and what is on the host to a plan: the host is looked at once, and nothing is changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from labctl import shelf
from labctl.errors import ConflictError, HostError, LabctlError, NotFoundError
from labctl.lab import PAGE, LabDirectory, home
from labctl.plan.model import GATEWAY, PORTS, BakedImage, Desired, MachineBox, Observed, Plan
from labctl.plan.steps import needs_configuring, plan_up, restrict

if TYPE_CHECKING:
    from labctl.model.lab import Lab, Node, ProviderName
    from labctl.plan.desired import Making
    from labctl.providers.base import Provider
    from labctl.recipe import Recipe, Trust


@dataclass(frozen=True)
class Planned:
    """A plan with what it was made from. `whole` is the lab as it shall be, `desired` the part that was asked for."""

    desired: Desired
    whole: Desired
    observed: Observed
    plan: Plan


def plan(
    lab: Lab,
    provider: Provider,
    directory: LabDirectory,
    names: Collection[str],
    avoid: Collection[ConflictError] = (),
) -> Planned:
    """What `up` has to do for the lab, or for the nodes and groups in `names`.

    `avoid` are choices that the engine refused. Raises `ConflictError`, `HostError`, `NotFoundError`.
    """
    from labctl.plan.desired import desired

    makings = _makings(lab)
    observed = provider.observe(lab.name, images=_image_tags(makings.values()))
    _refuse_clash(lab, observed)
    observed = _avoiding(observed, avoid)
    whole = replace(desired(lab, makings, observed), owner=owner())
    wanted = restrict(whole, _expand(lab, names)) if names else whole
    observed = _grown(lab, provider, _remembered(lab, observed, wanted, directory))
    _refuse_growing(wanted, observed)
    return Planned(wanted, whole, observed, plan_up(wanted, observed, keep_others=bool(names)))


def wanted(lab: Lab, observed: Observed) -> Desired:
    """The whole lab as it shall be, where `observed` is on the host."""
    from labctl.plan.desired import desired

    return desired(lab, _makings(lab), observed)


def owner() -> str:
    """Who works here, as those who share the host know them."""
    from labctl.probe.user import invoking_user

    return invoking_user().name


def _image_tags(makings: Iterable[Making]) -> set[str]:
    """The images that a plan asks about: those of the nodes, and the plain systems below them."""
    images = [making.image for making in makings]
    bases = [image.base for image in images if isinstance(image, BakedImage)]
    return {image.tag for image in images} | {base.tag for base in bases if base is not None}


def _makings(lab: Lab) -> dict[str, Making]:
    """How each node is made; the recipe and image of equal nodes are made once."""
    from labctl import features
    from labctl.plan.desired import Making
    from labctl.probe.trust import host_trust
    from labctl.render.container import bake_gateway
    from labctl.source.boxes import base_image, default_box

    trust = host_trust()
    served = _served(lab)
    made: dict[object, Making] = {}
    makings: dict[str, Making] = {}
    for name, node in lab.nodes.items():
        if node.image is not None:
            makings[name] = Making(BakedImage(node.image))
            continue
        assert node.box is not None
        serves = served.get(name, frozenset())
        mounts = node.provider == "vagrant" and _mounts(lab, node)
        key = (node.provider, node.box, node.packages, node.desktop and node.desktop.wm, serves, mounts)
        if key not in made:
            recipe = features.recipe(node, serves=serves, mounts=mounts)
            made[key] = Making(_baked(node.provider, node.box, recipe, trust), recipe)
        makings[name] = made[key]
    containers = any(node.provider == "docker" for node in lab.nodes.values())
    if containers and any(node.desktop for node in lab.nodes.values()):
        recipe = features.gateway_recipe()
        makings[GATEWAY] = Making(bake_gateway(base_image(default_box()), recipe, trust), recipe)
    makings |= _processes(lab)
    if served:
        from labctl.plan.desired import STORAGES
        from labctl.plan.storage import uses

        if any(not use.machine for use in uses(lab, makings)):
            from labctl.features.storage import recipe as storage_recipe
            from labctl.render.container import bake_storage

            recipe = storage_recipe()
            makings[STORAGES] = Making(bake_storage(base_image(default_box()), recipe, trust), recipe)
    return makings


def _processes(lab: Lab) -> dict[str, Making]:
    """What of a lab with machines runs on this host itself."""
    machines = [node for node in lab.nodes.values() if node.provider == "vagrant"]
    if not machines:
        return {}
    from labctl.plan.desired import Making
    from labctl.render import process

    found = {}
    if any(node.ports for node in machines):
        found[PORTS] = Making(process.bake("ports"))
    if any(node.desktop for node in machines) and len(machines) == len(lab.nodes):
        found[GATEWAY] = Making(process.bake("gateway"))
    return found


def _baked(provider: ProviderName, name: str, recipe: Recipe, trust: Trust) -> BakedImage:
    """The image or box of nodes with this recipe. Raises `HostError` where a box of the user's own does not fit."""
    from labctl.source.boxes import base_image, box

    if own := shelf.find(home(), name):
        return _own(provider, own, recipe)
    if provider == "vagrant":
        from labctl.render import machine

        return machine.bake(box(name), recipe, trust)
    from labctl.render import container

    return container.bake(base_image(box(name)), recipe, trust)


def _own(provider: ProviderName, own: shelf.OwnBox, recipe: Recipe) -> MachineBox:
    """A box of the user's own: all is in it already, or cannot be."""
    lacking = sorted({service.name for service in recipe.services} - {*own.services})
    if provider == "vagrant" and not lacking:
        return MachineBox(own.tag, box=own.name)
    why = f"has no {', '.join(lacking)}" if lacking else "is one of virtual machines"
    hint = "package a node that has what this one needs" if lacking else "give the node `provider: vagrant`"
    raise HostError(f"box {own.name} {why}", hint=hint, code="LAB-IMG-006")


def _mounts(lab: Lab, node: Node) -> bool:
    """Whether the node has something of what others serve."""
    named = [mount.volume for mount in node.mounts if mount.volume] + [device.volume for device in node.devices]
    return any(lab.volumes[name].type != "local" for name in named)


def _served(lab: Lab) -> dict[str, frozenset[str]]:
    """What each server serves; empty, and nothing loaded, for a lab without shared storage."""
    servers = {volume.server for volume in lab.volumes.values() if volume.server is not None}
    if not servers:
        return {}
    from labctl.plan.storage import kinds

    return {server: kinds(lab, server) for server in servers}


def _remembered(lab: Lab, observed: Observed, wanted: Desired, directory: LabDirectory) -> Observed:
    """`observed` with what was last put into each node: the journal's word, since labels cannot change.

    What is configured inside counts only when the journal says that it was finished. A node whose secrets are lost is
    configured again, which gives it new ones.
    """
    journal = directory.journal()
    screens = {name for name, node in wanted.nodes.items() if node.node.desktop}
    screens |= {name for name, node in observed.nodes.items() if node.desktop}
    bare = directory.without_secrets([PAGE, *screens])
    rekeyed = not directory.has_key
    unlocked = _without_chap(lab, wanted, directory)
    nodes = {}
    for name, node in observed.nodes.items():
        known = None if journal is None else journal.get(node.id)
        target = wanted.nodes.get(name)
        lost = bool(bare) if node.role == "gateway" else rekeyed or name in bare or journal is None
        if known is not None:
            node = replace(node, content=known.content, packages=node.packages | {*known.packages})
        elif target is not None and needs_configuring(target):
            node = replace(node, content="")
        if (lost and node.role in ("node", "gateway") and node.kind == "box") or name in unlocked:
            node = replace(node, content="")
        nodes[name] = node
    return replace(observed, nodes=nodes)


def _without_chap(lab: Lab, wanted: Desired, directory: LabDirectory) -> set[str]:
    """The servers, and who logs in to them, when secrets of logins are lost: all get new ones."""
    if not any(volume.type == "iscsi" for volume in lab.volumes.values()):
        return set()
    from labctl.plan.storage import logins, uses

    if directory.has_chap(logins(uses(lab, wanted.nodes))):
        return set()
    return {name for name, node in wanted.nodes.items() if node.role == "storage" or node.serves or node.attached}


def _grown(lab: Lab, provider: Provider, observed: Observed) -> Observed:
    """`observed` with the sizes that disks have grown to, as their servers were told: labels cannot change."""
    servers = {volume.server for volume in lab.volumes.values() if volume.size is not None}
    there = [node for name, node in observed.nodes.items() if name in servers]
    if not there:
        return observed
    from labctl.features import iscsi_target

    sizes: dict[str, int] = {}
    for node in there:
        sizes |= iscsi_target.sizes(provider.read(node, iscsi_target.TARGETS) or b"")
    volumes = {
        name: replace(each, size=max(each.size or 0, sizes[name])) if name in sizes else each
        for name, each in observed.volumes.items()
    }
    return replace(observed, volumes=volumes)


def _avoiding(observed: Observed, avoid: Collection[ConflictError]) -> Observed:
    from ipaddress import IPv4Network

    subnets, ports, nodes = list(observed.taken_subnets), set(observed.taken_ports), observed.nodes
    for clash in avoid:
        kind, _, value = clash.taken.partition(" ")
        if kind == "subnet":
            subnets.append(IPv4Network(value))
        elif kind == "port":
            number = int(value.rpartition(":")[2].partition("/")[0])
            ports |= {(number, "tcp"), (number, "udp")}
            # It is no longer a node's own, though the node was made with it.
            nodes = {
                name: replace(node, ports=tuple(port for port in node.ports if port.host != number))
                for name, node in nodes.items()
            }
    return replace(observed, nodes=nodes, taken_subnets=tuple(subnets), taken_ports=frozenset(ports))


def _refuse_growing(wanted: Desired, observed: Observed) -> None:
    """The kernel of a machine loses a disk that its server makes larger: that is not built yet."""
    for volume in wanted.volumes.values():
        known = observed.volumes.get(volume.name)
        users = [node.name for node in observed.nodes.values() if any(a.volume == volume.name for a in node.attached)]
        if known is not None and users and (volume.size or 0) > (known.size or 0):
            raise HostError(
                f"volume {volume.name} cannot grow while virtual machines have it ({', '.join(users)})",
                hint="take the lab down, which keeps the volume, and bring it up with the new size",
                code="LAB-LAB-004",
            )


def _expand(lab: Lab, names: Collection[str]) -> list[str]:
    from difflib import get_close_matches

    found: list[str] = []
    for name in names:
        if name not in lab.groups:
            near = get_close_matches(name, lab.groups, n=1)
            raise NotFoundError(
                f"lab {lab.name} has no node {name}",
                hint=f"did you mean {near[0]}?" if near else None,
                code="LAB-FIND-002",
            )
        found += lab.groups[name]
    return found


def _refuse_clash(lab: Lab, observed: Observed) -> None:
    others = observed.directories - {str(lab.directory)}
    if others:
        where = ", ".join(sorted(others))
        only_kept = not (observed.nodes or observed.networks)
        what = "has kept its volumes" if only_kept else "is up already"
        away = f"labctl down -n {lab.name}{' --volumes' if only_kept else ''}"
        raise LabctlError(
            f"a lab named {lab.name}, made from {where}, {what}",
            hint=f"give this one another `name`, or take that one down: {away}",
            code="LAB-LAB-002",
        )


def refuse_unbuilt(lab: Lab, names: Collection[str]) -> None:
    """What would leave a lab without a part it counts on is refused before anything starts."""
    nodes = [lab.nodes[name] for name in (_expand(lab, names) if names else lab.nodes)]
    machines = [node.name for node in nodes if node.provider == "vagrant"]
    reasons = []
    for name in machines:
        reasons += [f"{what} of virtual machines ({name})" for what in _unbuilt(lab.nodes[name])]
    if across := sorted({volume for node in nodes for volume in _across(lab, node)}):
        reasons.append(f"volumes from containers to virtual machines or back ({', '.join(across)})")
    if reasons:
        raise HostError(
            f"this version of labctl does not run {' or '.join(reasons)} yet",
            hint="bring up the nodes that need none of these: labctl up NODE…",
            code="LAB-LAB-004",
        )


def _across(lab: Lab, node: Node) -> list[str]:
    """The volumes of a node that one of the other kind serves."""
    named = [mount.volume for mount in node.mounts if mount.volume] + [device.volume for device in node.devices]
    servers = {name: lab.volumes[name].server for name in named}
    return [name for name, server in servers.items() if server and lab.nodes[server].provider != node.provider]


def _unbuilt(node: Node) -> list[str]:
    """What of a virtual machine's part of the lab file is not built yet."""
    parts = {
        "mounts of the host's directories": [mount for mount in node.mounts if mount.source],
        "images": node.image,
        f"Vagrant's provider {node.vagrant_provider}": node.vagrant_provider not in (None, "libvirt"),
    }
    return [what for what, wanted in parts.items() if wanted]
