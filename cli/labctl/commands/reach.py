"""What the commands that reach into nodes share: a command after ``--``, running nodes, exit codes of children."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from labctl.errors import DeadlineError, ExitCode, LabctlError, NotFoundError

if TYPE_CHECKING:
    from labctl.api import RunningLab
    from labctl.plan.model import ObservedNode
    from labctl.providers.session import Access

_AFTER_DASHES = "labctl.after_dashes"
_CHILD = (ExitCode.CHILD_NOT_EXECUTABLE, ExitCode.CHILD_NOT_FOUND)

ENVIRONMENT = "/etc/lab/environment"
"""Where a box node keeps the lab file's `environment`, as sh assignments."""


class PlainUsage(TyperCommand):
    """Shows its arguments in the usage line as their metavars write them."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        metavars = (str(param.metavar) for param in self.params if param.param_type_name == "argument")
        return [self.options_metavar or "", *metavars]


class CommandAfterDashes(PlainUsage):
    """A command line that ends in a command of the node's: ``NODE… [OPTIONS] -- COMMAND…``.

    Without ``--`` options stand before the first NODE, and what follows it is the command.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--" in args:
            place = args.index("--")
            ctx.meta[_AFTER_DASHES] = args[place + 1 :]
            args = args[:place]
        else:
            ctx.allow_interspersed_args = False
        rest: list[str] = super().parse_args(ctx, args)
        return rest


def split_command(ctx: typer.Context, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The nodes and the command of a `CommandAfterDashes`, whose positional words are `words`."""
    after: list[str] | None = ctx.meta.get(_AFTER_DASHES)
    return (list(words), after) if after is not None else (list(words[:1]), list(words[1:]))


@contextmanager
def as_child() -> Iterator[None]:
    """labctl's own failures get exit codes apart from a child's: 125, and 124 for a timeout."""
    try:
        yield
    except LabctlError as error:
        if error.exit_code not in _CHILD:
            timeout = isinstance(error, DeadlineError)
            error.exit_code = ExitCode.CHILD_TIMEOUT if timeout else ExitCode.CHILD_FAILED
        raise


def meant_lab(file: list[str] | None, name: str | None) -> RunningLab:
    """The lab that the options mean, as it is now."""
    from labctl import api

    return api.open_lab(api.find_lab(file, name))


def environment_of(node: ObservedNode, access: Access) -> dict[str, str]:
    """The lab file's `environment` of a box node; an image node's commands have theirs from the engine."""
    import shlex

    if node.kind != "box":
        return {}
    try:
        text = read_file(access, ENVIRONMENT).decode(errors="replace")
        pairs = (word.partition("=") for word in shlex.split(text, comments=True))
        return {name: value for name, _, value in pairs if name.isidentifier()}
    except (NotFoundError, ValueError):
        return {}


def read_file(access: Access, path: str) -> bytes:
    """The content of one file of a node (no symlink), running or not. Raises `NotFoundError`."""
    import tarfile

    with access.pack(path) as stream, tarfile.open(mode="r|", fileobj=stream) as tar:
        member = tar.next()
        file = tar.extractfile(member) if member is not None and member.isreg() else None
        if file is None:
            raise NotFoundError(f"{path} is not a file", code="LAB-COPY-001")
        return file.read()
