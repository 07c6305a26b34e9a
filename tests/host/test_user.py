"""Who runs labctl, and whose home directory `~` means."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from labctl.probe.user import invoking_user

SOMEBODY = next(entry for entry in pwd.getpwall() if entry.pw_uid != 0)


def test_without_sudo_it_is_the_process_and_its_home() -> None:
    user = invoking_user({"HOME": "/somewhere"}, uid=0)
    assert (user.name, user.uid, user.home) == ("root", 0, Path("/somewhere"))


def test_without_home_the_password_database_counts() -> None:
    assert invoking_user({}, uid=0).home == Path(pwd.getpwuid(0).pw_dir)
    assert invoking_user({"HOME": ""}, uid=0).home == Path(pwd.getpwuid(0).pw_dir)


@pytest.mark.parametrize(
    "environ",
    [
        {"SUDO_UID": str(SOMEBODY.pw_uid), "SUDO_USER": SOMEBODY.pw_name, "HOME": "/root"},
        {"PKEXEC_UID": str(SOMEBODY.pw_uid)},
        {"DOAS_USER": SOMEBODY.pw_name},
    ],
)
def test_under_sudo_it_is_the_caller(environ: dict[str, str]) -> None:
    user = invoking_user(environ, uid=0)
    assert (user.name, user.uid, user.gid, user.home) == (
        SOMEBODY.pw_name,
        SOMEBODY.pw_uid,
        SOMEBODY.pw_gid,
        Path(SOMEBODY.pw_dir),
    )


def test_variables_of_sudo_are_believed_of_root_only() -> None:
    user = invoking_user({"SUDO_UID": "0", "HOME": "/home/x"}, uid=SOMEBODY.pw_uid)
    assert user.uid == SOMEBODY.pw_uid
    assert invoking_user({"SUDO_UID": str(SOMEBODY.pw_uid)}, uid=4_000_000).uid == 4_000_000


@pytest.mark.parametrize("value", ["", "abc", "-1", "4000000", "0", "1 2"])
def test_nonsense_of_sudo_is_root_itself(value: str) -> None:
    assert invoking_user({"SUDO_UID": value, "HOME": "/root"}, uid=0).uid == 0


def test_a_number_without_a_name() -> None:
    user = invoking_user({"HOME": "/data"}, uid=4_000_000)
    assert (user.name, user.home, user.gid) == ("4000000", Path("/data"), os.getegid())
