"""`labctl ci` on the real engine: every way in which a job can end leaves a report, one exit code, and no lab."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.ci.terminal import Terminal
from tests.scenarios.project import Process, Project, end

pytestmark = pytest.mark.engine

LAB = """
networks: {lan: {subnet: 10.213.7.0/24}}
nodes:
  web:
    networks: {lan: 10.213.7.20}
    environment: {TOKEN: canary-of-the-job}
    run: ["echo run as $TOKEN"]
    ports: ["27318:80"]
  dev: {networks: [lan]}
checks:
  ssh: {tcp: "web:22", from: dev}
  name: {dns: web, from: dev}
"""
FAILING = LAB + '  broken: {run: "echo the cause; false", on: web, retries: 1}\n'
HANGING = LAB + '  never: {run: "sleep 600", on: web, timeout: 10m, retries: 1}\n'
ONE = """
networks: {lan: {subnet: 10.213.7.0/24}}
nodes:
  web: {networks: {lan: 10.213.7.20}, ports: ["27318:80"]}
checks:
  ssh: {tcp: "web:22"}
  name: {dns: web}
"""


def elsewhere(lab: str, place: int) -> str:
    """The lab on a subnet and a port of its own, to be up beside others."""
    return lab.replace("10.213.7.", f"10.213.{7 + place}.").replace("27318", str(27318 + place))


def nothing_left(project: Project, lab: str | None = None) -> None:
    wanted = {"label": [f"labctl.lab={lab or project.name}"]}
    assert project.engine.containers(all=True, filters=wanted) == []
    assert project.engine.networks(filters=wanted) == []
    assert project.engine.volumes(filters=wanted)["Volumes"] in ([], None)
    assert not (project.state.parent / (lab or project.name)).exists()


def result(project: Project, directory: str = "report") -> Any:
    return json.loads((project.directory / directory / "result.json").read_text())


def states(document: Any) -> dict[str, str]:
    return {phase["name"]: phase["state"] for phase in document["phases"]}


def test_a_job_that_passes(project: Project) -> None:
    project.write(LAB)
    ran = project.labctl("ci", "--report", "report", "--junit", "junit.xml", "-o", "json")
    assert (ran.data["kind"], ran.data["exit_code"]) == ("pipeline", 0)
    assert states(result(project)) == {"up": "passed", "checks": "passed", "down": "passed"}
    kept = {str(path.relative_to(project.directory / "report")) for path in (project.directory / "report").rglob("*.*")}
    assert kept == {
        *("events.ndjson", "junit.xml", "plan.txt", "report.html", "report.md", "result.json", "status.json"),
        *("logs/dev.log", "logs/web.log", "logs/web.run.log"),
    }
    assert "run as ********" in (project.directory / "report/logs/web.run.log").read_text()
    assert not [path for path in (project.directory / "report").rglob("*.*") if b"canary-of" in path.read_bytes()]
    assert ElementTree.parse(project.directory / "junit.xml").getroot().get("failures") == "0"
    nothing_left(project)


def test_a_check_that_fails_is_told_everywhere(project: Project) -> None:
    project.write(FAILING)
    ran = project.labctl("ci", "--report", "report", "--junit", "junit.xml", code=6)
    assert "broken: run echo the cause; false from web" in ran.err
    for page in ("report.md", "report.html"):
        text = (project.directory / "report" / page).read_text()
        assert "1 of 3 checks failed" in text
        assert "the cause" in text
    cases = {case.get("name"): case for case in ElementTree.parse(project.directory / "junit.xml").iter("testcase")}
    assert cases["broken"].findtext("failure") == "the cause\nexit code 1"
    nothing_left(project)


def test_a_node_that_does_not_come_up(project: Project) -> None:
    project.write(LAB.replace("echo run as", "exit 3; echo"))
    project.labctl("ci", "--report", "report", code=7)
    document = result(project)
    assert states(document) == {"up": "failed", "checks": "skipped", "down": "passed"}
    assert {check["state"] for check in document["checks"]} == {"skipped"}
    assert "sh -c exit 3" in (project.directory / "report/report.md").read_text()
    nothing_left(project)


def test_the_deadline_is_that_of_the_whole(new_project: Callable[..., Project]) -> None:
    hanging, slow = new_project("hanging"), new_project("slow")
    hanging.write(HANGING)
    slow.write(elsewhere(LAB.replace("echo run as", "sleep 300; echo"), 1))
    began = time.monotonic()
    jobs = [project.begin("ci", "--timeout", "10s", "--report", "report") for project in (hanging, slow)]
    checked, coming_up = (end(job) for job in jobs)
    assert time.monotonic() - began < 25
    assert (checked.code, coming_up.code) == (6, 5)
    assert "never" in checked.err
    assert states(result(slow)) == {"up": "failed", "checks": "skipped", "down": "passed"}
    nothing_left(hanging)
    nothing_left(slow)


def test_a_signal_leaves_a_report_and_nothing_else(new_project: Callable[..., Project]) -> None:
    jobs = []
    for place, number in enumerate((signal.SIGTERM, signal.SIGINT, signal.SIGHUP)):
        project = new_project(number.name)
        project.write(elsewhere(HANGING, place))
        jobs.append((number, project, project.begin("ci", "--report", "report")))
    for number, project, process in jobs:
        until_up(project, process)
        time.sleep(0.7)
        process.send_signal(number)
        time.sleep(0.3)
        process.send_signal(number)  # impatience does not spoil the cleaning up
    for number, project, process in jobs:
        ran = end(process)
        assert ran.code == 128 + number, ran.err
        assert result(project)["signal"] == number
        assert "ended by signal" in (project.directory / "report/report.md").read_text()
        nothing_left(project)


def test_a_closed_terminal(project: Project) -> None:
    project.write(HANGING)
    with Terminal(project, "ci", "--report", "report") as terminal:
        until_up(project)
        terminal.close()
        assert terminal.wait() == 128 + signal.SIGHUP
    assert result(project)["signal"] == signal.SIGHUP
    nothing_left(project)


@pytest.mark.parametrize(("answer", "code"), [("\r", 6), (None, 128 + signal.SIGHUP)], ids=["Enter", "closed"])
def test_a_pause_at_the_terminal(project: Project, answer: str | None, code: int) -> None:
    project.write(FAILING)
    with Terminal(project, "ci", "--pause-on-failure", "--report", "report") as terminal:
        terminal.wait_for("Enter takes it down")
        time.sleep(0.5)
        assert project.sh("web", "hostname") == "web"
        assert f"labctl ssh -n {project.name} NODE" in terminal.shown
        terminal.press(answer) if answer else terminal.close()
        assert terminal.wait() == code
    assert states(result(project)) == {"up": "passed", "checks": "failed", "down": "passed"}
    nothing_left(project)


def test_an_invalid_lab_file_has_a_report_too(project: Project) -> None:
    project.write("nodes: {a: {colour: red}}")
    project.labctl("ci", "--report", "report", "--junit", "junit.xml", code=3)
    assert "colour" in (project.directory / "report/report.md").read_text()
    assert ElementTree.parse(project.directory / "junit.xml").getroot().get("failures") == "1"


def test_an_engine_that_is_not_there(project: Project) -> None:
    project.write(LAB)
    env = {"DOCKER_HOST": "unix:///nonexistent.sock"}
    project.labctl("ci", "--report", "report", code=4, env=env)
    assert states(result(project))["up"] == "failed"


def test_a_lab_of_somebody_is_refused_and_one_of_an_earlier_job_replaced(project: Project) -> None:
    project.write(LAB)
    project.labctl("up")
    before = project.inspect("web")["Id"]
    ran = project.labctl("ci", code=8)
    assert "is up already" in ran.err
    assert project.inspect("web")["Id"] == before
    ran = project.labctl("ci", env={"CI": "true"})
    assert "left by an earlier job" in ran.err
    nothing_left(project)


def test_kept_on_failure(project: Project) -> None:
    project.write(FAILING)
    ran = project.labctl("ci", "--keep-on-failure", "--report", "report", code=6)
    assert f"labctl down -n {project.name} --volumes" in ran.err
    assert result(project)["kept"]
    assert project.inspect("web")["State"]["Running"]


def test_ten_jobs_at_once_have_labs_of_their_own(project: Project) -> None:
    project.write(ONE)
    other = project.begin("ci", "--report", "own")
    wait_for(lambda: project.engine.networks(filters={"label": [f"labctl.lab={project.name}"]}), other)
    assert "another job works on" in project.labctl("ci", code=8).err
    begun = [project.begin("ci", "--name", "auto", "--report", f"r{n}") for n in range(10)]
    with ThreadPoolExecutor(10) as pool:
        ended = list(pool.map(end, begun))
    assert [ran.code for ran in ended] == [0] * 10, [ran.err for ran in ended if ran.code]
    assert end(other).code == 0
    seen = [json.loads((project.directory / f"r{n}/status.json").read_text()) for n in range(10)]
    assert len({each["lab"] for each in seen} - {project.name}) == 10
    assert len({each["networks"][0]["subnet"] for each in seen} - {"10.213.7.0/24"}) == 10
    assert len({each["nodes"][0]["ports"][0]["host"] for each in seen} - {27318}) == 10
    assert all(each["nodes"][0]["addresses"]["lan"].endswith(".20") for each in seen)
    assert "network lan is" in ended[0].err
    for lab in (project.name, *(each["lab"] for each in seen)):
        nothing_left(project, lab)


def test_a_pause_needs_a_terminal(project: Project) -> None:
    project.write(FAILING)
    project.labctl("ci", "--pause-on-failure", code=2)


def until_up(project: Project, process: Process | None = None) -> None:
    wait_for(lambda: project.engine.containers(filters={"name": project.container("dev")}), process)


def wait_for(holds: Callable[[], object], process: Process | None = None) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
