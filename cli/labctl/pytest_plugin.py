"""Labs in tests: the fixture `lab`, made as the marker says, shared as long as it says, with evidence of failures.

.. code-block:: python

    @pytest.mark.lab("lab.yaml", scope="module")
    def test_site(lab):
        assert "hello" in lab["dev"].run("curl -s http://web/").stdout

Every lab has a name, subnets and host ports of its own (``name="auto"``), so that workers of xdist do not meet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from labctl.scripting import Lab

_LABS = pytest.StashKey[dict[tuple[str, str], "Lab"]]()
_SCOPES: Mapping[str, type[pytest.Item | pytest.Collector]] = {
    "session": pytest.Session,
    "package": pytest.Package,
    "module": pytest.Module,
    "class": pytest.Class,
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where evidence goes."""
    group = parser.getgroup("labctl", "labs of labctl")
    group.addoption("--lab-evidence", metavar="DIR", help="keep logs and pictures of labs whose tests fail in DIR")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "lab(file_or_mapping, scope='function', **options): the lab that the fixture `lab` brings up; scope: function,"
        " class, module, package or session; options are those of labctl.Lab",
    )


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Lab:
    """The lab that the nearest marker ``lab`` describes; without one, that of ``lab.yaml`` beside the test or above."""
    marker = request.node.get_closest_marker("lab")
    args, options = (marker.args, dict(marker.kwargs)) if marker is not None else ((), {})
    scope = options.pop("scope", "function")
    if scope != "function" and scope not in _SCOPES:
        raise pytest.UsageError(f"lab: scope {scope!r} is none of function, {', '.join(_SCOPES)}")
    where = request.path.parent
    wanted = args[0] if args else _found(where)
    if not isinstance(wanted, Mapping):
        wanted = str(where / wanted)
    owner = request.node if scope == "function" else request.node.getparent(_SCOPES[scope]) or request.session
    labs = owner.stash.setdefault(_LABS, {})
    key = (json.dumps(wanted, sort_keys=True, default=str), json.dumps(options, sort_keys=True, default=str))
    if key not in labs:
        labs[key] = _made(wanted, options)
        owner.addfinalizer(lambda: labs.pop(key).down())
    made = labs[key]
    request.node.stash[_LABS] = {("", ""): made} | (labs if owner is request.node else {})
    return made


def _found(directory: Path) -> Path:
    for each in (directory, *directory.parents):
        if (each / "lab.yaml").is_file():
            return each / "lab.yaml"
    raise pytest.UsageError("the test names no lab, and there is no lab.yaml beside it: @pytest.mark.lab('FILE')")


def _made(wanted: str | Mapping[str, Any], options: Mapping[str, Any]) -> Lab:
    from labctl.scripting import AUTO, Lab

    return Lab(wanted, **{"name": AUTO, **options}).__enter__()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach what the lab of a failed test said."""
    report = yield
    labs = item.stash.get(_LABS, {})
    if report.when == "call" and report.failed:
        for made in {id(each): each for each in labs.values()}.values():
            _attach(report, made, item.config.getoption("--lab-evidence"))
    return report


def _attach(report: pytest.TestReport, made: Lab, directory: str | None) -> None:
    from labctl.ci.evidence import Mask, Report, secrets_of
    from labctl.errors import LabctlError

    place = Path(directory) / re.sub(r"[^\w.-]+", "-", report.nodeid).strip("-") if directory else None
    try:
        made.refresh()
        kept = Report(place, Mask(secrets_of(made._loaded.lab)))
        kept.collect(made.running, made._loaded.lab, seconds=15.0)
    except (LabctlError, OSError) as error:
        report.sections.append((f"lab {made.name}", str(error)))
        return
    for node, lines in kept.evidence.logs.items():
        report.sections.append((f"log of {node} in lab {made.name}", "\n".join(lines)))
    if place is not None:
        report.sections.append((f"evidence of lab {made.name}", str(place)))
