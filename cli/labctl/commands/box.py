"""`labctl box`: the operating systems that nodes can have, made beforehand or removed."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.commands.complete import complete_nodes
from labctl.commands.options import File, Name, Output, OutputFormat, Progress, ProgressMode, Quiet, Verbose, Yes

if TYPE_CHECKING:
    from labctl.boxes import Removed
    from labctl.documents.model import BoxesDocument


def _boxes(incomplete: str) -> list[str]:
    from labctl.assets import assets

    return sorted(path.stem for path in assets("boxes").glob("*.yaml") if path.stem.startswith(incomplete))


Box = Annotated[str, typer.Argument(metavar="BOX", help="A box.", autocompletion=_boxes)]
Boxes = Annotated[list[str], typer.Argument(metavar="BOX...", help="Boxes.", autocompletion=_boxes)]


def register(app: typer.Typer) -> None:
    """Add the command group of this module to `app`."""
    group = typer.Typer(no_args_is_help=True, help="The operating systems of nodes: made, taken in, given to others.")
    for name, command in (
        ("list", list_boxes),
        ("build", build),
        ("add", add),
        ("verify", verify),
        ("package", package),
        ("serve", serve),
        ("remove", remove),
        ("prune", prune),
    ):
        group.command(name)(command)
    app.add_typer(group, name="box")


def list_boxes(*, output: Output = OutputFormat.TABLE) -> None:
    """List the boxes and what of them is on this host."""
    from labctl import boxes
    from labctl.ui.show import show

    document = boxes.document(boxes.engine())
    show(document, output, table=lambda: _print(document))


class Kind(StrEnum):
    """What a box is made for."""

    DOCKER = "docker"
    VAGRANT = "vagrant"
    BOTH = "both"


def build(
    name: Box,
    *,
    kind: Annotated[Kind, typer.Option("--for", help="Containers, virtual machines, or both.")] = Kind.DOCKER,
    progress: ProgressMode = Progress.AUTO,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make the images of a plain node (or the box of its machine) beforehand, so that the first `up` has them."""
    from labctl import boxes
    from labctl.commands.session import Session

    docker = boxes.engine()
    plan = boxes.plan(name, docker, ("docker", "vagrant") if kind is Kind.BOTH else (kind.value,))
    with Session(name, progress, quiet=quiet, verbose=verbose) as session:
        outcome = boxes.build(docker, plan, session.emit)
        session.finish(outcome)
    for error in outcome.failed.values():
        raise error


def add(
    source: Annotated[str, typer.Argument(metavar="FILE|URL", help="A box file that labctl made.")],
    *,
    sha256: Annotated[str, typer.Option("--sha256", metavar="DIGEST", help="What its digest has to be.")],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What it is called here; else what it calls itself.")
    ] = None,
) -> None:
    """Take in the box of a virtual machine from a file or URL; one with another digest is refused."""
    from labctl import machineboxes

    added = machineboxes.add(source, sha256, name)
    if isinstance(added, str):
        typer.echo(f"{added} is here, and is not made again", err=True)
    else:
        typer.echo(f"nodes get it with `box: {added.name}` and `provider: vagrant`", err=True)


def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[BOX...]", help="Boxes; all when none is named.")
    ] = None,
) -> None:
    """Look into the files of virtual machines' boxes: the digest, and that all is there and whole."""
    from labctl import machineboxes
    from labctl.errors import LabctlError

    verdicts = machineboxes.verify(names or ())
    for each in verdicts:
        if each.faults:
            typer.echo(f"{each.name}: broken: {'; '.join(each.faults)}")
        else:
            typer.echo(f"{each.name}: {'sound' if each.digest else 'sound, but nobody wrote its digest down'}")
    broken = [each.name for each in verdicts if each.faults]
    if broken:
        raise LabctlError(
            f"broken: {', '.join(broken)}",
            hint=f"remove what is broken, and it is made again: labctl box remove {' '.join(broken)}",
            code="LAB-IMG-007",
        )


def package(
    node: Annotated[str, typer.Argument(metavar="NODE", help="A node that runs.", autocompletion=complete_nodes)],
    *,
    called: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="What to call it; LAB-NODE when left out.")
    ] = None,
    file: File = None,
    name: Name = None,
) -> None:
    """Make of a running node what others can have: of a virtual machine a box, of a container an image."""
    from labctl import api, packaging

    lab = api.open_lab(api.find_lab(file, name))
    found = lab.node(node)
    made = packaging.package(lab, found, called or f"{lab.name}-{found.name}", lambda line: typer.echo(line, err=True))
    where = " and `provider: vagrant`" if made.key == "box" else ""
    typer.echo(f"nodes get it with `{made.key}: {made.name}`{where}", err=True)
    if made.path:
        typer.echo(made.path)
        typer.echo(f"on another host: labctl box add FILE --sha256 {made.sha256}", err=True)


def serve(
    *,
    port: Annotated[int, typer.Option("--port", help="Where to listen; 0 takes a free port.", max=65535, min=0)] = 0,
    address: Annotated[
        str, typer.Option("--address", help="On which address; others than 127.0.0.1 let everybody in who reaches it.")
    ] = "127.0.0.1",
) -> None:
    """Offer the boxes of virtual machines over HTTP, for `vagrant box add` and `labctl box add`, until interrupted."""
    from labctl import machineboxes
    from labctl.providers.vagrant.serve import Server

    with Server(machineboxes.offers, address, port) as server:
        typer.echo(server.address)
        for line in server.described():
            typer.echo(line, err=True)
        server.serve()


def remove(names: Boxes, *, yes: Yes = False) -> None:
    """Remove all images and virtual machines' boxes of a name; refused while a lab uses one."""
    from labctl import boxes
    from labctl.ui.confirm import confirm

    docker = boxes.engine()
    confirm(f"all images and boxes of {', '.join(names)} are removed; go on?", yes=yes)
    _report(boxes.remove(docker, names))


def prune(*, yes: Yes = False) -> None:
    """Remove labctl's images and boxes that no lab uses; a later `up` makes again what it needs."""
    from labctl import boxes
    from labctl.ui.confirm import confirm

    docker = boxes.engine()
    confirm("all images and boxes of labctl that no lab uses are removed; go on?", yes=yes)
    _report(boxes.prune(docker))


def _print(document: BoxesDocument) -> None:
    from labctl.ui.tables import print_table

    rows = [
        (
            box.name + (" (default)" if box.default else ""),
            box.title,
            "ready" if box.base else "not here",
            f"{box.images} ({box.used} used)" if box.images else "",
            _bytes(box.size) if box.size else "",
            f"{box.machines} ({_bytes(box.machines_size)})" if box.machines else "",
        )
        for box in document.boxes
    ]
    print_table(("BOX", "SYSTEM", "BASE", "IMAGES", "SIZE", "VM BOXES"), rows)


def _report(removed: Removed) -> None:
    for tag in removed.tags:
        typer.echo(tag)
    rest = f" and {removed.leftovers} leftovers of ended builds" if removed.leftovers else ""
    typer.echo(f"removed {len(removed.tags)} images and boxes{rest}, up to {_bytes(removed.size)}", err=True)


def _bytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
