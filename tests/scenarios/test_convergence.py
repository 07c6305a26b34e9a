"""`up` brings a lab to what its file says now: in place where that is possible, anew where not and after asking."""

from __future__ import annotations

import pytest

from tests.scenarios.project import Project, until

pytestmark = pytest.mark.engine


def test_content_changes_in_place(project: Project) -> None:
    lab = """
    nodes:
      web:
        files:
          /etc/greeting: {content: "<word>", owner: lab, mode: "0640"}
          /etc/gone: {content: "x"}
        users: {ana: {sudo: true}, bob: {}}
        run: [echo <word> >> /root/ran]
        services:
          tick: {command: "while :; do echo <word> > /run/tock; mv /run/tock /run/tick; sleep 0.05; done"}
          old: {command: sleep infinity}
        environment: {WORD: <word>}
      other: {}
    """
    project.write(lab, word="one")
    project.labctl("up")
    before = project.ids()
    assert project.sh("web", "cat /root/ran; stat -c '%U %a' /etc/greeting") == "one\nlab 640"

    lab = lab.replace("ana: {sudo: true}, bob: {}", "bob: {sudo: true}, eve: {}").replace("old:", "new:")
    project.write(lab.replace('          /etc/gone: {content: "x"}\n', ""), word="two")
    assert project.plan() == ["configure node/web", "verify node/web"]
    project.labctl("up")

    assert project.ids() == before
    assert project.sh("web", "cat /etc/greeting") == "two"
    assert project.sh("web", "cat /root/ran") == "one\ntwo", "the run list is run once for each of its versions"
    until(lambda: project.sh("web", "cat /run/tick") == "two")  # a file that is written has a moment without content
    until(lambda: project.sh("web", "pgrep -fc '^sleep infinity' || true") == "1")
    assert project.sh("web", "ls /run/lab/sv | grep -E 'old|new|tick'") == "new\ntick"
    project.sh("web", "test ! -e /etc/gone")
    assert project.sh("web", "su - bob -c 'sudo -n id -un'") == "root"
    project.sh("web", "su - ana -c true", code=1)
    project.sh("web", "su - eve -c 'sudo -n true'", code=1)
    assert project.ssh("web", "echo $WORD") == "two"
    assert project.plan() == []


def test_packages_come_in_place_and_go_with_the_node(project: Project) -> None:
    project.write("nodes: {web: {packages: [tree]}, other: {}}")
    project.labctl("up")
    before = project.ids()

    project.sh("web", "touch /var/lib/dpkg/updates/0000")  # as a dpkg that was killed leaves it
    project.write("nodes: {web: {packages: [tree, ed]}, other: {}}")
    assert project.plan() == ["configure node/web", "verify node/web"]
    project.labctl("up")
    assert project.ids() == before
    project.sh("web", "command -v ed tree")
    assert project.plan() == []

    project.write("nodes: {web: {packages: [ed]}, other: {}}")
    assert {"remove node/web", "create node/web"} < set(project.plan())
    project.labctl("up", code=2)
    assert project.ids() == before, "nothing is done without a yes"
    project.labctl("up", "--yes")
    project.sh("web", "command -v ed")
    project.sh("web", "command -v tree", code=127)
    after = project.ids()
    assert after["web"] != before["web"]
    assert after["other"] == before["other"]

    # what came in place goes as well
    project.write("nodes: {web: {packages: [ed, tree]}, other: {}}")
    project.labctl("up")
    project.write("nodes: {web: {packages: [ed]}, other: {}}")
    project.labctl("up", "--yes")
    project.sh("web", "command -v tree", code=127)
    assert project.plan() == []


def test_a_new_shape_is_asked_for(project: Project, tiny: str) -> None:
    lab = """
    networks: {lan: {}, san: {}}
    nodes:
      port: {networks: [lan], ports: ['<port>']}
      net: {networks: [<net>]}
      cap: {networks: [lan], capabilities: [<cap>]}
      box: {networks: [lan], <box>}
      other: {networks: [lan]}
    """
    project.write(lab, port="80", net="lan", cap="", box="box: debian-13")
    project.labctl("up")
    before = project.ids()
    changed = set(before) - {"other"}
    for node in before:
        project.sh(node, "touch /root/mine")

    project.write(lab, port="81", net="san", cap="NET_ADMIN", box=f"image: '{tiny}', command: <idle>")
    refused = project.labctl("up", code=2)
    for node in changed:
        assert f"node/{node}" in refused.err
    assert "node/other" not in refused.err
    assert "--yes" in refused.err
    assert project.ids() == before
    for node in before:
        project.sh(node, "test -e /root/mine")

    project.labctl("up", "--yes")
    after = project.ids()
    assert {node for node in before if after[node] != before[node]} == changed
    for node in changed:
        project.sh(node, "test ! -e /root/mine")
    assert project.plan() == []


def test_nodes_come_and_go_and_all_know_of_it(project: Project, tiny: str) -> None:
    project.write("nodes: {a: {}, b: {count: 1}, c: {image: <image>, command: <idle>}}", image=tiny)
    project.labctl("up")
    before = project.ids()
    address = {name: project.address(name) for name in before}

    project.write("nodes: {new: {}, a: {}, b: {count: 3}, c: {image: <image>, command: <idle>}}", image=tiny)
    project.labctl("up")
    now = project.ids()
    assert {name: now[name] for name in before} == before
    assert {name: project.address(name) for name in before} == address
    for viewer in ("a", "b-1", "new", "c"):
        for name in ("new", "b-3", f"new.{project.name}.internal"):
            assert project.sh(viewer, f"getent hosts {name}").split()[0] == project.address(name.split(".")[0])
    copies = {project.address(name) for name in ("b-1", "b-2", "b-3")}
    assert set(project.sh("a", "getent ahostsv4 b | cut -d' ' -f1 | sort -u").split()) == copies
    project.labctl("restart", "a")
    assert project.sh("a", "getent hosts new").split()[0] == project.address("new")
    assert project.plan() == []

    project.write("nodes: {a: {}, b: {count: 2}}")
    project.labctl("up", code=2)
    assert project.ids() == now
    project.labctl("up", "--yes")
    assert project.ids() == {name: now[name] for name in ("a", "b-1", "b-2")}
    project.sh("a", "getent hosts new", code=2)
    project.sh("a", "getent hosts b-3", code=2)
    assert project.plan() == []


def test_a_network_goes_with_those_that_were_on_it(project: Project) -> None:
    lab = "networks: {lan: {}, san: {<san>}}\nnodes: {a: {networks: [lan, san]}, b: {networks: [lan]}}"
    project.write(lab, san="internal: true")
    project.labctl("up")
    before = project.ids()

    project.write(lab, san="")
    assert {"remove network/san", "create network/san", "remove node/a", "create node/a"} < set(project.plan())
    project.labctl("up", "--yes")
    assert project.ids()["b"] == before["b"]

    project.write("networks: {lan: {}}\nnodes: {a: {}, b: {}}")
    project.labctl("up", "--yes")
    assert project.networks() == [f"labctl-{project.name}-lan"]
    assert project.ids()["b"] == before["b"]
    assert project.plan() == []


def test_a_failed_run_list_is_run_whole_again(project: Project) -> None:
    lab = """
    nodes:
      web:
        run: ["echo first >> /root/ran", "echo said something; test -e /root/<what>"]
        services: {late: {command: sleep infinity}}
    """
    project.write(lab, what="missing")
    failed = project.labctl("up", code=1)
    assert "said something" in failed.err
    assert "hint" in failed.err
    project.sh("web", "pgrep -f '^sleep infinity'", code=1)
    assert "said something" in project.sh("web", "cat /var/log/lab/run.log")

    project.labctl("up", code=1)
    assert project.sh("web", "cat /root/ran") == "first\nfirst"
    project.write(lab, what="ran")
    project.labctl("up")
    assert project.sh("web", "cat /root/ran") == "first\nfirst\nfirst"
    until(lambda: project.sh("web", "pgrep -f '^sleep infinity' || true"))
    assert project.plan() == []


def test_a_change_that_failed_is_not_forgotten_when_it_is_taken_back(project: Project) -> None:
    lab = "nodes: {web: {files: {/etc/word: {content: <word>}}, run: ['<run>']}}"
    project.write(lab, word="one", run="true")
    project.labctl("up")
    project.write(lab, word="two", run="false")
    project.labctl("up", code=1)
    assert project.sh("web", "cat /etc/word") == "two"
    project.write(lab, word="one", run="true")
    project.labctl("up")
    assert project.sh("web", "cat /etc/word") == "one"


def test_addresses_and_ports_are_kept(project: Project, tiny: str) -> None:
    lab = """
    networks: {lan: {}, san: {subnet: 10.208.7.0/24, internal: true}}
    nodes:
      a: {ports: ["80", "81"], networks: {lan: null, san: 10.208.7.77}}
      b: {networks: [lan, san], capabilities: [<cap>]}
      c: {image: <image>, command: sleep infinity, ports: ["80"], networks: [lan]}
    """

    def seen() -> dict[str, object]:
        status = project.labctl("status", "-o", "json").data
        return {node["name"]: (node["addresses"], node["ports"]) for node in status["nodes"]}

    project.write(lab, image=tiny, cap="")
    project.labctl("up")
    before = seen()
    assert project.address("a", "san") == "10.208.7.77"

    project.labctl("stop")
    assert {
        node["State"] for node in project.engine.containers(all=True, filters={"label": [f"labctl.lab={project.name}"]})
    } == {"exited"}
    assert seen() == before
    project.labctl("start")
    assert seen() == before
    project.sh("a", "ip -4 addr | grep -q 10.208.7.77/24")

    project.write(lab, image=tiny, cap="NET_ADMIN")
    assert "create node/b" in project.plan()
    project.labctl("up", "--yes")
    assert seen() == before
    project.labctl("stop", "b", "c")
    assert project.sh("a", "getent hosts b").split()[0] == project_address(before, "b")
    project.engine.remove_container(project.container("a"), force=True)
    project.labctl("up", "a")
    assert seen() == before
    project.labctl("up")
    assert seen() == before
    assert project.plan() == []


def project_address(seen: dict[str, object], node: str) -> str:
    addresses = seen[node][0]  # type: ignore[index]
    return str(next(iter(addresses.values())))


def test_a_package_that_never_came_costs_no_node(project: Project) -> None:
    project.write("nodes: {web: {packages: [tree]}, other: {}}")
    project.labctl("up")
    project.write("nodes: {web: {packages: [tree, no-such-package-zz]}, other: {}}")
    assert "no-such-package-zz" in project.labctl("up", code=7).err
    project.write("nodes: {web: {packages: [tree]}, other: {}}")
    assert project.plan() == ["configure node/web", "verify node/web"]
    project.labctl("up")
    # What came although a later step failed is known, and goes with the node as any package does.
    project.write("nodes: {web: {packages: [tree, ed], run: ['false']}, other: {}}")
    project.labctl("up", code=7)
    project.write("nodes: {web: {packages: [tree]}, other: {}}")
    assert "remove node/web" in project.plan()


def test_a_service_that_ends_again_and_again_is_no_success(project: Project) -> None:
    project.write("nodes: {web: {services: {bad: {command: 'echo cannot; exit 3'}, good: {command: sleep 9999}}}}")
    ran = project.labctl("up", code=1)
    assert "a service does not stay up: bad" in ran.err
    assert "bad: cannot" in ran.err
    project.write("nodes: {web: {services: {bad: {command: sleep 9999}, good: {command: sleep 9999}}}}")
    project.labctl("up")
    assert project.plan() == []
