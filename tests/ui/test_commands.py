"""All commands together: where they are registered, what `--help` imports, and the variable of every flag."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from labctl.app import EPILOG, PANELS, build
from labctl.errors import ExitCode

HEAVY = ("docker", "paramiko", "pydantic", "yaml", "jinja2", "vagrant", "platformdirs", "labctl.model", "labctl.api")


def commands(root: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in root.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*prefix, name))
        else:
            yield (*prefix, name), command


ROOT: Any = build(["all of them"])
ALL = dict(commands(ROOT))
FLAGS = [
    (path, parameter)
    for path, command in ALL.items()
    for parameter in command.params
    if parameter.param_type_name == "option" and parameter.expose_value
]


def test_every_command_is_where_the_panels_say() -> None:
    named = {name for panel in PANELS.values() for name in panel}
    assert set(ROOT.commands) == {*named, "version"}
    for name in named:
        assert name in build([name]).commands, f"{name} is not registered by its module"  # type: ignore[attr-defined]


def test_a_command_that_is_named_is_the_only_module_imported() -> None:
    code = (
        "import sys; from labctl.app import build; build(['ls']); print([m for m in sys.modules if 'commands.' in m])"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "labctl.commands.view" in seen
    assert "labctl.commands.lab" not in seen


def test_the_list_of_commands_is_that_of_all_commands() -> None:
    listed: Any = build(["--help"])
    assert {name: command.help for name, command in listed.commands.items()} == {
        name: command.help for name, command in ROOT.commands.items()
    }
    assert [command.rich_help_panel for command in listed.commands.values()] == [
        command.rich_help_panel for command in ROOT.commands.values()
    ]


def test_help_loads_nothing_heavy() -> None:
    code = f"""
import sys
from labctl.app import main
try:
    main(["--help"])
except SystemExit as exit_:
    assert exit_.code == 0
print("LOADED", [name for name in {HEAVY!r} if name in sys.modules])
"""
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert seen.splitlines()[-1] == "LOADED []"
    assert all(panel in seen for panel in PANELS)


@pytest.mark.parametrize("path", ALL, ids="-".join)
def test_every_command_says_what_it_does(path: tuple[str, ...]) -> None:
    words = ALL[path].help
    assert words
    assert words[0].isupper()
    assert all(parameter.help for parameter in ALL[path].params if hasattr(parameter, "help")), "a flag has no help"


@pytest.mark.parametrize(
    ("path", "parameter"), FLAGS, ids=lambda value: "-".join(value) if isinstance(value, tuple) else value.name
)
def test_every_flag_has_its_variable(path: tuple[str, ...], parameter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    flag = max(parameter.opts, key=len).lstrip("-")
    variable = "_".join(["LABCTL", *path, flag]).upper().replace("-", "_")
    monkeypatch.setenv(variable, "1")
    context: Any = ROOT.make_context("labctl", [path[0]], resilient_parsing=True)
    for name in path:
        command = context.command.commands[name]
        context = command.make_context(name, [], parent=context, resilient_parsing=True)
    _, source = parameter.consume_value(context, {})
    assert source.name == "ENVIRONMENT"


def test_a_variable_reaches_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LABCTL_VERSION_OUTPUT", "name")
    with pytest.raises(SystemExit):
        build(["version"]).main(["version"], prog_name="labctl")
    assert capsys.readouterr().out == "0.1.0\n"


def test_flags_mean_the_same_everywhere() -> None:
    """One short flag, one meaning: the conventions that users rely on."""
    meanings = {"-f": "--file", "-n": "--name", "-q": "--quiet", "-v": "--verbose", "-y": "--yes", "-o": "--output"}
    for path, parameter in FLAGS:
        for short, long in meanings.items():
            if short in parameter.opts:
                assert long in parameter.opts, f"{' '.join(path)} {short}"


def test_the_help_has_every_exit_code_of_labctl() -> None:
    """Those of a command in a node, from 124, are in the help of `exec`."""
    said = [int(code) for code in re.findall(r"(?<= )\d+(?= [a-z])", EPILOG.partition("Exit codes:")[2])]
    assert said == [int(code) for code in ExitCode if code < ExitCode.CHILD_TIMEOUT]


def test_quiet_promises_nothing_to_read() -> None:
    """`up -q`, `down -q` and the others print nothing when all is well; -o name is what prints names."""
    helps = {str(parameter.help) for _, parameter in FLAGS if "-q" in parameter.opts}
    assert helps == {"Show no progress, only errors."}
