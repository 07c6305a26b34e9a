"""The floor: what the engine alone takes, asked by a bare script. A process of its own, imports included.

``floor.py up SPEC`` makes the networks, creates and starts the containers in a thread pool, and waits for an ssh banner
of each; ``floor.py down SPEC`` removes them. SPEC is a JSON file: ``{"image", "label", "networks": {name: subnet},
"nodes": {name: {network: address}}}``.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
from docker.types import IPAMConfig, IPAMPool

WORKERS = 8


def up(engine: docker.APIClient, spec: dict[str, Any]) -> None:
    labels = {spec["label"]: ""}

    def network(item: tuple[str, str]) -> None:
        ipam = IPAMConfig(pool_configs=[IPAMPool(subnet=item[1])])
        engine.create_network(item[0], driver="bridge", ipam=ipam, labels=labels)

    def node(item: tuple[str, dict[str, str]]) -> None:
        name, addresses = item
        first, *others = addresses
        made = engine.create_container(
            spec["image"],
            name=name,
            hostname=name,
            labels=labels,
            host_config=engine.create_host_config(network_mode=first),
            networking_config={
                "EndpointsConfig": {first: engine.create_endpoint_config(ipv4_address=addresses[first])}
            },
        )
        for other in others:
            engine.connect_container_to_network(made["Id"], other, ipv4_address=addresses[other])
        engine.start(made["Id"])

    def answers(addresses: dict[str, str]) -> None:
        while True:
            try:
                with socket.create_connection((next(iter(addresses.values())), 22), timeout=2) as connection:
                    if connection.recv(8) == b"SSH-2.0-":
                        return
            except OSError:
                pass
            time.sleep(0.02)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(network, spec["networks"].items()))
        list(pool.map(node, spec["nodes"].items()))
    with ThreadPoolExecutor(len(spec["nodes"])) as pool:
        list(pool.map(answers, spec["nodes"].values()))


def down(engine: docker.APIClient, spec: dict[str, Any]) -> None:
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda name: engine.remove_container(name, force=True, v=True), spec["nodes"]))
        list(pool.map(engine.remove_network, spec["networks"]))


if __name__ == "__main__":
    verb, path = sys.argv[1:]
    {"up": up, "down": down}[verb](
        docker.from_env(max_pool_size=WORKERS, timeout=120).api, json.loads(Path(path).read_text())
    )
