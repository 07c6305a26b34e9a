"""Checks, failure domains and scenarios: whether what they name is there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from labctl.errors import KeyPath
from labctl.model.draft import Draft, absolute, command
from labctl.model.lab import Check, Domain, Network, Node
from labctl.model.scalars import parse_duration
from labctl.model.spec_checks import (
    DesktopCheckSpec,
    DnsCheckSpec,
    FailSpec,
    HttpCheckSpec,
    MountCheckSpec,
    RunCheckSpec,
    StepSpec,
    TargetSpec,
    TcpCheckSpec,
    WaitSpec,
)

_AnyCheck = TcpCheckSpec | HttpCheckSpec | RunCheckSpec | DnsCheckSpec | MountCheckSpec | DesktopCheckSpec


def checks(draft: Draft, nodes: Mapping[str, Node]) -> dict[str, Check]:
    """The checks of the lab."""
    found: dict[str, Check] = {}
    for name, spec in (draft.topology.checks or {}).items():
        path: KeyPath = ("checks", name)
        with draft.at(path):
            made = _check(draft, path, name, spec, nodes)
            if made is not None:
                found[name] = made
    return found


def _check(draft: Draft, path: KeyPath, name: str, spec: _AnyCheck, nodes: Mapping[str, Node]) -> Check | None:
    for key in ("interval", "timeout"):
        text = getattr(spec, key)
        if text is not None and key == "timeout" and parse_duration(text) <= 0:
            draft.add((*path, key), "a check needs time: more than 0s")
    interval = parse_duration(spec.interval) if spec.interval else 1.0
    timeout = parse_duration(spec.timeout) if spec.timeout else 5.0
    retries = spec.retries or 10
    node: str | None = None
    on: tuple[str, ...] = ()
    if isinstance(spec, RunCheckSpec | MountCheckSpec):
        node, on = spec.on, draft.some_nodes((*path, "on"), spec.on)
    elif isinstance(spec, TcpCheckSpec | HttpCheckSpec | DnsCheckSpec) and spec.from_ is not None:
        node = spec.from_
        on = (node,) if draft.one_node((*path, "from"), node) else ()
    if isinstance(spec, TcpCheckSpec):
        with draft.at((*path, "tcp")):
            _known_host(draft, (*path, "tcp"), _host_port(spec.tcp).rpartition(":")[0])
            return Check(name, "tcp", _host_port(spec.tcp), node, interval, timeout, retries, nodes=on)
        return None
    if isinstance(spec, HttpCheckSpec):
        with draft.at((*path, "http")):
            _known_host(draft, (*path, "http"), urlsplit(_url(spec.http)).hostname or "")
            return Check(
                name,
                "http",
                _url(spec.http),
                node,
                interval,
                timeout,
                retries,
                status=spec.status,
                header=dict(spec.header or {}),
                body=spec.body,
                nodes=on,
            )
        return None
    if isinstance(spec, RunCheckSpec):
        with draft.at((*path, "run")):
            return Check(name, "run", command(spec.run), node, interval, timeout, retries, nodes=on)
        return None
    if isinstance(spec, MountCheckSpec):
        with draft.at((*path, "mount")):
            target = absolute(spec.mount)
            for member in on:
                mounted = [mount.target for mount in nodes[member].mounts]
                if target not in mounted and not draft.unsure(*nodes[member].source):
                    draft.add((*path, "mount"), f"nothing is mounted on {target} in node {member}")
            read_only = _read_only(draft, target, [nodes[member] for member in on])
            return Check(name, "mount", target, node, interval, timeout, retries, nodes=on, read_only=read_only)
        return None
    if isinstance(spec, DnsCheckSpec):
        if not spec.dns or any(c.isspace() or c == "/" for c in spec.dns):
            draft.add((*path, "dns"), f'expected a name such as web-1, found "{spec.dns}"')
        return Check(name, "dns", spec.dns, node, interval, timeout, retries, nodes=on)
    screen = draft.one_node((*path, "desktop"), spec.desktop)
    if screen is not None and nodes[screen].desktop is None and not draft.unsure(*nodes[screen].source):
        draft.add((*path, "desktop"), f"node {screen} has no desktop")
    return Check(name, "desktop", spec.desktop, spec.desktop, interval, timeout, retries, nodes=(spec.desktop,))


def _read_only(draft: Draft, target: str, nodes: Iterable[Node]) -> frozenset[str]:
    """The nodes that cannot write to what is mounted at `target`, by the mount or by the volume itself."""
    volumes = draft.topology.volumes or {}
    shares = {name for name, spec in volumes.items() if getattr(spec, "access", None) == "ReadOnlyMany"}
    return frozenset(
        node.name
        for node in nodes
        for mount in node.mounts
        if mount.target == target and (mount.read_only or mount.volume in shares)
    )


def _known_host(draft: Draft, path: KeyPath, host: str) -> None:
    """A problem when `host` is a bare name and no node's: only those of this lab have such names in it."""
    bare = host.lower()
    elsewhere = bare == "localhost" or bare.isdigit() or any(mark in bare for mark in ".:")
    if (
        elsewhere
        or bare in draft.groups
        or any(draft.unsure("nodes", name) for name in (bare, bare.rpartition("-")[0]))
    ):
        return
    draft.unknown(path, "node", host, draft.groups)


def _host_port(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if (
        not colon
        or not host
        or any(c.isspace() for c in host)
        or not port.isascii()
        or not port.isdigit()
        or not 1 <= int(port[:6]) <= 65535
    ):
        raise ValueError(f'expected HOST:PORT such as db:5432, found "{text}"')
    return text


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f'expected a URL such as http://web-1/, found "{text}"') from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError(f'expected a URL such as http://web-1/, found "{text}"')
    return text


def domains(draft: Draft) -> dict[str, Domain]:
    """The failure domains; a problem for each circle among them."""
    known = draft.topology.domains or {}
    found: dict[str, Domain] = {}
    for name, spec in known.items():
        parent = spec.in_ if spec else None
        if parent is not None and parent not in known:
            draft.unknown(("domains", name, "in"), "domain", parent, known)
        found[name] = Domain(name, spec.kind if spec else None, parent)
    for circle in _circles({name: domain.parent for name, domain in found.items()}):
        words = " → ".join([*circle, circle[0]])
        draft.add(("domains", circle[0], "in"), f"domains lie in each other in a circle: {words}")
    return found


def _circles(parents: Mapping[str, str | None]) -> list[list[str]]:
    """The circles among `parents`, each from its first name on; every name is walked over once."""
    order = {name: place for place, name in enumerate(parents)}
    done: set[str] = set()
    circles: list[list[str]] = []
    for name in parents:
        chain: dict[str, None] = {}
        here: str | None = name
        while here in order and here not in done and here not in chain:
            chain[here] = None
            here = parents[here]
        if here in chain:
            circle = list(chain)
            circle = circle[circle.index(here) :]
            first = circle.index(min(circle, key=order.__getitem__))
            circles.append([*circle[first:], *circle[:first]])
        done.update(chain)
    return circles


def scenarios(draft: Draft, networks: Mapping[str, Network]) -> None:
    """Whether the scenarios name what is there."""
    for name, spec in (draft.topology.scenarios or {}).items():
        path: KeyPath = ("scenarios", name)
        known = draft.topology.checks or {}
        for index, check in enumerate(spec.steady or ()):
            _known_check(draft, (*path, "steady", index), check, known)
        if not spec.steps and not draft.unsure(*path, "steps"):
            draft.add((*path, "steps"), "a scenario has at least one step", at_key=True)
        for index, step in enumerate(spec.steps):
            here = (*path, "steps", index)
            if not draft.unsure(*here):
                _step(draft, here, step, networks)


def _known_check(draft: Draft, path: KeyPath, check: str, known: Mapping[str, object]) -> None:
    if check not in known and not draft.unsure("checks", check):
        draft.unknown(path, "check", check, known)


def _step(draft: Draft, path: KeyPath, step: StepSpec, networks: Mapping[str, Network]) -> None:
    if sum(value is not None for value in (step.fail, step.wait, step.heal)) != 1:
        draft.add(path, "a step is one of fail, wait, heal")
    if step.fail is not None:
        _target(draft, (*path, "fail"), step.fail, networks)
    if isinstance(step.heal, TargetSpec):
        _target(draft, (*path, "heal"), step.heal, networks)
    elif step.heal is not None and step.heal != "all":
        draft.add((*path, "heal"), f'expected all, or a mapping with one of domain, node, network, found "{step.heal}"')
    if step.wait is not None:
        _wait(draft, (*path, "wait"), step.wait)


def _wait(draft: Draft, path: KeyPath, wait: WaitSpec) -> None:
    if wait.check is not None and wait.healthy is not None:
        draft.add((*path, "healthy"), "a wait is for a check or for health, not for both", at_key=True)
    if wait.check is None and wait.healthy is None and wait.within is None:
        draft.add(path, "a wait needs `check`, `healthy` or `within`", at_key=True)
    if wait.check is not None:
        _known_check(draft, (*path, "check"), wait.check, draft.topology.checks or {})
    if wait.healthy is not None and wait.healthy != "all":
        draft.some_nodes((*path, "healthy"), wait.healthy)


def _target(draft: Draft, path: KeyPath, target: FailSpec | TargetSpec, networks: Mapping[str, Network]) -> None:
    given = [key for key in ("domain", "node", "network") if getattr(target, key) is not None]
    if len(given) != 1:
        found = f", this one has {' and '.join(given)}" if given else ""
        draft.add(path, f"exactly one of domain, node, network is meant here{found}", at_key=True)
    if target.domain is not None and target.domain not in (draft.topology.domains or {}):
        draft.unknown((*path, "domain"), "domain", target.domain, draft.topology.domains or {})
    if target.node is not None:
        draft.some_nodes((*path, "node"), target.node)
    if target.network is not None and target.network not in networks:
        draft.unknown((*path, "network"), "network", target.network, networks)
