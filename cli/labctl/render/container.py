"""Recipes as container images: a build context with a content address, for the classic builder and for BuildKit."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from hashlib import sha256

from labctl import features
from labctl.features.base import shipped
from labctl.plan.model import BakedImage, BaseImage
from labctl.recipe import Entry, Recipe, Trust
from labctl.render import services

_INIT = ("tini", "runit")

_NO_SYSTEMD = ("systemd-standalone-sysusers", "systemd-standalone-tmpfiles")
"""What openssh-server of Debian 13 takes instead of systemd, when it is named first."""

_ENVIRONMENT = "ENV LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def bake(base: BaseImage, recipe: Recipe, trust: Trust) -> BakedImage:
    """The image of all box nodes with this recipe.

    The layer that all nodes have in common comes first and is built once; then the features' packages, those of the
    lab file, and at last the files and build lines, which are cheap.
    """
    common = features.common()
    files = (*recipe.files, *services.runit(recipe.services))
    layers = [
        _install((*_NO_SYSTEMD, *_INIT, *common.packages), prepare=common.prepare),
        _install(_without(recipe.packages, common.packages), prepare=_without(recipe.prepare, common.prepare)),
        _install(_without(recipe.requested, recipe.packages)),
    ]
    end = ["STOPSIGNAL SIGHUP", "ENTRYPOINT []", _command("tini", "-g", "--", "/usr/lib/lab/boot")]
    return _image(base, layers, files, recipe.build, end, trust)


def bake_gateway(base: BaseImage, recipe: Recipe, trust: Trust) -> BakedImage:
    """The image of a lab's gateway: one program, run by a user of its own, without any privilege."""
    (service,) = recipe.services
    assert not isinstance(service.command, str)
    layers = [_install(("tini", *recipe.packages), prepare=recipe.prepare)]
    end = [
        "STOPSIGNAL SIGTERM",
        f"USER {service.user}",
        "ENTRYPOINT []",
        _command("tini", "--", *service.command),
    ]
    return _image(base, layers, recipe.files, recipe.build, end, trust)


def bake_storage(base: BaseImage, recipe: Recipe, trust: Trust) -> BakedImage:
    """The image of the containers that mount storage for nodes; the keeper is another program of it."""
    (service,) = recipe.services
    assert not isinstance(service.command, str)
    layers = [_install(("tini", *recipe.packages), prepare=recipe.prepare)]
    end = ["STOPSIGNAL SIGTERM", "ENTRYPOINT []", _command("tini", "--", *service.command)]
    return _image(base, layers, recipe.files, recipe.build, end, trust)


def _image(
    base: BaseImage,
    layers: Iterable[str],
    files: Sequence[Entry],
    build: Sequence[str],
    end: Sequence[str],
    trust: Trust,
) -> BakedImage:
    certificates = tuple(
        Entry(f"/usr/local/share/ca-certificates/lab-{number}.crt", certificate)
        for number, certificate in enumerate(trust.certificates, start=1)
    )
    system = (*shipped("container"), *certificates)
    lines = [f"FROM {base.tag}", "USER root", _ENVIRONMENT, *_copy("system", system)]
    if certificates:
        # Now for a package mirror behind https, and again below where the base has no certificates yet.
        lines.append("RUN ! command -v update-ca-certificates > /dev/null || update-ca-certificates")
    lines += [layer for layer in layers if layer]
    if certificates:
        lines.append("RUN update-ca-certificates")
    lines += _copy("files", files)
    if build:
        lines.append(_run(build))
    lines += end
    context = (
        Entry("/Dockerfile", ("\n".join(lines) + "\n").encode()),
        *_below("system", system),
        *_below("files", files),
    )
    digest = sha256(base.tag.encode())
    for entry in sorted(context, key=lambda each: each.path):
        digest.update(f"\0{entry.path}\0{entry.mode:o}\0{len(entry.content)}\0".encode() + entry.content)
    return BakedImage(tag=f"labctl/{base.box}:{digest.hexdigest()[:12]}", base=base, context=context)


def _install(packages: Sequence[str], *, prepare: Sequence[str] = ()) -> str:
    """One layer with `packages`, its package lists removed again; empty when there is nothing to install."""
    if not packages:
        return ""
    return _run(
        (
            *prepare,
            "export DEBIAN_FRONTEND=noninteractive",
            "apt-get update -q",
            f"apt-get install -q -y --no-install-recommends {shlex.join(packages)}",
            "rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log",
        )
    )


def _run(lines: Sequence[str]) -> str:
    return "RUN set -e; " + "; \\\n    ".join(lines)


def _command(*words: str) -> str:
    return f"CMD {json.dumps(list(words))}"


def _copy(directory: str, files: Sequence[Entry]) -> list[str]:
    """One COPY for each owner, since COPY makes everything root's."""
    owners = sorted({(entry.uid, entry.gid) for entry in files})
    return [f"COPY --chown={uid}:{gid} {directory}-{uid}-{gid}/ /" for uid, gid in owners]


def _below(directory: str, files: Sequence[Entry]) -> tuple[Entry, ...]:
    return tuple(
        Entry(f"/{directory}-{entry.uid}-{entry.gid}{entry.path}", entry.content, entry.mode) for entry in files
    )


def _without(words: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for word in words if word not in known)
