"""What labctl's own images take up on the engine, and which of them nobody uses."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from labctl.providers import labels
from labctl.providers.docker.client import Engine
from labctl.providers.docker.errors import translated

REPOSITORY = "labctl/"


@dataclass(frozen=True, slots=True)
class StockImage:
    """One image of labctl's. `kind` is base or image; `size` is in bytes with what it shares with others; `created`
    is in seconds since the epoch; `users` are the names of containers made from it, running or not.
    """

    tag: str
    box: str
    kind: str
    size: int
    created: float
    users: tuple[str, ...] = ()


def images(engine: Engine) -> tuple[StockImage, ...]:
    """All of labctl's images with a name, by tag.

    Only those that carry both its name and its labels: an image that somebody built on one of them inherits the
    labels, and one that somebody named like them has none.
    """
    with translated("list the images"):
        listed = engine.images(filters={"label": [labels.SCHEMA], "reference": [f"{REPOSITORY}*"]})
        containers = engine.containers(all=True)
    users: dict[str, list[str]] = {}
    for container in containers:
        users.setdefault(container["ImageID"], []).append(str(container["Names"][0]).lstrip("/"))
    found = []
    for image in listed:
        given = image["Labels"] or {}
        for tag in image["RepoTags"] or ():
            if tag.startswith(REPOSITORY) and given.get(labels.KIND) in ("base", "image"):
                box = given.get("labctl.box") or tag.removeprefix(REPOSITORY).partition(":")[0]
                used = tuple(sorted(users.get(image["Id"], ())))
                found.append(
                    StockImage(tag, box, given[labels.KIND], int(image["Size"]), float(image["Created"]), used)
                )
    return tuple(sorted(found, key=lambda each: each.tag))


def unused(stock: Collection[StockImage]) -> tuple[StockImage, ...]:
    """Images without containers, baked ones before their bases; a base goes when nothing baked from its box stays."""
    baked = [each for each in stock if each.kind == "image" and not each.users]
    staying = {each.box for each in stock if each.kind == "image" and each.users}
    bases = [each for each in stock if each.kind == "base" and not each.users and each.box not in staying]
    return (*baked, *bases)
