"""The commands that lead to desktops: vnc, url."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.commands.complete import complete_nodes
from labctl.commands.options import File, Name
from labctl.commands.reach import meant_lab
from labctl.errors import LabctlError, UsageError
from labctl.world import require_desktop, require_secrets

if TYPE_CHECKING:
    from labctl.api import RunningLab
    from labctl.gateway import Link
    from labctl.plan.model import ObservedNode

DesktopNode = Annotated[
    str | None,
    typer.Argument(metavar="[NODE]", help="A node; the page with all when left out.", autocompletion=complete_nodes),
]
ViewOnly = Annotated[bool, typer.Option("--view-only", help="A link that can look and cannot type.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("vnc")(vnc)
    app.command("url")(url)


def vnc(
    node: DesktopNode = None,
    *,
    view_only: ViewOnly = False,
    shot: Annotated[
        str | None,
        typer.Option("--shot", metavar="FILE", help="Save a picture of the screen (PNG) instead; - is stdout."),
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Print the link; open no browser.")] = False,
    file: File = None,
    name: Name = None,
) -> None:
    """Open a node's desktop in the browser, or the page with all desktops of the lab.

    Where no browser can be opened the link is printed, and under ssh the command that brings it to your own machine.
    """
    lab = meant_lab(file, name)
    if shot is not None:
        if node is None:
            raise UsageError("--shot needs the node whose screen it is to show", hint="labctl vnc NODE --shot FILE.png")
        _save(_picture(lab, _desktop(lab, node)), shot)
        return
    from labctl import gateway

    link = _link(lab, node, view_only=view_only)
    if not no_open and gateway.has_browser() and gateway.open_browser(link.ticket_url(time.time())):
        typer.echo(f"opened {node or lab.name} in the browser ({link.origin})", err=True)
        return
    typer.echo(link.url)
    _explain_tunnel(link)


def url(node: DesktopNode = None, *, view_only: ViewOnly = False, file: File = None, name: Name = None) -> None:
    """Print the link to a node's desktop, or to the page with all; whoever has it can use the desktop."""
    typer.echo(_link(meant_lab(file, name), node, view_only=view_only).url)


def _link(lab: RunningLab, node: str | None, *, view_only: bool) -> Link:
    """What opens the desktop of `node`, or the page. Raises `LabctlError` when there is no way to it now."""
    from labctl.gateway import Link
    from labctl.plan.model import GATEWAY

    known = _desktop(lab, node) if node is not None else None
    port = lab.gateway_port
    if port is None:
        raise LabctlError(f"lab {lab.name} has no desktop", hint="`desktop: true` gives a node one", code="LAB-VNC-001")
    gateway = lab.observed.nodes[GATEWAY]
    if gateway.state != "running" and gateway.provider == "host":
        with lab.directory.lock():
            lab.provider.start(gateway)
    elif gateway.state != "running":
        raise LabctlError(f"the gateway of lab {lab.name} does not run", hint=_up(lab), code="LAB-VNC-002")
    require_secrets(lab)
    if known is None:
        return Link(port, lab.directory.page_view_token() if view_only else lab.directory.page_token())
    secrets = lab.directory.secrets(known.name)[known.name]
    return Link(port, secrets.view_token if view_only else secrets.token)


def _desktop(lab: RunningLab, name: str) -> ObservedNode:
    """The running node of that name, which has a desktop."""
    node = lab.node(name)
    require_desktop(lab, node)
    return node


def _picture(lab: RunningLab, node: ObservedNode) -> bytes:
    from labctl import screen, world

    return screen.png(*world.look_at(lab, node))


def _save(picture: bytes, place: str) -> None:
    if place == "-":
        sys.stdout.buffer.write(picture)
        return
    try:
        with open(place, "wb") as file:
            file.write(picture)
    except OSError as error:
        raise LabctlError(
            f"the picture cannot be written: {error}", hint="name another file", code="LAB-USE-003"
        ) from error


def _up(lab: RunningLab) -> str:
    return f"`labctl up` repairs it (in {directory})" if (directory := _made_from(lab)) else "`labctl up` repairs it"


def _made_from(lab: RunningLab) -> str:
    return next(iter(lab.observed.directories), "")


def _explain_tunnel(link: Link) -> None:
    from labctl.gateway import tunnel
    from labctl.probe.user import invoking_user

    if line := tunnel(link.port, os.environ, user=invoking_user().name):
        typer.echo(f"from your own machine: {line}", err=True)
