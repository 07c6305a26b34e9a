"""The volumes of a lab file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag

from labctl.model.scalars import Name, Size, Text
from labctl.model.spec import Flag, Spec, one_of

Reclaim = Literal["Retain", "Delete"]


class LocalVolumeSpec(Spec):
    """A plain volume on the node's own engine."""

    type: Literal["local"]
    """local"""
    reclaim: Reclaim | None = None
    """What `labctl down` does with the data; Retain when left out."""


class NfsVolumeSpec(Spec):
    """A directory that one node exports over NFS."""

    type: Literal["nfs"]
    """nfs"""
    server: Text
    """The one node that exports it."""
    path: Text | None = None
    """The directory on the server; /srv/NAME when left out."""
    access: Literal["ReadWriteMany", "ReadOnlyMany"] | None = None
    """ReadWriteMany when left out."""
    squash: Literal["root", "none", "all"] | None = None
    """Whose rights are taken away: root's (to the lab user), nobody's, everybody's."""
    version: Literal["4", "3"] | None = None
    """"4" is the best that both sides speak."""
    networks: list[Name] | None = None
    """The networks it is served on; the first that server and client share when left out."""
    reclaim: Reclaim | None = None
    """What `labctl down` does with the data; Retain when left out."""


class ChapSpec(Spec):
    """Credentials of one's own for an iSCSI login."""

    user: Text
    """The user's name."""
    password: Text
    """The secret."""


class IscsiVolumeSpec(Spec):
    """A disk that one node serves over iSCSI."""

    type: Literal["iscsi"]
    """iscsi"""
    server: Text
    """The one node that serves it."""
    size: Size
    """How large the disk is."""
    fs: Literal["ext4", "xfs"] | None = None
    """The file system that the first use makes; ext4 when left out."""
    access: Literal["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"] | None = None
    """ReadWriteOnce when left out; ReadWriteMany is for raw devices."""
    chap: (
        Annotated[
            Annotated[Flag, Tag("<flag>")] | Annotated[ChapSpec, Tag("<map>")],
            one_of("true, false, or a mapping with user and password"),
        ]
        | None
    ) = None
    """Whether a login needs credentials; generated when true, which is the default."""
    networks: list[Name] | None = None
    """One portal on each: several are several paths."""
    target: Name | None = None
    """Disks of one server with the same target name share a target; one target each when left out."""
    reclaim: Reclaim | None = None
    """What `labctl down` does with the data; Retain when left out."""


def _volume_type(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return f"<{kind}>" if kind in ("local", "nfs", "iscsi") else None


VolumeSpec = Annotated[
    Annotated[LocalVolumeSpec, Tag("<local>")]
    | Annotated[NfsVolumeSpec, Tag("<nfs>")]
    | Annotated[IscsiVolumeSpec, Tag("<iscsi>")],
    Discriminator(_volume_type, custom_error_type="volume_type", custom_error_message="volume"),
]
