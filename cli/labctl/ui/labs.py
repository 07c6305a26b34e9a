"""Labs and nodes for people: the tables of status and ls, the pages of inspect."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TextIO

from labctl.documents.model import (
    InspectDocument,
    LabsDocument,
    NodeDocument,
    PortDocument,
    StatusDocument,
)
from labctl.documents.stored import UseDocument
from labctl.ui.colour import Ink
from labctl.ui.tables import Cell, age, print_table
from labctl.ui.words import clean

_STATES: Mapping[str, str] = MappingProxyType(
    {"running": "green", "healthy": "green", "unhealthy": "red", "dead": "red", "missing": "red", "paused": "yellow"}
)


def print_status(
    document: StatusDocument,
    *,
    found_here: bool = False,
    stream: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """One line per node, then on stderr what to do next; `found_here`: commands find the lab without its name."""
    header = ("NODE", "STATE", "HEALTH", "ADDRESSES", "PORTS", "DESKTOP", "IMAGE")
    print_table(header, [_node_row(node) for node in document.nodes], stream=stream, environ=environ)
    if missing := [node.name for node in document.nodes if node.state == "missing"]:
        sys.stderr.write(f"missing: {', '.join(missing)} (labctl up makes them)\n")
    for use in (use for node in document.nodes for use in node.storage if use.phase in ("failed", "unknown")):
        from labctl.ui.storage import trouble

        sys.stderr.write(clean(trouble(use)) + "\n")
    if document.unfinished:
        sys.stderr.write(f"not configured whole: {', '.join(document.unfinished)} (labctl up goes on with them)\n")
    if any(node.desktop and node.state == "running" for node in document.nodes):
        which = "" if found_here else f" --name {document.lab}"
        sys.stderr.write(f"desktops: labctl vnc{which}\n")


def print_labs(
    document: LabsDocument, *, now: float, stream: TextIO | None = None, environ: Mapping[str, str] = os.environ
) -> None:
    """One line per lab; `now` is in seconds since the epoch."""
    rows: list[list[Cell]] = []
    for lab in document.labs:
        old = age(now - datetime.fromisoformat(lab.created).timestamp()) if lab.created else ""
        whole = lab.running == lab.total > 0
        rows.append(
            [
                lab.name,
                (f"{lab.running}/{lab.total}", "green" if whole else "yellow"),
                lab.owner or "",
                old,
                _end(lab.expires, now),
                _bytes(lab.memory),
                _bytes(lab.disk),
                lab.directory or "",
            ]
        )
    if rows:
        header = ("LAB", "RUNNING", "OWNER", "AGE", "ENDS IN", "MEMORY", "DISK", "DIRECTORY")
        print_table(header, rows, stream=stream, environ=environ)
    else:
        sys.stderr.write("no labs on this host (labctl init makes a lab file, labctl up a lab)\n")


def _end(expires: str | None, now: float) -> Cell:
    if expires is None:
        return ""
    left = datetime.fromisoformat(expires).timestamp() - now
    return age(left) if left > 0 else ("over", "red")


def _bytes(count: int | None) -> str:
    """A size in few characters: ``312MiB``, ``1.2GiB``; nothing when it is not known."""
    if count is None:
        return ""
    return f"{count / 2**30:.1f}GiB" if count >= 2**30 else f"{count / 2**20:.0f}MiB"


def print_nodes(
    document: InspectDocument, *, stream: TextIO | None = None, environ: Mapping[str, str] = os.environ
) -> None:
    """A block of lines per node: what is there, then what the lab file says."""
    out = stream or sys.stdout
    ink = Ink(out, environ)
    for place, node in enumerate(document.nodes):
        out.write("\n" * (place > 0) + ink(node.name, "bold") + "\n")
        facts = {"id": node.id or "", "status": node.status}
        facts |= dict(_facts(node.node))
        if node.specification is not None:
            facts |= dict(_facts(node.specification))
        width = max(map(len, facts))
        for key, text in facts.items():
            if text and key != "name":
                out.write(f"  {key.replace('_', ' '):<{width}}  {text}\n")


def _node_row(node: NodeDocument) -> list[Cell]:
    state = node.state if node.exit_code is None else f"{node.state} ({node.exit_code})"
    addresses = " ".join(f"{network}={address}" for network, address in node.addresses.items())
    return [
        node.name,
        (state, _STATES.get(node.state, "dim")),
        (node.health or "", _STATES.get(node.health or "", "yellow")),
        addresses,
        " ".join(_port(port) for port in node.ports),
        node.desktop or "",
        short_image(node.image),
    ]


def short_image(image: str) -> str:
    """An image as people know it: labctl's own without its name space and its content address."""
    if image.startswith("labctl/"):
        return image.removeprefix("labctl/").partition(":")[0]
    return image


def _port(port: PortDocument) -> str:
    host = f"{port.address}:{port.host}" if port.host is not None else port.address
    return f"{host}->{port.container}{'/udp' if port.protocol == 'udp' else ''}"


def _facts(thing: object) -> Iterator[tuple[str, str]]:
    assert is_dataclass(thing)
    for field in fields(thing):
        yield field.name, _words(getattr(thing, field.name))


def _words(value: object) -> str:
    match value:
        case None | False:
            return ""
        case PortDocument():
            return _port(value)
        case UseDocument():
            way = f" by {value.way} ({value.because})" if value.way and value.because else f" by {value.way or '?'}"
            version = f" NFS {value.version}" if value.version else ""
            return f"{value.volume} at {value.target}: {value.phase}{version}{way}"
        case dict():
            return ", ".join(f"{key}={_words(each)}" for key, each in value.items())
        case list():
            return ", ".join(_words(each) for each in value)
        case _:
            return str(value)
