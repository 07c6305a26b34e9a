"""The commands that run something in nodes: ssh, exec, ssh-config."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from labctl.commands import files
from labctl.commands.complete import complete_nodes
from labctl.commands.options import File, Name, parse_duration
from labctl.commands.reach import (
    CommandAfterDashes,
    as_child,
    environment_of,
    meant_lab,
    split_command,
)
from labctl.errors import ExitCode, LabctlError, UsageError
from labctl.world import require_running

if TYPE_CHECKING:
    from labctl.api import RunningLab
    from labctl.plan.model import ObservedNode
    from labctl.providers.session import Session

Terminal = Annotated[
    bool | None,
    typer.Option(
        "-t/-T",
        "--tty/--no-tty",
        help="Give the command a terminal; as labctl has one itself if left out.",
        show_default=False,
    ),
]
_SHELL = ["sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash -l || exec sh -l"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module and of `files` to `app`."""
    app.command("ssh", cls=CommandAfterDashes)(ssh)
    app.command("exec", cls=CommandAfterDashes)(exec_)
    app.command("ssh-config")(ssh_config)
    files.register(app)


# ---------------------------------------------------------------- ssh


def ssh(
    ctx: typer.Context,
    *,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="NODE [-- COMMAND...]", help="A node, and what to run in it.", autocompletion=complete_nodes
        ),
    ],
    user: Annotated[
        str, typer.Option("-u", "--user", metavar="USER", help="Log in as this user.", show_default=False)
    ] = "lab",
    file: File = None,
    name: Name = None,
) -> None:
    """Open a shell on a node, or run a command in one.

    Box nodes are reached by this host's ssh client; one word is a line for the node's shell, several words are one
    command as it stands. In nodes made from an `image:` it is a shell by exec, as root.
    """
    nodes, command = split_command(ctx, words)
    with as_child():
        if len(nodes) != 1:
            raise UsageError("ssh needs one node", hint="labctl exec runs a command in several")
        lab = meant_lab(file, name)
        node = lab.node(nodes[0])
        require_running([node])
        if node.kind == "image" or not node.addresses:
            raise typer.Exit(_shell_by_exec(lab, node, command, user))
        _require_login(lab, node, user)
        _become(_ssh_command(lab, node, command, user))


def _ssh_command(lab: RunningLab, node: ObservedNode, command: Sequence[str], user: str) -> list[str]:
    import shlex
    import shutil

    client = shutil.which("ssh")
    if client is None:
        raise LabctlError(
            "this host has no ssh client",
            hint=f"sudo apt install openssh-client; without it: labctl exec -u {user} {node.name} -- bash -l",
            code="LAB-RUN-004",
        )
    config = _existing_config(lab)
    line = [client, "-F", str(config), *(["-l", user] if user != "lab" else [])]
    if not command:
        return [*line, node.name]
    terminal = ["-t"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    # ssh joins its words with spaces for the node's shell: quoted, they arrive as they are.
    return [*line, *terminal, node.name, "--", command[0] if len(command) == 1 else shlex.join(command)]


def _require_login(lab: RunningLab, node: ObservedNode, user: str) -> None:
    """Raise `LabctlError` when ssh would refuse the user: sshd says that of every user in the same words.

    Somebody whom the lab file does not know may still have a key there: a run step may have made the account.
    """
    if user == "lab":
        return
    known = ["lab", *(_users(lab, node) or ())]
    if user in known or (user != "root" and _has_keys(lab, node, user)):
        return
    raise LabctlError(
        f"{user} cannot log in to {node.name} by ssh",
        details=[f"these can: {', '.join(dict.fromkeys(known))}"],
        hint=f"labctl exec {'' if user == 'root' else f'-u {user} '}{node.name} -- bash -l",
        code="LAB-RUN-003",
    )


def _users(lab: RunningLab, node: ObservedNode) -> list[str] | None:
    """The further users to whom the lab file gives a key for the node; None when it is not known."""
    from labctl import api

    source = lab.directory.source()
    try:
        made_from = api.load_lab(source[0]) if source and source[0] else None
    except LabctlError:
        return None
    if made_from is None or node.name not in made_from.nodes:
        return None
    return [user.name for user in made_from.nodes[node.name].users if user.ssh_keys]


def _has_keys(lab: RunningLab, node: ObservedNode, user: str) -> bool:
    """Whether sshd finds keys for the user in the node."""
    script = 'for f in "/etc/lab/authorized_keys/$1" "$(getent passwd "$1" | cut -d: -f6)/.ssh/authorized_keys"'
    script += '; do [ ! -s "$f" ] || exit 0; done; exit 1'
    return lab.shell(node).run(("sh", "-c", script, "sh", user), timeout=20.0).code == 0


def _existing_config(lab: RunningLab) -> Path:
    if not lab.directory.ssh_config.is_file():
        raise LabctlError(
            f"the ssh configuration of lab {lab.name} is not on this host",
            hint="`labctl up` writes it again",
            code="LAB-LAB-005",
        )
    return lab.directory.ssh_config


def _become(command: list[str]) -> NoReturn:
    """Replace this process, with the signal that Python ignores back to what programs expect."""
    import signal

    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(command[0], command)


def _shell_by_exec(lab: RunningLab, node: ObservedNode, command: Sequence[str], user: str) -> int:
    argv = (["sh", "-c", command[0]] if len(command) == 1 else list(command)) or _SHELL
    box = node.kind == "box"
    return _here(
        _opener(lab, node, argv, user=user if box or user != "lab" else "root", directory="/home/lab" if box else None),
        terminal=None,
        timeout=None,
    )


# ---------------------------------------------------------------- exec


def exec_(
    ctx: typer.Context,
    *,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="NODE... -- COMMAND...", help="Nodes or groups, and what to run.", autocompletion=complete_nodes
        ),
    ],
    user: Annotated[str, typer.Option("-u", "--user", metavar="USER", help="Run as this user of the node.")] = "root",
    env: Annotated[
        list[str] | None,
        typer.Option("-e", "--env", metavar="NAME[=VALUE]", help="A variable; the caller's own without a value."),
    ] = None,
    workdir: Annotated[
        str | None, typer.Option("-w", "--workdir", metavar="DIR", help="The directory to run in.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="DURATION", parser=parse_duration, help="End it after this time."),
    ] = None,
    tty: Terminal = None,
    file: File = None,
    name: Name = None,
) -> None:
    """Run a command in nodes, as root.

    One node: its bytes pass unchanged both ways, and its exit code is labctl's. Several: at once, every line behind
    the name of its node, without input; the exit code is the highest. 124 is a timeout, 125 labctl's own failure.
    """
    nodes, command = split_command(ctx, words)
    if not command:
        raise UsageError("what to run is missing", hint="labctl exec NODE -- COMMAND")
    with as_child():
        given = _variables(env or (), os.environ)
        lab = meant_lab(file, name)
        chosen = lab.nodes(nodes)
        if len(chosen) > 1 and tty:
            raise UsageError("a terminal belongs to one node", hint="leave -t out, or name one node")
        openers = {node.name: _opener(lab, node, command, user=user, given=given, directory=workdir) for node in chosen}
        if len(chosen) == 1:
            require_running(chosen)
            code = _here(openers[chosen[0].name], terminal=tty, timeout=timeout)
        else:
            code = _everywhere(openers, timeout=timeout)
    raise typer.Exit(code)


_Opener = Callable[..., "Session"]


def _opener(
    lab: RunningLab,
    node: ObservedNode,
    command: Sequence[str],
    *,
    user: str,
    given: Mapping[str, str] | None = None,
    directory: str | None = None,
) -> _Opener:
    """Starts the command in the node when it is called, with or without a terminal and standard input."""

    def start(*, terminal: bool = False, stdin: bool = False) -> Session:
        from labctl.access.session import terminal_environment

        require_running([node])
        access = lab.provider.access(node)
        variables = environment_of(node, access) | (terminal_environment(os.environ) if terminal else {})
        return access.open(
            command,
            user=user,
            environment=variables | dict(given or {}),
            directory=directory,
            terminal=terminal,
            stdin=stdin,
        )

    return start


def _has_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def _here(opener: _Opener, *, terminal: bool | None, timeout: float | None) -> int:
    from labctl.access.session import run_here

    tty = _has_terminal() if terminal is None else terminal
    stdin = sys.stdin.buffer if sys.stdin is not None else None
    sys.stdout.flush()
    return run_here(
        lambda: opener(terminal=tty, stdin=stdin is not None),
        stdin=stdin,
        stdout=sys.stdout.buffer,
        stderr=sys.stderr.buffer,
        terminal=tty,
        timeout=timeout,
    )


def _everywhere(openers: Mapping[str, _Opener], *, timeout: float | None) -> int:
    import threading

    from labctl.access.many import Prefixed, run_in_all
    from labctl.ui.errors import print_error

    output = Prefixed(list(openers), sys.stdout.buffer, sys.stderr.buffer)
    outcomes = run_in_all(openers, output, timeout=timeout, stop=threading.Event())
    for outcome in outcomes:
        if outcome.error is not None:
            print_error(outcome.error)
        elif outcome.code == ExitCode.CHILD_TIMEOUT and timeout is not None:
            sys.stderr.write(f"{outcome.node}: the command did not end within {timeout:g} s, and was ended\n")
    return max(outcome.code for outcome in outcomes)


def _variables(given: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of ``-e NAME=VALUE`` and ``-e NAME``. Raises `UsageError`."""
    found = {}
    for word in given:
        key, equals, value = word.partition("=")
        if not key:
            raise UsageError(f"-e {word} names no variable", hint="write -e NAME=VALUE")
        if equals:
            found[key] = value
        elif key in environ:
            found[key] = environ[key]
    return found


# ---------------------------------------------------------------- ssh-config


def ssh_config(
    *,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="Write it to FILE instead (0600).")
    ] = None,
    show: Annotated[bool, typer.Option("--print", help="Print it; so it does without any option.")] = False,
    path: Annotated[bool, typer.Option("--path", help="Print the path of labctl's own copy, kept up to date.")] = False,
    file: File = None,
    name: Name = None,
) -> None:
    """Print the lab's ssh configuration, for ssh -F, scp, rsync, VS Code Remote, Ansible.

    `Host` is the bare name of a node. To have `ssh NODE` everywhere, put the line `Include PATH` with the path that
    --path prints at the top of ~/.ssh/config.
    """
    if path and (write or show):
        raise UsageError("--path stands alone")
    config = _existing_config(meant_lab(file, name))
    if path:
        typer.echo(str(config))
        return
    text = config.read_text(encoding="utf-8")
    if write is None or show:
        typer.echo(text, nl=False)
    if write is not None:
        try:
            write.touch(mode=0o600)
            write.write_text(text, encoding="utf-8")
        except OSError as error:
            raise LabctlError(f"{write} cannot be written: {error.strerror}", code="LAB-USE-003") from error
