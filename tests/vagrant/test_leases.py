"""The end of a lab of machines, as libvirt keeps it. Nothing is started."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl import api, garbage
from labctl.lab import LabDirectory, home
from labctl.providers.vagrant import leases, libvirt

pytestmark = pytest.mark.vm


@pytest.fixture
def lab() -> Iterator[str]:
    """The name of a lab of which nothing is there."""
    name = f"w-end-{secrets.token_hex(2)}"
    yield name
    leases.take_back(name)


def test_the_end_of_a_lab_is_seen_by_all_and_moved(lab: str) -> None:
    end = float(int(time.time()) + 3600)
    leases.give(lab, expires=end, directory="/srv/<it>&", owner="ana")
    assert not LabDirectory(home(), lab).exists  # the lab of another home
    _, observed = api.look(lab)
    assert observed.expires == end
    assert (observed.nodes, observed.networks) == ({}, {})
    leases.give(lab, expires=end + 60, directory="/srv/<it>&", owner="ana")
    (seen,) = (each for each in api.labs() if each.name == lab)
    assert (seen.expires, seen.networks, seen.directories) == (end + 60, 0, frozenset({"/srv/<it>&"}))
    assert garbage.find(lab=lab) == []
    leases.take_back(lab)
    leases.take_back(lab)
    assert api.look(lab)[1].expires is None


def test_a_lab_whose_time_is_over_is_removed(lab: str, tmp_path: Path) -> None:
    leases.give(lab, expires=time.time() - 10, directory=str(tmp_path), owner="ana")
    (found,) = garbage.find(lab=lab)
    assert isinstance(found.target, garbage.Expired)
    assert garbage.remove([found]) == {}
    assert [each.name for each in libvirt.networks(f"labctl-{lab}-")] == []
