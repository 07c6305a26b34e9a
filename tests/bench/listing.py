"""One listing of the containers that carry a label, by the SDK: ``listing.py LABEL``. A process of its own."""

from __future__ import annotations

import sys

import docker

if __name__ == "__main__":
    found = docker.from_env().api.containers(all=True, filters={"label": [sys.argv[1]]})
    sys.stdout.write(f"{len(found)}\n")
