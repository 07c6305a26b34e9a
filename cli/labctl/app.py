"""The `labctl` command: which commands there are, and the one place where errors and signals become exit codes."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from types import FrameType, MappingProxyType
from typing import Annotated, Any, NoReturn, Protocol, cast

import typer

from labctl import __version__
from labctl.commands.options import Output, OutputFormat
from labctl.errors import ExitCode, LabctlError

PANELS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "Lab": {
            "up": "lab",
            "plan": "lab",
            "status": "view",
            "ps": "view",
            "inspect": "view",
            "why": "why",
            "volume": "volume",
            "ls": "view",
            "test": "test",
            "ci": "ci",
            "snapshot": "snapshot",
            "down": "lab",
            "extend": "time",
            "gc": "time",
        },
        "Nodes": {
            "ssh": "access",
            "exec": "access",
            "cp": "access",
            "logs": "access",
            "forward": "access",
            "ssh-config": "access",
            "start": "lab",
            "stop": "lab",
            "halt": "lab",
            "restart": "lab",
            "suspend": "pause",
            "resume": "pause",
            "reload": "pause",
            "provision": "pause",
        },
        "Desktops": {"vnc": "desktop", "url": "desktop"},
        "Lab file": {
            "init": "language",
            "validate": "language",
            "config": "language",
            "schema": "language",
            "graph": "graph",
            "export": "export",
        },
        "Host": {"doctor": "doctor", "box": "box", "explain": "explain"},
    }
)
"""The panels of the help, in order: each command and the module of `labctl.commands` that registers it."""

EPILOG = (
    "Every flag can also be given as LABCTL_<COMMAND>_<FLAG>, for example LABCTL_UP_YES=1. "
    "Exit codes: 0 ok, 1 failed, 2 usage, 3 invalid lab file, 4 host not able, 5 timeout or not healthy, "
    "6 checks failed, 7 partly up, 8 busy, 9 no such lab, node or file, 10 plan --exit-code found changes."
)


class SignalledError(BaseException):
    """A signal asks the process to end: raised in the main thread, so that everything unwinds as it does on Ctrl-C.

    It is no `Exception`: nothing that handles errors swallows it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class _Command(Protocol):
    """What this module uses of the command object that Typer builds."""

    def main(self, args: Sequence[str], *, prog_name: str) -> object: ...


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run labctl with `arguments` (the process's own when None) and exit with the code that says how it went."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        # What is loaded stays: to look for garbage after every 700 new objects takes a twentieth of a short command.
        gc.set_threshold(50_000)
    _replace_closed_streams()
    with _signals_raise():
        code = _guarded(lambda: build(given).main(given, prog_name="labctl"), argv=given)
        code = _flush(code)
    if arguments is None or code >= ExitCode.HANGUP:
        # To take apart all that was loaded costs a fifth of a short command's time, and the system frees it anyway.
        # Threads of a step that was interrupted must not keep the process: they wait for answers that nobody wants.
        os._exit(code)
    sys.exit(code)


def build(arguments: Sequence[str]) -> _Command:
    """The command line's parser.

    When `arguments` begin with a command's name, only the module of that command is imported; otherwise (help, a word
    that is no command, completion) all are. For the list of all commands their parameters are not read.
    """
    app = typer.Typer(
        name="labctl",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"auto_envvar_prefix": "LABCTL", "help_option_names": ["-h", "--help"]},
        epilog=EPILOG,
    )
    app.callback()(_root)
    app.command("version", rich_help_panel="Host")(_version)
    completing = "_LABCTL_COMPLETE" in os.environ
    first = arguments[0] if arguments and not completing else ""
    modules = {name: module for panel in PANELS.values() for name, module in panel.items()}
    for module in dict.fromkeys([modules[first]] if first in modules else modules.values()):
        _register(app, module)
    _arrange(app)
    if first in ("", "-h", "--help") and not completing:
        _forget_parameters(app)
    command = typer.main.get_command(app)
    _name_variables(command, "LABCTL")
    return cast(_Command, command)


def _register(app: typer.Typer, module: str) -> None:
    register: Callable[[typer.Typer], None] = import_module(f"labctl.commands.{module}").register
    register(app)


def _arrange(app: typer.Typer) -> None:
    """Give every command its panel and the order of `PANELS`."""
    order = {name: (panel, place) for panel, names in PANELS.items() for place, name in enumerate(names)}
    panels = list(PANELS)
    registered: list[Any] = [*app.registered_commands, *app.registered_groups]
    for command in registered:
        if command.name in order:
            command.rich_help_panel = order[command.name][0]

    def rank(command: Any) -> tuple[int, int]:
        panel, place = order.get(command.name, (panels[-1], 99))
        return panels.index(panel), place

    app.registered_commands.sort(key=rank)
    app.registered_groups.sort(key=rank)


def _forget_parameters(app: typer.Typer) -> None:
    """Leave of every command its name and help, all that the list of commands shows: reading signatures takes time."""
    for command in app.registered_commands:

        def listed() -> None: ...

        listed.__name__, listed.__doc__ = command.name or "", getattr(command.callback, "__doc__", None)
        command.callback = listed


def _name_variables(command: Any, prefix: str) -> None:
    """Set ``LABCTL_<COMMAND>_<FLAG>`` for every option by its longest flag, whatever its parameter is called."""
    for parameter in command.params:
        if parameter.param_type_name == "option":
            flag = max(parameter.opts, key=len).lstrip("-")
            parameter.envvar = f"{prefix}_{flag}".upper().replace("-", "_") if parameter.expose_value else None
            parameter.allow_from_autoenv = parameter.show_envvar = False
    for name, child in getattr(command, "commands", {}).items():
        _name_variables(child, f"{prefix}_{name}")


# ---------------------------------------------------------------- what belongs to no other command


def _print_version(value: bool) -> None:  # noqa: FBT001 - the signature that Typer asks for
    if value:
        typer.echo(f"labctl {__version__}")
        raise typer.Exit


def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """One YAML file becomes a running lab: nodes, networks, desktops in the browser, shared storage."""


def _version(output: Output = OutputFormat.TABLE) -> None:
    """Print the versions of labctl and of what it runs on."""
    from labctl.documents.make import version_document
    from labctl.ui.show import show

    document = version_document(__version__)
    show(document, output, table=lambda: typer.echo(f"labctl {__version__}, Python {document.python}"))


# ---------------------------------------------------------------- errors and signals


def _guarded(run: Callable[[], object], *, argv: Sequence[str]) -> int:
    """Run it and return the exit code; whatever went wrong has been said on stderr."""
    try:
        run()
    except SystemExit as exit_:
        code = exit_.code
        if _was_interrupted(exit_):
            _say_interrupted()
        return code if isinstance(code, int) else int(code is not None)
    except KeyboardInterrupt:
        _say_interrupted()
        return int(ExitCode.INTERRUPTED)
    except SignalledError as signalled:
        return signalled.exit_code
    except LabctlError as error:
        return _said(error)
    except BrokenPipeError:
        return int(ExitCode.FAILED)
    except OSError as error:
        from labctl.ui.refused import explained

        plain = explained(error)
        return _said(plain) if plain is not None else _unexpected(error, argv)
    except Exception as error:  # noqa: BLE001 - the boundary: what nobody foresaw is logged and said in one sentence
        return _unexpected(error, argv)
    return int(ExitCode.OK)


def _said(error: LabctlError) -> int:
    from labctl.ui.errors import print_error

    with suppress(OSError):
        print_error(error)
    return int(error.exit_code)


def _unexpected(error: Exception, argv: Sequence[str]) -> int:
    from labctl.ui.errors import print_unexpected

    with suppress(OSError):
        print_unexpected(error, argv=argv)
    return int(ExitCode.FAILED)


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is at the bottom of `error`: Typer turns it into an exit, which `exec` has of its own too."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _say_interrupted() -> None:
    with suppress(OSError):  # the terminal may be gone
        sys.stderr.write("interrupted\n")
        sys.stderr.flush()


def _replace_closed_streams() -> None:
    """Let a stream that the caller closed (``>&-``) lead nowhere: Python has None in its place.

    Closed descriptors are filled in the same stroke, or the next file that is opened would take what is printed.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open as long as the process


def _flush(code: int) -> int:
    """Write what is still buffered, so that a reader that went away is noticed here and not by the interpreter.

    Returns the exit code: `code`, but that of a failure when all went well and the output cannot be written.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, stream.fileno())
            os.close(devnull)
            if code == ExitCode.OK and not isinstance(error, BrokenPipeError):
                from labctl.ui.refused import unwritten

                code = _said(unwritten(error))
    return code


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into `SignalledError`, unless whoever started us chose to ignore them (``nohup``)."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        raise SignalledError(number)

    watched = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, on_signal) for number in watched}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
