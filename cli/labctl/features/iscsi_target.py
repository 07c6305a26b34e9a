"""A node that serves disks over iSCSI: tgt, in user space, each disk a sparse file on a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from labctl.features.base import shipped
from labctl.recipe import Entry, Probe, Recipe, Service

PORT = 3260
TARGETS = "/etc/lab/iscsi/targets"


@dataclass(frozen=True, slots=True)
class Lun:
    """A disk of a target: the file ``disk`` in `directory`, of `size` bytes.

    `wwid` (16 hex digits) is what a client knows the disk by: two of the same are taken for two paths to one disk.
    """

    volume: str
    number: int
    directory: str
    size: int
    wwid: str


@dataclass(frozen=True, slots=True)
class Account:
    """CHAP credentials that open a target."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TargetOf:
    """A target with its disks. Only `initiators`, by name, may log in; with `accounts` they need one of these too."""

    iqn: str
    number: int
    luns: tuple[Lun, ...]
    initiators: tuple[str, ...] = ()
    accounts: tuple[Account, ...] = ()


def recipe() -> Recipe:
    """The same for every server; no capability beyond the default set is needed."""
    return Recipe(
        packages=("tgt",),
        files=shipped("iscsi"),
        build=("mkdir -p /etc/lab/iscsi /srv/lab", "rm -f /etc/tgt/conf.d/*"),
        services=(Service(name="tgtd", command=("/usr/lib/lab/tgtd",), prepare=("mkdir -p /run/tgtd",)),),
        probes=(
            Probe(
                name="iscsi",
                description="its iSCSI targets to be there",
                hint="see what tgtd logged with `labctl logs`",
                port=PORT,
                script="/usr/lib/lab/serve/iscsi holds",
            ),
        ),
    )


def machine_recipe() -> Recipe:
    """The same in a machine, where the package's own unit has to be kept from starting."""
    return recipe() + Recipe(build=("systemctl -q mask tgt.service",))


def seed(targets: Sequence[TargetOf]) -> tuple[Entry, ...]:
    """What tgtd shall serve, readable by root alone: it holds the passwords."""
    lines = []
    for target in targets:
        lines.append(f"target {target.number} {target.iqn}")
        lines += [f"initiator {name}" for name in target.initiators]
        lines += [f"account {account.user} {account.password}" for account in target.accounts]
        lines += [f"lun {lun.number} {lun.directory} {lun.size} {lun.wwid} {lun.volume[:16]}" for lun in target.luns]
    return (Entry(TARGETS, "".join(f"{line}\n" for line in lines).encode(), 0o600),)


def sizes(told: bytes) -> dict[str, int]:
    """The bytes of each volume's disk, by what a server was told (the content of `TARGETS`)."""
    lines = (line.split() for line in told.decode(errors="replace").splitlines())
    return {words[2].rpartition("/")[2]: int(words[3]) for words in lines if words[:1] == ["lun"] and len(words) == 6}
