"""What `labctl` loads: help and completion are used often, so that heavy packages must not be on their path."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"docker", "paramiko", "pydantic", "yaml", "jinja2", "vagrant", "requests", "cryptography"}
MODULES_OF = {"pyyaml": "yaml", "python-vagrant": "vagrant"}
BRINGS = {"docker": {"requests", "urllib3"}, "pydantic": {"pydantic_core"}, "paramiko": {"cryptography"}}
"""Packages whose types another one's own interface hands out (exceptions, keys): they cannot go without a new version
of it that breaks its users.
"""

SCRIPT = """
import sys
from labctl.app import main
try:
    main({arguments!r})
except SystemExit as exit:
    code = exit.code
sys.stderr.write("LOADED " + " ".join(sorted({{name.partition(".")[0] for name in sys.modules}})))
raise SystemExit(code)
"""


def loaded_by(*arguments: str) -> set[str]:
    """The top-level packages in memory after ``labctl ARGUMENTS``."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(arguments=list(arguments))], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 2), done.stderr
    return set(done.stderr.rpartition("LOADED ")[2].split())


EXTRA = {"pytest_plugin.py": {"pytest"}, "scripting.py": {"testinfra"}}
"""What only ``labctl[pytest]`` brings, and the modules that are for it."""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_by(*arguments) & HEAVY == set()


@pytest.mark.parametrize("arguments", [["up", "--help"], ["doctor", "--help"]])
def test_help_of_a_command_loads_nothing_heavy(arguments: list[str]) -> None:
    """Typer itself loads pydantic for a command's parameters."""
    assert loaded_by(*arguments) & (HEAVY - {"pydantic"}) == set()


def test_everything_imported_is_declared() -> None:
    """A package that is there because another one needs it may go with the other's next version."""
    import ast

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [Requirement(line).name.lower() for line in project["dependencies"]]
    brought = {module for name, modules in BRINGS.items() if name in names for module in modules}
    declared = brought | {MODULES_OF.get(name, name) for name in names} | {"labctl"} | set(sys.stdlib_module_names)
    undeclared = {}
    for path in (ROOT / "cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            else:
                continue
            for name in names:
                if name.partition(".")[0] not in declared | EXTRA.get(path.name, set()):
                    undeclared[f"{path.relative_to(ROOT)}:{node.lineno}"] = name
    assert undeclared == {}


def test_this_is_the_checkout() -> None:
    """The tests must not run against another labctl that happens to be installed."""
    import labctl

    assert Path(labctl.__file__).is_relative_to(ROOT / "cli"), sysconfig.get_path("purelib")
