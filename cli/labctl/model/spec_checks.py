"""Checks, failure domains and scenarios of a lab file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Strict, Tag

from labctl.model.scalars import Duration, Text
from labctl.model.spec import CommandSpec, Flag, Spec, one_of
from labctl.model.spec_node import Retries

CHECK_KINDS = ("tcp", "http", "run", "dns", "mount", "desktop")


class _CheckSpec(Spec):
    interval: Duration | None = None
    """Time between two tries; 1s when left out."""
    timeout: Duration | None = None
    """How long one try may take; 5s when left out."""
    retries: Retries | None = None
    """How many tries there are; 10 when left out."""


class TcpCheckSpec(_CheckSpec):
    """A TCP connection can be made."""

    tcp: Text
    """HOST:PORT"""
    from_: Text | None = Field(default=None, alias="from")
    """The node that connects; the host when left out."""


class HttpCheckSpec(_CheckSpec):
    """A URL answers."""

    http: Text
    """The URL."""
    status: Annotated[int, Strict(), Field(ge=100, le=599)] | None = None
    """The status it must answer with; any below 400 when left out."""
    header: dict[Text, Text] | None = None
    """Headers that the answer must have."""
    body: Text | None = None
    """Text that the answer must contain."""
    from_: Text | None = Field(default=None, alias="from")
    """The node that asks; the host when left out."""


class RunCheckSpec(_CheckSpec):
    """A command in a node exits 0."""

    run: CommandSpec
    """The command."""
    on: Text
    """The node that runs it, or a group."""


class DnsCheckSpec(_CheckSpec):
    """A name resolves."""

    dns: Text
    """The name."""
    from_: Text | None = Field(default=None, alias="from")
    """The node that asks; the host when left out."""


class MountCheckSpec(_CheckSpec):
    """A share or disk is mounted and can be used."""

    mount: Text
    """The path in the node."""
    on: Text
    """The node, or a group."""


class DesktopCheckSpec(_CheckSpec):
    """A desktop is drawn."""

    desktop: Text
    """The node."""


def _check_kind(value: Any) -> str | None:
    if isinstance(value, dict):
        kinds = [kind for kind in CHECK_KINDS if kind in value]
        return f"<{kinds[0]}>" if len(kinds) == 1 else None
    return next((f"<{kind}>" for kind in CHECK_KINDS if hasattr(value, kind)), None)


CheckSpec = Annotated[
    Annotated[TcpCheckSpec, Tag("<tcp>")]
    | Annotated[HttpCheckSpec, Tag("<http>")]
    | Annotated[RunCheckSpec, Tag("<run>")]
    | Annotated[DnsCheckSpec, Tag("<dns>")]
    | Annotated[MountCheckSpec, Tag("<mount>")]
    | Annotated[DesktopCheckSpec, Tag("<desktop>")],
    Discriminator(_check_kind, custom_error_type="check_kind", custom_error_message="check"),
]


class DomainSpec(Spec):
    """A failure domain: a site, a rack, whatever fails as one."""

    kind: Text | None = None
    """A word of your own: site, rack, room."""
    in_: Text | None = Field(default=None, alias="in")
    """The domain that this one lies in."""


class FailSpec(Spec):
    """What fails: one of domain, node, network."""

    domain: Text | None = None
    """A domain, with all that is nested in it."""
    node: Text | None = None
    """A node, or a group."""
    network: Text | None = None
    """A network."""
    mode: Literal["power", "stop", "hang", "partition"] | None = None
    """How it fails; power when left out."""


class TargetSpec(Spec):
    """One of domain, node, network."""

    domain: Text | None = None
    """A domain."""
    node: Text | None = None
    """A node, or a group."""
    network: Text | None = None
    """A network."""


class WaitSpec(Spec):
    """Waits for a check, for health, or for a time."""

    check: Text | None = None
    """The check that must hold."""
    healthy: Text | None = None
    """The node or group that must be healthy, or all."""
    within: Duration | None = None
    """How long it may take."""


class StepSpec(Spec):
    """One step of a scenario: one of fail, wait, heal."""

    fail: FailSpec | None = None
    """Lets something fail."""
    wait: WaitSpec | None = None
    """Waits for something."""
    heal: (
        Annotated[
            Annotated[Text, Tag("<text>")] | Annotated[TargetSpec, Tag("<map>")],
            one_of("all, or a mapping with one of domain, node, network"),
        ]
        | None
    ) = None
    """Brings back what failed: all, or one of domain, node, network."""


class ExpectSpec(Spec):
    """What the rehearsal must show."""

    rto: Duration | None = None
    """How long the steady checks may fail at most."""


class ScenarioSpec(Spec):
    """A rehearsed failure."""

    description: Text | None = None
    """What it is about."""
    steady: list[Text] | None = None
    """Checks that hold before and after."""
    steps: list[StepSpec]
    """What happens, in this order."""
    expect: ExpectSpec | None = None
    """What the rehearsal must show."""


__all__ = ["CHECK_KINDS", "CheckSpec", "DomainSpec", "Flag", "ScenarioSpec"]
