"""The documents: their schema is published and true, and no secret is ever in one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml

from labctl.documents import make
from labctl.documents.model import Document, names, plain, stamp
from labctl.documents.schema import schema, schema_text
from labctl.plan.model import ObservedLab, Plan, Step, Verb
from labctl.ui.show import show
from tests.ui.observed import CANARY, CREATED, lab, observed

PUBLISHED = Path(__file__).parents[2] / "docs" / "documents.schema.json"


def a_plan() -> Plan:
    web = observed().nodes["web-1"]
    stop = Step(Verb.STOP, "node/web-1", "its image differs", web)
    return Plan("shop", (stop, Step(Verb.REMOVE, "node/web-1", "as above", web, frozenset({stop.id}), destroys=True)))


DOCUMENTS: dict[str, Callable[[], Document]] = {
    "status": lambda: make.status_document(observed(), lab()),
    "status without the file": lambda: make.status_document(observed()),
    "inspect": lambda: make.inspect_document(observed(), ["web-1", "old", "late", "dev"], lab()),
    "labs": lambda: make.labs_document([ObservedLab("b", frozenset({"/b"}), 2, 1), ObservedLab("a", frozenset())]),
    "plan": lambda: make.plan_document(a_plan()),
    "empty plan": lambda: make.plan_document(Plan("shop")),
    "up": lambda: make.up_document(observed(), exit_code=0, seconds=1.23456, counts={"done": 2}, lab=lab()),
    "version": lambda: make.version_document("1.0"),
}


def test_schema_is_published_as_generated() -> None:
    assert PUBLISHED.read_text() == schema_text(), (
        "write it anew: python -m labctl.documents.schema > docs/documents.schema.json"
    )


def test_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("which", DOCUMENTS)
def test_documents_are_valid(which: str) -> None:
    data = json.loads(json.dumps(plain(DOCUMENTS[which]())))
    jsonschema.validate(data, schema())
    assert data["version"] == 1


def test_schema_refuses_what_is_no_document() -> None:
    data = plain(DOCUMENTS["status"]())
    data["nodes"][0]["stat"] = data["nodes"][0].pop("state")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, schema())


@pytest.mark.parametrize("which", DOCUMENTS)
def test_no_document_holds_a_secret(which: str) -> None:
    document = DOCUMENTS[which]()
    assert CANARY not in json.dumps(plain(document))
    assert CANARY not in repr(document)


def test_inspect_masks_values_and_keeps_their_names() -> None:
    inspected = make.inspect_document(observed(), ["web-1"], lab()).nodes[0].specification
    assert inspected is not None
    assert inspected.environment == {"TOKEN": "********"}
    assert inspected.files == ["/etc/secret"]
    assert inspected.users == ["ana"]


def test_status_has_what_the_file_has_and_what_is_there() -> None:
    document = make.status_document(observed(), lab())
    states = {node.name: (node.state, node.health, node.exit_code) for node in document.nodes}
    assert states == {
        "web-1": ("running", "healthy", None),
        "dev": ("running", None, None),
        "late": ("missing", None, None),
        "old": ("exited", None, 3),
    }
    assert [node.name for node in make.status_document(observed()).nodes] == ["dev", "old", "web-1"]


def test_names_sort_as_people_count() -> None:
    labs = [ObservedLab(f"lab-{number}", frozenset()) for number in (10, 9, 1)]
    assert names(make.labs_document(labs)) == ["lab-1", "lab-9", "lab-10"]


def test_time_stamps_are_utc() -> None:
    assert stamp(CREATED) == "2026-11-20T14:00:00.250Z"
    assert make.status_document(observed()).nodes[0].created == "2026-11-20T14:00:00.250Z"
    assert make.labs_document([ObservedLab("a", frozenset())]).labs[0].created is None


def test_show_prints_the_same_data_in_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    document = DOCUMENTS["status"]()
    show(document, "json", table=lambda: pytest.fail("no table was asked for"))
    as_json = json.loads(capsys.readouterr().out)
    show(document, "yaml", table=lambda: pytest.fail("no table was asked for"))
    assert yaml.safe_load(capsys.readouterr().out) == as_json == plain(document)
    show(document, "name", table=lambda: pytest.fail("no table was asked for"))
    assert capsys.readouterr().out.splitlines() == ["web-1", "dev", "late", "old"]
