"""Labs that the pictures are drawn from."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from labctl.model.lab import Dependency, Desktop, Device, Domain, Lab, Mount, Network, Node, Port, Volume

HERE = Path("/lab")


def one() -> Lab:
    """The smallest lab: one desktop on one network."""
    node = Node("dev", "dev", interfaces={"lan": None}, desktop=Desktop())
    return Lab("hello", HERE, {"dev": node}, {"lan": Network("lan")})


def shop() -> Lab:
    """All kinds of things at once."""
    lan, san1, san2 = IPv4Address("10.77.0.10"), IPv4Address("10.77.1.10"), IPv4Address("10.77.2.10")
    nodes = [
        Node("nas", "nas", domain="dc-a", interfaces={"lan": lan, "san-1": san1, "san-2": san2}),
        Node("web-1", "web", domain="dc-a", interfaces={"lan": IPv4Address("10.77.0.21")}),
        Node("web-2", "web", domain="dc-b", interfaces={"lan": IPv4Address("10.77.0.22")}),
        Node(
            "db",
            "db",
            provider="vagrant",
            domain="rack-a1",
            interfaces={"lan": None, "san-1": None, "san-2": None},
            mounts=(Mount("/var/lib/postgresql", "pg"), Mount("/home/shared", "home", read_only=True)),
        ),
        Node(
            "quorum-1", "quorum", provider="vagrant", interfaces={"lan": None}, devices=(Device("disk", "/dev/lab/q"),)
        ),
        Node(
            "quorum-2", "quorum", provider="vagrant", interfaces={"lan": None}, devices=(Device("disk", "/dev/lab/q"),)
        ),
        Node(
            "cache",
            "cache",
            box=None,
            image="valkey/valkey:8",
            interfaces={"lan": None},
            ports=(Port(6379),),
            depends_on=(Dependency("db", "healthy"),),
        ),
        Node(
            "dev",
            "dev",
            interfaces={"lan": None},
            desktop=Desktop("icewm", 1600, 900),
            mounts=(Mount("/home/shared", "home"),),
            depends_on=(Dependency("web-1", "started"), Dependency("web-2", "started")),
        ),
    ]
    return Lab(
        "shop",
        HERE,
        {node.name: node for node in nodes},
        {
            "lan": Network("lan", IPv4Network("10.77.0.0/24")),
            "san-1": Network("san-1", IPv4Network("10.77.1.0/24"), internal=True),
            "san-2": Network("san-2", None, internal=True),
        },
        {
            "home": Volume("home", "nfs", server="nas", path="/srv/home"),
            "pg": Volume("pg", "iscsi", server="nas", size=2**30, networks=("san-1", "san-2")),
            "disk": Volume("disk", "iscsi", server="nas", size=2**28),
        },
        {
            "dc-a": Domain("dc-a", "site"),
            "dc-b": Domain("dc-b", "site"),
            "rack-a1": Domain("rack-a1", "rack", "dc-a"),
        },
    )


def plain(count: int, *, networks: int = 1) -> Lab:
    """`count` nodes on `networks` networks, every third a desktop."""
    nets = {f"net-{n}": Network(f"net-{n}", IPv4Network(f"10.80.{n}.0/24")) for n in range(networks)}
    nodes = {}
    for number in range(1, count + 1):
        interfaces = {
            name: IPv4Address(f"10.80.{place}.{number + 1}")
            for place, name in enumerate(nets)
            if place == 0 or (number + place) % 2 == 0
        }
        waits = (Dependency("web-1", "healthy"),) if number % 5 == 0 else ()
        name = f"web-{number}"
        nodes[name] = Node(
            name, "web", interfaces=interfaces, desktop=Desktop() if number % 3 == 0 else None, depends_on=waits
        )
    return Lab("many", HERE, nodes, nets)


def sites() -> Lab:
    """Thirty nodes on three networks in three sites with two racks each."""
    lab = plain(30, networks=3)
    domains = {}
    for site in "abc":
        domains[f"dc-{site}"] = Domain(f"dc-{site}", "site")
        for rack in "12":
            domains[f"rack-{site}{rack}"] = Domain(f"rack-{site}{rack}", "rack", f"dc-{site}")
    racks = [name for name, domain in domains.items() if domain.parent]
    from dataclasses import replace

    nodes = {name: replace(node, domain=racks[place // 5]) for place, (name, node) in enumerate(lab.nodes.items())}
    return replace(lab, name="sites", nodes=nodes, domains=domains)
