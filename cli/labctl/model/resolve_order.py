"""What waits for what: `depends_on`, and that a volume's server must be there first. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from labctl.errors import KeyPath
from labctl.model.draft import Draft
from labctl.model.lab import Condition, Dependency, Node, Volume


def dependencies(draft: Draft, name: str, nodes: Mapping[str, Node]) -> tuple[Dependency, ...]:
    """What the node called `name` in the file waits for; groups are expanded."""
    given = draft.topology.node(name).depends_on
    if given is None:
        return ()
    found: dict[str, Dependency] = {}
    pairs: list[tuple[str, Condition, KeyPath]] = []
    if isinstance(given, list):
        pairs = [(other, "started", ("nodes", name, "depends_on", index)) for index, other in enumerate(given)]
    else:
        for other, spec in given.items():
            condition: Condition = (spec.condition if spec else None) or "started"
            pairs.append((other, condition, ("nodes", name, "depends_on", other)))
    for other, condition, path in pairs:
        if other not in draft.groups:
            draft.unknown(path, "node", other, draft.groups, at_key=True)
            continue
        for member in draft.groups[other]:
            target = nodes[member]
            if condition == "completed" and target.image is None and not draft.unsure(*target.source):
                draft.add(
                    path, f"node {member} has a box and never completes, only nodes with an `image` do", at_key=True
                )
            found[member] = Dependency(member, condition)
    return tuple(found.values())


def cycles(draft: Draft, nodes: Mapping[str, Node], volumes: Mapping[str, Volume]) -> None:
    """Nodes that wait for each other in a circle."""
    edges: dict[str, dict[str, KeyPath]] = {name: {} for name in nodes}
    for node in nodes.values():
        given = draft.topology.node(node.group).depends_on
        for other in node.depends_on:
            key: str | int = other.node if given and other.node in given else nodes[other.node].group
            if isinstance(given, list):
                key = given.index(str(key))
            edges[node.name][other.node] = (*node.source, "depends_on", key)
        for index, text in enumerate(draft.topology.node(node.group).volumes or ()):
            _serve(edges, node, volumes.get(text.partition(":")[0]), (*node.source, "volumes", index))
        for index, text in enumerate(draft.topology.node(node.group).devices or ()):
            _serve(edges, node, volumes.get(text.partition(":")[0]), (*node.source, "devices", index))
    for circle in _circles(edges):
        words = " → ".join([*circle, circle[0]])
        if len(circle) == 1:
            draft.add(edges[circle[0]][circle[0]], f"node {circle[0]} waits for itself", at_key=True)
        else:
            draft.add(edges[circle[0]][circle[1]], f"nodes wait for each other in a circle: {words}", at_key=True)


def _serve(edges: dict[str, dict[str, KeyPath]], node: Node, volume: Volume | None, path: KeyPath) -> None:
    # A node that mounts what it serves has an error of its own.
    if volume is not None and volume.server in edges and volume.server != node.name:
        edges[node.name].setdefault(volume.server, path)


def _circles(edges: Mapping[str, Mapping[str, KeyPath]]) -> list[list[str]]:
    """Each circle that a walk in file order meets, without recursion: a lab may have a long chain."""
    done: set[str] = set()
    found: list[list[str]] = []
    for start in edges:
        if start in done:
            continue
        path, on_path = [start], {start}
        todo = [list(edges[start])]
        while path:
            if not todo[-1]:
                todo.pop()
                on_path.discard(path[-1])
                done.add(path.pop())
                continue
            following = todo[-1].pop(0)
            if following in on_path:
                found.append(path[path.index(following) :])
            elif following not in done and following in edges:
                path.append(following)
                on_path.add(following)
                todo.append(list(edges[following]))
    return found
