"""The boxes of this user's virtual machines: which there are, whether they are sound, taking one in or away."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labctl import shelf
from labctl.errors import ConflictError, LabctlError, NotFoundError, UsageError
from labctl.lab import LabDirectory, cache, home, known_labs

if TYPE_CHECKING:
    from labctl.providers.vagrant.serve import Offer
    from labctl.providers.vagrant.stock import StockBox

_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one box: its file, its digest (None: none was written down), what is wrong with it."""

    name: str
    path: Path
    digest: str | None
    faults: tuple[str, ...]


def found() -> tuple[StockBox, ...]:
    """All boxes of this user, with who uses them."""
    from labctl.providers.vagrant import stock

    for own in shelf.boxes(home()):
        link(own)
    return stock.stock(cache(), vagrant_home(), _promised())


def vagrant_home() -> Path:
    """Where this user's Vagrant keeps what it knows."""
    from labctl.probe.user import invoking_user
    from labctl.providers.vagrant import boxes

    return boxes.vagrant_home(os.environ, invoking_user().home)


def named(names: Sequence[str]) -> list[StockBox]:
    """The boxes that go by these names: all files of a box, or one."""
    return [each for each in found() if called(each) & {*names}]


def remove(meant: Sequence[StockBox]) -> list[StockBox]:
    """Take boxes away from all places. Raises `ConflictError`, before anything goes, when a machine uses one."""
    from labctl.providers.vagrant import stock

    users = sorted({user for each in meant for user in each.users})
    if users:
        names = ", ".join(sorted({each.tag.removeprefix("labctl/") for each in meant if each.users}))
        raise ConflictError(
            f"box {names} is in use",
            taken=f"box {names}",
            retry=False,
            details=[f"by {', '.join(users)}"],
            hint="take down the labs that use it, or remove only what is unused: labctl box prune",
            code="LAB-IMG-004",
        )
    for each in meant:
        stock.take_away(each)
        for own in shelf.boxes(home()):
            if own.tag == each.tag:
                shelf.remove(home(), own)
    return list(meant)


def unused() -> list[StockBox]:
    """The boxes that no machine uses and `up` can make again."""
    own = {each.tag for each in shelf.boxes(home())}
    return [each for each in found() if not each.users and each.tag not in own]


def prune() -> tuple[list[StockBox], list[str]]:
    """Take away what no machine uses and `up` can make again, and what was left behind; both are returned."""
    from labctl.providers.vagrant import stock

    return remove(unused()), stock.clear_leftovers(cache(), vagrant_home())


def verify(names: Sequence[str]) -> list[Verdict]:
    """Look into the files of all boxes, or those of `names` (a box, or one of its files)."""
    from labctl.providers.vagrant import soundness

    files = [each for each in found() if each.path is not None]
    own = {each.tag: each for each in shelf.boxes(home())}
    for name in names:
        if not any(name in called(each) for each in files):
            raise NotFoundError(f"there is no file of box {name}", hint="labctl box list", code="LAB-FIND-004")
    verdicts = []
    for each in files:
        assert each.path is not None
        if names and not called(each) & {*names}:
            continue
        digest = own[each.tag].sha256 if each.tag in own else soundness.known_digest(each.path)
        verdicts.append(
            Verdict(each.tag.removeprefix("labctl/"), each.path, digest, tuple(soundness.faults(each.path, digest)))
        )
    return verdicts


def add(source: str, sha256: str, name: str | None) -> shelf.OwnBox | str:
    """Take a box in from a file or URL; returns it, or the name of the built box that it is.

    Raises `LabctlError` when its digest is another, or it is no box of labctl's.
    """
    from labctl.providers.vagrant import boxes, boxfile, soundness
    from labctl.providers.vagrant.fetch import fetched

    wanted = sha256.lower()
    if not re.fullmatch(r"[0-9a-f]{64}", wanted):
        raise UsageError("a sha256 has 64 hexadecimal digits", hint="sha256sum FILE prints it")
    if name is not None:
        check_name(name)
    with fetched(source, wanted, cache()) as file:
        wrong = soundness.faults(file, wanted)
        if wrong:
            raise LabctlError(
                f"{source} is not a box that labctl can use",
                details=wrong,
                hint="labctl box build makes one, labctl box package makes one of a machine",
                code="LAB-IMG-007",
            )
        words = boxfile.words(file)
        if words is not None and words.built and name is None:
            target = boxes.path_of(cache(), words.name)
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            boxes.publish(file, target)
            return words.name
        chosen = name or (words.name if words is not None else None)
        if chosen is None or words is None:
            raise LabctlError(
                f"{source} was not made by labctl",
                details=["nodes are told who they are in a way that only labctl's own boxes know"],
                hint="labctl box build makes one, labctl box package makes one of a machine",
                code="LAB-IMG-007",
            )
        check_name(chosen)
        own = shelf.OwnBox(chosen, words.system, wanted, words.services)
        keep(own, file)
        return own


def check_name(name: str) -> None:
    """Raise `UsageError` for what cannot be the name of a box of one's own."""
    from labctl.source.boxes import boxes

    if not _NAME.match(name):
        raise UsageError(f"{name} is not a name for a box", hint="lower-case letters, digits and hyphens, at most 40")
    if name in {each.name for each in boxes()}:
        raise UsageError(f"{name} is a box that comes with labctl", hint="give it another --name")


def offers() -> list[Offer]:
    """The boxes that can be given to others, with their digests; a plain node's goes by its system's name too."""
    from labctl.providers.vagrant import boxes, soundness
    from labctl.providers.vagrant.serve import Offer

    own = {each.tag: each for each in shelf.boxes(home())}
    given = []
    for each in found():
        if each.path is None:
            continue
        if each.tag in own:
            digest = own[each.tag].sha256
        else:
            digest = soundness.known_digest(each.path) or boxes.note_digest(each.path)
        also = (each.box,) if each.tag in own or each.tag == _plain(each.box) else ()
        given.append(Offer(each.tag.removeprefix("labctl/"), each.tag, each.path, digest, also))
    return given


def _plain(name: str) -> str | None:
    """The box of a plain node with this operating system."""
    from labctl import features
    from labctl.model.lab import Node
    from labctl.probe.trust import host_trust
    from labctl.render.machine import bake
    from labctl.source.boxes import boxes

    box = next((each for each in boxes() if each.name == name and each.machine), None)
    return bake(box, features.recipe(Node("plain", "plain", box=name)), host_trust()).tag if box is not None else None


def keep(own: shelf.OwnBox, file: Path) -> Path:
    """Put a box on the shelf, where `box: NAME` finds it; returns its file."""
    path = shelf.put(home(), own, file)
    link(own)
    return path


def link(own: shelf.OwnBox) -> None:
    """Have the box where boxes are looked for."""
    from labctl.providers.vagrant import boxes

    target = boxes.path_of(cache(), own.tag)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        target.unlink(missing_ok=True)  # one that leads to nothing is there all the same
        target.symlink_to(shelf.file_of(home(), own))


def called(box: StockBox) -> set[str]:
    """What a user may call a box: its name, and that of one of its files."""
    return {box.box, box.tag, box.tag.removeprefix("labctl/")}


def _promised() -> dict[str, list[str]]:
    """The boxes of machines that labs of this user have, also of those that are just being made."""
    from labctl.providers.vagrant.place import Place

    found: dict[str, list[str]] = {}
    for lab in known_labs(home()):
        directory = LabDirectory(home(), lab)
        for name, kept in Place(directory.machines, directory.key).kept().items():
            found.setdefault(kept.machine.box, []).append(f"{lab}/{name}")
    return found
