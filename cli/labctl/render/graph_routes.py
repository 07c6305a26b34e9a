"""How the dashed lines between nodes (who waits for whom) run: in lanes below the nodes, round the right-hand side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from labctl.render.graph import Wait

FROM = 14.0
TO = 30.0
"""Lines leave and reach a node this far from its right edge, in pixels."""
SIDE_STEP = 10.0


@dataclass(slots=True)
class Part:
    """The part of a route below one band: `lane` counts from the nodes downwards; `begin` and `end` are its x."""

    band: int
    lane: int
    begin: float
    end: float
    sources: list[tuple[str, float]] = field(default_factory=list)
    targets: list[tuple[str, float]] = field(default_factory=list)


@dataclass(slots=True)
class Route:
    """All who wait for the same nodes, drawn as one line. `side` is its place on the right when it leaves a band."""

    condition: str
    parts: list[Part]
    side: int | None


def plan_routes(
    waits: Sequence[Wait], bands: Sequence[Mapping[str, float]], *, right: float
) -> tuple[list[Route], list[int]]:
    """The routes, and how many lanes each band needs. `bands` give the right edges of their nodes."""
    routes: list[Route] = []
    taken: list[list[list[tuple[float, float]]]] = [[] for _ in bands]
    sides = 0
    for condition, sources, targets in _gathered(waits):
        touched = [band for band, nodes in enumerate(bands) if any(name in nodes for name in (*sources, *targets))]
        side = sides if len(touched) > 1 else None
        sides += side is not None
        parts = []
        for number in touched:
            nodes = bands[number]
            part = Part(number, 0, 0.0, 0.0)
            part.sources = [(name, nodes[name] - FROM) for name in sources if name in nodes]
            part.targets = [(name, nodes[name] - TO) for name in targets if name in nodes]
            ends = [x for _, x in (*part.sources, *part.targets)]
            ends += [right + SIDE_STEP * (side + 1)] if side is not None else []
            part.begin, part.end = min(ends), max(ends)
            part.lane = _free_lane(taken[number], part.begin, part.end)
            parts.append(part)
        routes.append(Route(condition, parts, side))
    return routes, [len(lanes) for lanes in taken]


def _gathered(waits: Sequence[Wait]) -> list[tuple[str, list[str], list[str]]]:
    """Condition, who waits, for whom: those who wait for the same node together, then such nodes together."""
    waiting: dict[tuple[str, str], list[str]] = {}
    for wait in waits:
        waiting.setdefault((wait.condition, wait.target), []).append(wait.node)
    together: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (condition, target), nodes in waiting.items():
        together.setdefault((condition, tuple(nodes)), []).append(target)
    return [(condition, list(nodes), targets) for (condition, nodes), targets in together.items()]


def _free_lane(lanes: list[list[tuple[float, float]]], begin: float, end: float) -> int:
    for number, spans in enumerate(lanes):
        if all(end + 8 < other_begin or other_end + 8 < begin for other_begin, other_end in spans):
            spans.append((begin, end))
            return number
    lanes.append([(begin, end)])
    return len(lanes) - 1
