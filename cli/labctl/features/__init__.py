"""What a node can do, as data: each feature is a pure function from the resolved node to a recipe.

`recipe` is the same for all nodes that ask for the same and is baked; `seed` is what only one node has and is put in
before its first start, and again when it changed.
"""

from __future__ import annotations

from collections.abc import Collection

from labctl.features import base, desktop, ssh
from labctl.features.base import apply_needed
from labctl.features.gateway import recipe as gateway_recipe
from labctl.features.gateway import seed as gateway_seed
from labctl.features.ports import seed as ports_seed
from labctl.features.shell import NODE_ENVIRONMENT
from labctl.features.ssh import HOST_KEY, host_key, public_key
from labctl.model.lab import Desktop, Node
from labctl.recipe import Entry, Facts, Probe, Recipe

__all__ = [
    "APPLY",
    "HOST_KEY",
    "apply_needed",
    "common",
    "first_seed",
    "gateway_recipe",
    "gateway_seed",
    "host_key",
    "identity",
    "image_seed",
    "ports_seed",
    "probes",
    "public_key",
    "recipe",
    "seed",
    "server",
]

APPLY = "/usr/lib/lab/apply"
"""The program that brings a running node to what its seed says; run as root, it is idempotent."""


def common() -> Recipe:
    """What every box node has: the part of each recipe that can be installed once for all of them."""
    return base.recipe() + ssh.recipe()


def recipe(node: Node, *, serves: Collection[str] = (), mounts: bool = False) -> Recipe:
    """All features of a box node, joined. `serves` is what it serves to others: ``nfs``, ``iscsi``.

    With `mounts` it is a machine that mounts by itself what others serve.
    """
    joined = common()
    if node.desktop:
        joined += desktop.recipe(node.desktop)
    joined += machine_server(serves) if node.provider == "vagrant" else server(serves)
    if mounts:
        from labctl.features import storage

        joined += storage.machine_recipe()
    return joined + Recipe(requested=node.packages)


def server(kinds: Collection[str]) -> Recipe:
    """What a node needs to serve these kinds of volumes; loaded only where there are any."""
    joined = Recipe()
    if "nfs" in kinds:
        from labctl.features import nfs_server

        joined += nfs_server.recipe()
    if "iscsi" in kinds:
        from labctl.features import iscsi_target

        joined += iscsi_target.recipe()
    return joined


def machine_server(kinds: Collection[str]) -> Recipe:
    """The same for a machine."""
    joined = Recipe()
    if "nfs" in kinds:
        from labctl.features import nfs_server

        joined += nfs_server.machine_recipe()
    if "iscsi" in kinds:
        from labctl.features import iscsi_target

        joined += iscsi_target.machine_recipe()
    return joined


def seed(node: Node, facts: Facts) -> tuple[Entry, ...]:
    """The files that make a node this one: names, keys, passwords, the lab file's files and what `APPLY` is to do."""
    entries = [*base.seed(node, facts), *ssh.seed(facts)]
    if node.desktop:
        entries += desktop.seed(facts)
    return tuple(entries)


def identity(facts: Facts) -> dict[str, str]:
    """What a node is told when it is made, as variables of its first process: nothing in it is secret."""
    return {"LAB_NAME": facts.lab, "LAB_NODE": facts.node, "LAB_KEY": "\n".join(facts.authorized_keys)}


def first_seed(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Of the `seed` of a node what it needs before its first start: nothing when its `identity` says it all."""
    told = {NODE_ENVIRONMENT, base.HOSTS, base.MOTD, ssh.AUTHORIZED_KEYS}
    return entries if any(entry.content and entry.path not in told for entry in entries) else ()


def image_seed(node: Node) -> tuple[Entry, ...]:
    """The lab file's files of a node that runs somebody else's image."""
    return base.files(node)


def probes(*, has_desktop: bool) -> tuple[Probe, ...]:
    """What must hold before a box node counts as ready."""
    return (common() + desktop.recipe(Desktop()) if has_desktop else common()).probes
