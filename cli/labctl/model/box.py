"""An operating system that nodes can have, named once: where its container image (and its VM's disk) comes from."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

BoxName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
"""A DNS label, because it becomes part of image names."""

PackageName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BoxContainer(_Strict):
    """The plain operating system as a container image.

    `pull` is its public name, used where a registry answers; elsewhere mmdebstrap makes the suite's `variant` with
    `include` (package names) added.
    """

    pull: str
    variant: Literal["minbase", "apt", "essential", "buildd", "important", "standard"] = "minbase"
    include: tuple[PackageName, ...] = ()


class BoxMachine(_Strict):
    """The same operating system as a virtual machine's disk; `include` are packages beyond the container's."""

    kernel: PackageName = "linux-image-cloud-amd64"
    variant: Literal["minbase", "apt", "essential", "buildd", "important", "standard"] = "minbase"
    include: tuple[PackageName, ...] = ()


class Box(_Strict):
    """One file of ``boxes/``. `suite` is the distribution's own name for the release; one box is the `default`."""

    name: BoxName
    title: str
    suite: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    container: BoxContainer
    machine: BoxMachine | None = None
    default: bool = False

    @property
    def base_tag(self) -> str:
        """Where the plain image lies in the engine; a changed definition has another address."""
        definition = {"suite": self.suite, **self.container.model_dump(mode="json")}
        digest = sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()
        return f"labctl/{self.name}:base-{digest[:12]}"
