"""A checks document as JUnit XML, as CI systems read it: one test case per check."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from labctl.documents.model import ChecksDocument

_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped."""


def junit(document: ChecksDocument) -> str:
    """The whole XML text. A failed check's last output stands in its failure."""
    states = [check.state for check in document.checks]
    counts = {
        "tests": str(len(states)),
        "failures": str(states.count("failed")),
        "errors": "0",
        "skipped": str(states.count("skipped")),
    }
    suites = ElementTree.Element("testsuites", counts)
    time = f"{max((check.seconds for check in document.checks), default=0.0):.3f}"
    suite = ElementTree.SubElement(suites, "testsuite", {"name": document.lab, **counts, "time": time})
    for check in document.checks:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {"classname": f"{document.lab}.checks", "name": check.name, "time": f"{check.seconds:.3f}"},
        )
        said = _UNPRINTABLE.sub("?", check.output)
        if check.state == "failed":
            message = f"{check.type} {check.subject} from {check.node or 'this host'} after {check.attempts} attempts"
            failure = ElementTree.SubElement(case, "failure", {"message": _UNPRINTABLE.sub("?", message)})
            failure.text = said
        elif check.state == "skipped":
            ElementTree.SubElement(case, "skipped", {"message": said})
        else:
            ElementTree.SubElement(case, "system-out").text = said
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"
