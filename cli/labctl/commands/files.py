"""The commands that carry bytes between this host and nodes: cp, logs, forward."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labctl.commands.options import File, Name, Node, Nodes, parse_duration
from labctl.commands.reach import PlainUsage, meant_lab, read_file
from labctl.errors import LabctlError, NotFoundError, UsageError
from labctl.world import require_running

if TYPE_CHECKING:
    from labctl.access.copy import End
    from labctl.access.forward import Rule, Way
    from labctl.access.many import Prefixed
    from labctl.api import RunningLab
    from labctl.plan.model import ObservedNode

LAB = (1000, 1000)
"""The user `lab` of box nodes."""

RUN_LOG = "/var/log/lab/run.log"


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command("cp", cls=PlainUsage)(cp)
    app.command("logs", cls=_LogsUsage)(logs)
    app.command("forward", cls=PlainUsage)(forward)


# ---------------------------------------------------------------- cp


def cp(
    *,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE... TARGET", help="Paths; NODE:PATH is one of a node, relative to its home."),
    ],
    owner: Annotated[
        str | None,
        typer.Option("--owner", metavar="USER[:GROUP]", help="Whom the copies in a node belong to, instead of lab."),
    ] = None,
    file: File = None,
    name: Name = None,
) -> None:
    """Copy files and directories into nodes, out of nodes, and from node to node.

    As `cp -r`: modes and symlinks are kept, a directory goes into a directory that is there, `DIR/.` means what is in
    it. A group as the target means all its copies.
    """
    from labctl.access.copy import copy, parse_owner, parse_place

    if len(paths) < 2:
        raise UsageError("cp needs a source and a target", hint="labctl cp FILE NODE:PATH")
    places = [parse_place(path) for path in paths]
    if all(place.node is None for place in places):
        raise UsageError("neither side is in a node", hint="write NODE:PATH for one of them")
    if owner is not None:
        parse_owner(owner)
        if places[-1].node is None:
            raise UsageError("--owner is for copies in a node; on this host they are yours")
    lab = meant_lab(file, name)
    sources = [(_end(lab.node(place.node) if place.node else None, lab), place.path) for place in places[:-1]]
    goal = places[-1]
    for node in lab.nodes([goal.node]) if goal.node else [None]:
        copy(sources, (_end(node, lab), goal.path), owner=owner, say=lambda text: typer.echo(text, err=True))


def _end(node: ObservedNode | None, lab: RunningLab) -> End:
    from labctl.access.copy import End, HostTree
    from labctl.access.tree import tree_of

    if node is None:
        return End(None, HostTree(), str(Path.cwd()))
    if node.state == "paused":
        require_running([node])
    box = node.kind == "box"
    tree = tree_of(lab.provider.access(node), node.name, running=node.state == "running", box=box)
    return End(node.name, tree, "/home/lab" if box else "/", LAB if box else (0, 0))


# ---------------------------------------------------------------- logs

_FOLLOW_HINT = "-f names the lab file; to follow what is printed: -F, or --follow"


class _LogsUsage(PlainUsage):
    """Knows the habit of `tail -f`, whose -f is another here."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[-1] == "-f":
            raise UsageError("-f needs the path of a lab file", hint=_FOLLOW_HINT)
        rest: list[str] = super().parse_args(ctx, args)
        return rest


def logs(
    *,
    nodes: Nodes = None,
    follow: Annotated[bool, typer.Option("-F", "--follow", help="Go on until the nodes stop.")] = False,
    tail: Annotated[
        int | None,
        typer.Option("--tail", metavar="N", min=0, help="Only the last N lines of each.", show_default=False),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only since then: 10m, or 2026-11-20T14:00:00.")
    ] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="Put the time before every line.")] = False,
    run: Annotated[bool, typer.Option("--run", help="What the nodes' `run` steps printed.")] = False,
    file: File = None,
    name: Name = None,
) -> None:
    """Show what nodes print.

    One node: its bytes as they are, its two streams on labctl's two. Several: in order of time, every line behind the
    name of its node.
    """
    from labctl.access.logs import print_following, print_merged, print_one
    from labctl.access.many import Prefixed

    begin = _moment(since) if since is not None else None
    if run and (follow or timestamps or begin is not None):
        raise UsageError("--run goes with --tail only")
    try:
        lab = meant_lab(file, name)
    except NotFoundError as error:
        if file and not all(each == "-" or Path(each).exists() for each in file):
            error.hint = _FOLLOW_HINT
        raise
    chosen = lab.nodes(nodes or ())
    sys.stdout.flush()
    stdout, stderr = sys.stdout.buffer, sys.stderr.buffer
    output = Prefixed([node.name for node in chosen], stdout, stderr)
    if run:
        _run_logs(lab, chosen, output, tail)
        return
    sources = {
        node.name: partial(lab.provider.access(node).logs, follow=follow, tail=tail, since=begin) for node in chosen
    }
    if len(chosen) == 1:
        print_one(sources[chosen[0].name](), stdout, stderr, timestamps=timestamps)
    elif follow:
        print_following(sources, output, timestamps=timestamps)
    else:
        print_merged({node: source() for node, source in sources.items()}, output, timestamps=timestamps)


def _run_logs(lab: RunningLab, nodes: list[ObservedNode], output: Prefixed, tail: int | None) -> None:
    from labctl.providers.session import STDOUT

    for node in nodes:
        try:
            data = read_file(lab.provider.access(node), RUN_LOG)
        except NotFoundError:
            if len(nodes) == 1:
                raise NotFoundError(f"{node.name} has run no steps", hint="`run:` in the lab file") from None
            continue
        lines = data.splitlines(keepends=True)
        data = b"".join(lines if tail is None else lines[len(lines) - min(tail, len(lines)) :])
        if len(nodes) == 1:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            output.write(node.name, STDOUT, data)
            output.end(node.name)


def _moment(text: str) -> float:
    """Seconds since the epoch of a time, or of a duration before now. A time without a zone is local."""
    import time
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        pass
    try:
        return time.time() - parse_duration(text)
    except typer.BadParameter:
        raise UsageError(f"{text} is no time", hint="write --since 10m, or --since 2026-11-20T14:00:00") from None


# ---------------------------------------------------------------- forward


def forward(
    *,
    node: Node,
    ports: Annotated[
        list[str],
        typer.Argument(metavar="PORT[:LOCALPORT]...", help="Ports of the node; a local one is free to choose."),
    ],
    file: File = None,
    name: Name = None,
) -> None:
    """Forward ports of 127.0.0.1 to ports of a node, until Ctrl-C.

    What listens on the node's own 127.0.0.1 alone is reached through ssh.
    """
    import asyncio

    from labctl.access import forward as way

    rules = [way.parse_rule(text) for text in ports]
    lab = meant_lab(file, name)
    target = lab.node(node)
    require_running([target])
    asyncio.run(
        way.forward(
            _way(lab, target),
            rules,
            ready=lambda rule: _say_ready(target.name, rule),
            said=lambda text: typer.echo(text, err=True),
        )
    )


def _say_ready(node: str, rule: Rule) -> None:
    typer.echo(f"127.0.0.1:{rule.local} -> {node}:{rule.port}")
    sys.stdout.flush()


def _way(lab: RunningLab, node: ObservedNode) -> Way:
    import shutil

    from labctl.access.forward import Way, ssh_tunnel

    try:
        address = str(lab.address(node))
    except LabctlError:
        return Way(node.name, None)
    config = lab.directory.ssh_config
    by_ssh = node.kind == "box" and config.is_file() and shutil.which("ssh") is not None
    return Way(node.name, address, ssh_tunnel(config, node.name) if by_ssh else None)
