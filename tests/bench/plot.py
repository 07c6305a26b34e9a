"""Figures as pictures: points, the line that fits them, axes; SVG that stands alone, for light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

Point = tuple[float, float]

WIDTH, HEIGHT = 300.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 14.0, 34.0, 62.0
COLOURS = ("#3d72b4", "#c2632f", "#3d9970", "#9673ab")

STYLE = """
text { font: 11px sans-serif; fill: #1f2430 } .title { font-size: 13px; font-weight: 600 }
.page { fill: #ffffff } .grid { stroke: #d5dae2 } .fit { fill: none; stroke-dasharray: 4 3; stroke-opacity: .7 }
@media (prefers-color-scheme: dark) {
text { fill: #e6e9ef } .page { fill: #14171d } .grid { stroke: #39414e }
}
"""


@dataclass(frozen=True)
class Panel:
    """One pair of axes: `series` are points by the name of what was measured."""

    title: str
    across: str
    series: Mapping[str, Sequence[Point]]


@dataclass(frozen=True)
class Fit:
    """The straight line next to some points; `share` of their scatter is explained by it, 1.0 is all."""

    at_zero: float
    each: float
    share: float


def fit(points: Sequence[Point]) -> Fit:
    """Least squares; at least two different places are needed."""
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    each = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    at_zero = mean_y - each * mean_x
    scatter = sum((y - mean_y) ** 2 for _, y in points)
    rest = sum((y - at_zero - each * x) ** 2 for x, y in points)
    return Fit(at_zero, each, 1.0 - rest / scatter if scatter else 1.0)


def svg(panels: Sequence[Panel], label: str) -> str:
    """The panels side by side; `label` says in words what is seen."""
    width = WIDTH * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {HEIGHT:g}" role="img" '
        f'aria-label="{escape(label, {chr(34): "&quot;"})}">',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{width:g}" height="{HEIGHT:g}"/>',
    ]
    for number, panel in enumerate(panels):
        parts += [f'<g transform="translate({number * WIDTH:g} 0)">', *_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel) -> list[str]:
    points = [point for series in panel.series.values() for point in series]
    step_x, step_y = _step(max(x for x, _ in points)), _step(max(y for _, y in points))
    top_x = math.ceil(max(x for x, _ in points) / step_x) * step_x
    top_y = math.ceil(max(y for _, y in points) / step_y) * step_y

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return LEFT + x / top_x * across, TOP + up - min(max(y, 0.0), top_y) / top_y * up

    out = [f'<text class="title" x="{LEFT:g}" y="20">{escape(panel.title)}</text>']
    for tick in _ticks(top_y, step_y):
        (left, y), (right, _) = place(0, tick), place(top_x, tick)
        out.append(f'<path class="grid" d="M{left:.1f} {y:.1f}H{right:.1f}"/>')
        out.append(f'<text x="{left - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in _ticks(top_x, step_x):
        x, y = place(tick, 0)
        out.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{tick:g}</text>')
    middle, below = place(top_x / 2, 0)
    out.append(f'<text x="{middle:.1f}" y="{below + 30:.1f}" text-anchor="middle">{escape(panel.across)}</text>')
    for number, (name, series) in enumerate(panel.series.items()):
        colour = COLOURS[number % len(COLOURS)]
        line = fit(series)
        (x1, y1), (x2, y2) = place(0, line.at_zero), place(top_x, line.at_zero + line.each * top_x)
        out.append(f'<path class="fit" stroke="{colour}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>')
        for point in series:
            x, y = place(*point)
            out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')
        x, y = LEFT + number * (WIDTH - LEFT) / len(panel.series), HEIGHT - 12
        out.append(f'<circle cx="{x:.1f}" cy="{y - 4:.1f}" r="3.5" fill="{colour}"/>')
        out.append(f'<text x="{x + 7:.1f}" y="{y:.1f}">{escape(name)}</text>')
    return out


def _step(top: float) -> float:
    """A round distance of ticks, of which about four reach `top`."""
    raw = max(top, 1e-9) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    return power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)


def _ticks(top: float, step: float) -> list[float]:
    return [round(number * step, 10) for number in range(round(top / step) + 1)]
