"""A checks document as JUnit XML, as CI systems read it: one test case per check."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from labctl.documents.verdicts import ChecksDocument, PipelineDocument

_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped."""


def junit(document: ChecksDocument | PipelineDocument) -> str:
    """The whole XML text. A failed check's last output stands in its failure; of a job, its phases are a suite too."""
    suites = ElementTree.Element("testsuites")
    totals = [_checks(suites, document)]
    if isinstance(document, PipelineDocument):
        totals.append(_phases(suites, document))
    for key in totals[0]:
        suites.set(key, str(sum(total[key] for total in totals)))
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _suite(suites: ElementTree.Element, name: str, states: list[str], seconds: float) -> ElementTree.Element:
    attributes = {"name": name, **{key: str(value) for key, value in _counts(states).items()}}
    return ElementTree.SubElement(suites, "testsuite", {**attributes, "time": f"{seconds:.3f}"})


def _counts(states: list[str]) -> dict[str, int]:
    return {
        "tests": len(states),
        "failures": states.count("failed"),
        "errors": 0,
        "skipped": states.count("skipped"),
    }


def _checks(suites: ElementTree.Element, document: ChecksDocument | PipelineDocument) -> dict[str, int]:
    states: list[str] = [check.state for check in document.checks]
    suite = _suite(suites, document.lab, states, max((check.seconds for check in document.checks), default=0.0))
    for check in document.checks:
        case = _case(suite, f"{document.lab}.checks", check.name, check.seconds)
        said = printable(check.output)
        if check.state == "failed":
            message = f"{check.type} {check.subject} from {check.node or 'this host'} after {check.attempts} attempts"
            ElementTree.SubElement(case, "failure", {"message": printable(message)}).text = said
        elif check.state == "skipped":
            ElementTree.SubElement(case, "skipped", {"message": said})
        else:
            ElementTree.SubElement(case, "system-out").text = said
    return _counts(states)


def _phases(suites: ElementTree.Element, document: PipelineDocument) -> dict[str, int]:
    """Coming up and going down; failed checks are cases of their own."""
    phases = [phase for phase in document.phases if phase.name != "checks" or (phase.error and not _told(document))]
    states: list[str] = [phase.state for phase in phases]
    suite = _suite(suites, f"{document.lab}.job", states, sum(phase.seconds for phase in phases))
    for phase in phases:
        case = _case(suite, f"{document.lab}.job", phase.name, phase.seconds)
        if phase.state == "failed":
            failure = ElementTree.SubElement(case, "failure", {"message": printable(phase.error or "")})
            failure.text = printable("\n".join([*phase.details, *([f"hint: {phase.hint}"] if phase.hint else [])]))
        elif phase.state == "skipped":
            ElementTree.SubElement(case, "skipped")
    return _counts(states)


def _told(document: PipelineDocument) -> bool:
    return any(check.state == "failed" for check in document.checks)


def _case(suite: ElementTree.Element, group: str, name: str, seconds: float) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", {"classname": group, "name": name, "time": f"{seconds:.3f}"})


def printable(text: str) -> str:
    """`text` with a question mark for what XML cannot hold."""
    return _UNPRINTABLE.sub("?", text)
