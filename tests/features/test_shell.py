"""Services and values as sh: what a shell makes of them is what the lab file said."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.features.shell import assignments, command_line, launcher
from labctl.recipe import Service

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


def sh(script: str) -> str:
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout


@given(TEXT)
def test_values_survive(value: str) -> None:
    script = assignments([("VALUE", value)]) + 'printf %s "$VALUE"'
    ran = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    assert ran.stdout == value.encode()


@given(st.lists(TEXT, min_size=1, max_size=4))
def test_a_list_is_run_as_it_is(words: list[str]) -> None:
    assert shlex.split(command_line(("printf", *words))) == ["printf", *words]


def test_a_string_goes_through_a_shell() -> None:
    assert sh(command_line("echo one; echo 'it'\"'\"'s'")) == "one\nit's\n"


def test_a_launcher_becomes_its_command() -> None:
    text = launcher(Service(name="web", command=("echo", "a b"), environment=(("GREETING", "it's"),)))
    assert text.startswith("#!/bin/sh\n")
    assert text.splitlines()[-1] == "exec echo 'a b'"
    assert "GREETING='it'\"'\"'s'" in text
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)


@pytest.mark.parametrize("command", ["a 'quoted' $word", ("list", "of words")])
def test_another_user_runs_it(command: str | tuple[str, ...]) -> None:
    text = launcher(Service(name="web", command=command, user="www-data", prepare=("true",), wait_for="[ -e /x ]"))
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)
    last = shlex.split(text.splitlines()[-1])
    assert last[:2] == ["exec", "setpriv"]
    assert last[last.index("--") + 1 :] == (["sh", "-c", command] if isinstance(command, str) else list(command))
    # Root prepares, and only when what is waited for holds.
    assert text.index("until [ -e /x ]") < text.index("\ntrue\n") < text.index("setpriv")
