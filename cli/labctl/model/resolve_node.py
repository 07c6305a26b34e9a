"""One node of the file becomes its copies: short forms spelled out, defaults filled in, rules checked. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from labctl.errors import KeyPath
from labctl.model.draft import Draft, absolute, command
from labctl.model.lab import (
    Desktop,
    File,
    Healthcheck,
    Network,
    Node,
    NodeService,
    Port,
    User,
    Volume,
)
from labctl.model.linux import CAPABILITIES, SERVICES, USERS
from labctl.model.ports import parse_port, same_socket
from labctl.model.resolve_network import interfaces
from labctl.model.resolve_storage import devices, mounts, named_networks
from labctl.model.scalars import parse_duration, parse_size
from labctl.model.spec_node import NodeSpec
from labctl.model.suggest import did_you_mean

DEFAULT_BOX = "debian-13"
_BOX_ONLY = ("packages", "users", "services", "run", "desktop", "ide", "box", "vagrant")
_LEAST_MEMORY = 6 * 2**20
# Patterns are compiled where they are first used: most labs need few of them, and start faster.
_GEOMETRY = r"([0-9]{1,5})x([0-9]{1,5})\Z"
_PROVIDER = r"[a-z0-9][a-z0-9_-]*\Z"
_MODE = r"[0-7]{3,4}\Z"
_OWNER = r"[a-z_][a-z0-9_-]{0,31}(:[a-z_][a-z0-9_-]{0,31})?\Z|[0-9]{1,9}(:[0-9]{1,9})?\Z"
_ACCOUNT = r"[a-z_][a-z0-9_-]{0,31}\Z"
_PACKAGE = r"[a-z0-9][a-z0-9+.-]*(:[a-z0-9]+)?(=[A-Za-z0-9.+~:-]+)?\Z"
_SERVICE = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*\Z"
_IMAGE = r"[a-z0-9][A-Za-z0-9._:/@-]*\Z"
_KEY = r"(ssh-|ecdsa-|sk-)\S+ [A-Za-z0-9+/=]{16,}( .*)?\Z"


def node(
    draft: Draft, name: str, spec: NodeSpec, networks: Mapping[str, Network], volumes: Mapping[str, Volume]
) -> list[Node]:
    """All copies of the node called `name` in the file."""
    path: KeyPath = ("nodes", name)
    _kind(draft, path, spec)
    by_volumes = named_networks(name, spec, volumes)
    placed = interfaces(draft, name, spec, networks, by_volumes)
    first = Node(
        name,
        name,
        provider=spec.provider or "docker",
        box=None if spec.image else _box(draft, path, spec),
        image=spec.image,
        vagrant_provider=_vagrant(draft, path, spec),
        cpus=spec.cpus,
        memory=_memory(draft, path, spec),
        mounts=mounts(draft, name, spec, volumes),
        devices=devices(draft, name, spec, volumes),
        ports=_ports(draft, path, spec),
        capabilities=_capabilities(draft, path, spec),
        environment=_environment(draft, name, spec),
        packages=_packages(draft, path, spec),
        users=_users(draft, path, spec),
        files=_files(draft, path, spec),
        services=_services(draft, path, spec),
        healthcheck=_healthcheck(draft, path, spec),
        desktop=_desktop(draft, path, spec),
        ide=bool(spec.ide),
        source=path,
    )
    if spec.command is not None:
        with draft.at((*path, "command")):
            first = replace(first, command=command(spec.command))
    for index, line in enumerate(spec.run or ()):
        with draft.at((*path, "run", index)):
            first = replace(first, run=(*first.run, command(line)))
    domains = _domains(draft, path, spec)
    return [
        replace(first, name=copy, interfaces=placed[index], domain=domains[index % len(domains)] if domains else None)
        for index, copy in enumerate(draft.copies[name])
    ]


def _vagrant(draft: Draft, path: KeyPath, spec: NodeSpec) -> str | None:
    provider = spec.vagrant.provider if spec.vagrant else None
    if provider is not None and not re.match(_PROVIDER, provider):
        draft.add((*path, "vagrant", "provider"), f'expected a provider such as libvirt, found "{provider}"')
    return provider


def _kind(draft: Draft, path: KeyPath, spec: NodeSpec) -> None:
    """What a node of this kind cannot have."""
    given = spec.model_fields_set
    if spec.image is None:
        if spec.command is not None:
            hint = "name what is to run under `services`, or once under `run`"
            draft.add((*path, "command"), "`command` is for nodes with an `image`", hint=hint, at_key=True)
        return
    if not re.match(_IMAGE, spec.image) or len(spec.image) > 255:
        draft.add((*path, "image"), "expected the name of an image such as valkey/valkey:8")
    if spec.provider == "vagrant":
        draft.add((*path, "image"), "`image` is for containers, this node has `provider: vagrant`", at_key=True)
    for key in _BOX_ONLY:
        value = getattr(spec, key)
        if key not in given or value is None or value is False or value in ([], {}):
            continue
        if key == "vagrant" and draft.topology.defaults and draft.topology.defaults.vagrant is not None:
            continue
        inherited = draft.topology.defaults is not None and getattr(draft.topology.defaults, key) == value
        from_defaults = f"if it comes from the defaults, write `{key}: null` in this node"
        draft.add(
            (*path, key),
            f"a node with an `image` runs as it is and takes no `{key}`",
            hint=from_defaults if inherited else None,
            at_key=True,
        )


def _box(draft: Draft, path: KeyPath, spec: NodeSpec) -> str:
    box = spec.box or DEFAULT_BOX
    if draft.boxes and box not in draft.boxes:
        draft.unknown((*path, "box"), "box", box, draft.boxes)
    return box


def _memory(draft: Draft, path: KeyPath, spec: NodeSpec) -> int | None:
    if spec.memory is None:
        return None
    size = parse_size(spec.memory)
    if size < _LEAST_MEMORY:
        draft.add((*path, "memory"), f"{spec.memory} is too little memory, the least is 6MiB")
    return size


def _domains(draft: Draft, path: KeyPath, spec: NodeSpec) -> list[str]:
    known = draft.topology.domains or {}
    if spec.domain is None:
        return []
    several = isinstance(spec.domain, list)
    names = spec.domain if isinstance(spec.domain, list) else [spec.domain]
    for index, domain in enumerate(names):
        if domain not in known:
            draft.unknown((*path, "domain", index) if several else (*path, "domain"), "domain", domain, known)
    if several and spec.count is None and not draft.unsure(*path, "count"):
        draft.add((*path, "domain"), "a list of domains is for a node with `count`, whose copies take them in turn")
    return names


def _ports(draft: Draft, path: KeyPath, spec: NodeSpec) -> tuple[Port, ...]:
    found: list[Port] = []
    for index, value in enumerate(spec.ports or ()):
        here = (*path, "ports", index)
        with draft.at(here):
            port = parse_port(value)
            if port.host is not None and (spec.count or 1) > 1:
                raise ValueError(f"port {port.host} of the host cannot be that of {spec.count} copies: leave it out")
            if port in found or any(same_socket(port, other) for other in found):
                raise ValueError(f"port {value} is already published by this node")
            found.append(port)
    return tuple(found)


def _capabilities(draft: Draft, path: KeyPath, spec: NodeSpec) -> tuple[str, ...]:
    for index, capability in enumerate(spec.capabilities or ()):
        here = (*path, "capabilities", index)
        bare = capability.upper().removeprefix("CAP_")
        if bare == "ALL":
            draft.add(here, "ALL is not given: name the capabilities that this node needs")
        elif capability not in CAPABILITIES:
            near = f", did you mean `{bare}`?" if bare in CAPABILITIES else did_you_mean(bare, CAPABILITIES)
            draft.add(here, f"there is no capability `{capability}`{near}")
    return tuple(dict.fromkeys(spec.capabilities or ()))


def _environment(draft: Draft, name: str, spec: NodeSpec) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in (spec.environment or {}).items():
        here = ("nodes", name, "environment", key)
        if not re.match(_VARIABLE, key):
            draft.add(here, f"`{key}` cannot be the name of a variable", at_key=True)
        text = draft.reader.variable(key) if value is None else str(value)
        if text is None:
            draft.notices.append(f"{key} is not set here, node {name} starts without it")
        else:
            found[key] = text
    return found


def _packages(draft: Draft, path: KeyPath, spec: NodeSpec) -> tuple[str, ...]:
    for index, package in enumerate(spec.packages or ()):
        if not re.match(_PACKAGE, package):
            draft.add((*path, "packages", index), f"`{package}` cannot be the name of a package")
    return tuple(dict.fromkeys(spec.packages or ()))


def _users(draft: Draft, path: KeyPath, spec: NodeSpec) -> tuple[User, ...]:
    found = []
    for name, user in (spec.users or {}).items():
        here = (*path, "users", name)
        if name in USERS:
            draft.add(here, f"`{name}` is a user of the system, choose another name", at_key=True)
        keys: list[str] = []
        for index, text in enumerate((user.ssh_keys if user else None) or ()):
            with draft.at((*here, "ssh_keys", index)):
                keys += _keys(draft, text, (*here, "ssh_keys", index))
        if user and user.password is not None and (not user.password or ":" in user.password or "\n" in user.password):
            draft.add((*here, "password"), "a password is not empty and has neither colons nor line breaks")
        password = user.password if user else None
        found.append(User(name, tuple(dict.fromkeys(keys)), bool(user and user.sudo), password))
    return tuple(found)


def _keys(draft: Draft, text: str, path: KeyPath) -> list[str]:
    if re.match(_KEY, text):
        return [text]
    content = draft.reader.content(text, path)
    if b"PRIVATE KEY" in content:
        raise ValueError(f"{text} is a private key, name the public one: {text}.pub")
    lines = [line.strip() for line in content.decode("utf-8", "replace").splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys or not all(re.match(_KEY, key) for key in keys):
        raise ValueError(f"{text} does not hold public keys")
    return keys


def _files(draft: Draft, path: KeyPath, spec: NodeSpec) -> tuple[File, ...]:
    found: dict[str, File] = {}
    for name, file in (spec.files or {}).items():
        here = (*path, "files", name)
        try:
            target = absolute(name, what="the path of a file")
            if name.endswith("/") or target == "/":
                raise ValueError(f"{name} is a directory, a file is meant here")
            if target in found:
                raise ValueError(f"{target} is written twice")
        except ValueError as error:
            draft.add(here, str(error), at_key=True)
            continue
        if (file.content is None) == (file.source is None):
            if not draft.unsure(*here):
                draft.add(here, "a file has either `content` or `source`", at_key=True)
            continue
        content = (file.content or "").encode()
        if file.source is not None:
            with draft.at((*here, "source")):
                content = draft.reader.content(file.source, (*here, "source"))
        if file.mode is not None and not re.match(_MODE, file.mode):
            draft.add((*here, "mode"), f'expected permissions in octal such as "0644", found "{file.mode}"')
            continue
        if file.owner is not None and not re.match(_OWNER, file.owner):
            draft.add((*here, "owner"), f'expected a user, or user:group, found "{file.owner}"')
        found[target] = File(target, content, int(file.mode or "0644", 8), file.owner or "root")
    return tuple(found.values())


def _services(draft: Draft, path: KeyPath, spec: NodeSpec) -> tuple[NodeService, ...]:
    found = []
    for name, service in (spec.services or {}).items():
        here = (*path, "services", name)
        if not re.match(_SERVICE, name):
            draft.add(here, f"`{name}` cannot be the name of a service", at_key=True)
        elif name in SERVICES:
            draft.add(here, f"`{name}` is a service of labctl's own, choose another name", at_key=True)
        if service.user is not None and not re.match(_ACCOUNT, service.user):
            draft.add((*here, "user"), f'expected the name of a user, found "{service.user}"')
        for key in service.environment or {}:
            if not re.match(_VARIABLE, key):
                draft.add((*here, "environment", key), f"`{key}` cannot be the name of a variable", at_key=True)
        with draft.at((*here, "command")):
            found.append(
                NodeService(name, command(service.command), service.user or "root", dict(service.environment or {}))
            )
    return tuple(found)


def _healthcheck(draft: Draft, path: KeyPath, spec: NodeSpec) -> Healthcheck | None:
    check = spec.healthcheck
    if check is None:
        return None
    here = (*path, "healthcheck")
    times = {"interval": 2.0, "timeout": 5.0, "start_period": 0.0}
    for key in times:
        text = getattr(check, key)
        if text is None:
            continue
        times[key] = parse_duration(text)
        if times[key] < 0.001 and key != "start_period":
            draft.add((*here, key), "a healthcheck needs time: more than 0s")
    with draft.at((*here, "test")):
        return Healthcheck(
            command(check.test),
            interval=times["interval"],
            timeout=times["timeout"],
            retries=check.retries or 15,
            start_period=times["start_period"],
        )
    return None


def _desktop(draft: Draft, path: KeyPath, spec: NodeSpec) -> Desktop | None:
    if spec.desktop is None or spec.desktop is False:
        return None
    if spec.desktop is True:
        return Desktop()
    default = Desktop()
    width, height = default.width, default.height
    if spec.desktop.geometry is not None:
        match = re.match(_GEOMETRY, spec.desktop.geometry)
        if not match or not (320 <= int(match[1]) <= 7680 and 200 <= int(match[2]) <= 4320):
            sentence = "expected width and height in pixels such as 1280x800 (320x200 to 7680x4320)"
            draft.add((*path, "desktop", "geometry"), f'{sentence}, found "{spec.desktop.geometry}"')
        else:
            width, height = int(match[1]), int(match[2])
    return Desktop(spec.desktop.wm or default.wm, width, height)
