"""A lab file cannot take the name of a service that the nodes' own features run."""

from __future__ import annotations

from typing import get_args

from labctl import features
from labctl.model.lab import Desktop, Node, WindowManager
from labctl.model.linux import SERVICES


def test_every_service_of_a_feature_is_reserved() -> None:
    nodes = [Node("n", "n", desktop=Desktop(wm)) for wm in get_args(WindowManager)]
    names = {service.name for node in nodes for service in features.recipe(node).services}
    assert names <= SERVICES
    assert {"sshd", "xvnc", "wm"} <= names
