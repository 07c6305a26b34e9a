"""A lab as a picture: SVG that stands alone, for light and dark pages, drawn without any other program."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from labctl.model.lab import Lab
from labctl.render.graph import PALETTE, what
from labctl.render.graph_layout import (
    FRAME_HEAD,
    FRAME_PAD,
    LANE_STEP,
    MARGIN,
    ROW,
    SIDE_STEP,
    Band,
    Bar,
    Card,
    Frame,
    Layout,
    Line,
    arrange,
    extras,
)
from labctl.render.graph_routes import Part, Route
from labctl.render.graph_text import cut, text_width

VOLUME_COLOURS = ("#a17c59", "#5f978b", "#9673ab", "#ab7070")
TOP = 72.0

_STYLE = """
text { font-family: Inter, "Segoe UI", "Helvetica Neue", Arial, sans-serif; font-size: 10.5px; fill: #1f2430 }
.title { font-size: 21px; font-weight: 700 } .name { font-size: 13px; font-weight: 650 }
.halo { paint-order: stroke; stroke: #ffffff; stroke-width: 3px; stroke-linejoin: round }
.page { fill: #ffffff } .quiet { fill: #667080 } .tip { fill: #6b7585 } .screen { fill: #3d9970 }
.card { fill: #f8f9fb; stroke: #b6bdc9 } .frame { fill: #6b7a90; fill-opacity: 0.07; stroke: #a3adbd }
.icon { fill: none; stroke: #6b7585; stroke-width: 1.3; stroke-linejoin: round }
.wait { fill: none; stroke: #6b7585; stroke-width: 1.2; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) {
text { fill: #e6e9ef } .halo { stroke: #14171d }
.page { fill: #14171d } .quiet { fill: #98a2b3 } .tip { fill: #98a2b3 }
.card { fill: #1f242d; stroke: #4a5362 } .frame { fill: #9fb0cc; stroke: #5a6577 }
.icon { stroke: #98a2b3 } .wait { stroke: #98a2b3 }
}
"""


def svg(lab: Lab) -> str:
    """The lab as an SVG document."""
    layout = arrange(lab, top=TOP)
    legend = _legend(lab)
    title_width = text_width(lab.name, 21, bold=True)
    width = max(layout.width, MARGIN * 2 + title_width, MARGIN * 2 + sum(size for _, size in legend))
    height = layout.height + (64 if legend else 28)
    networks = {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(lab.networks)}
    volumes = {name: VOLUME_COLOURS[place % len(VOLUME_COLOURS)] for place, name in enumerate(lab.volumes)}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label={quoteattr(f"Lab {lab.name}")}>',
        f"<style>{_STYLE}</style>",
        f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>',
        _text(MARGIN, 42, lab.name, "title"),
        _text(MARGIN, 60, _counts(lab), "quiet"),
    ]
    parts += _trunks(layout, networks)
    for band in layout.bands:
        parts += [_frame(band, frame) for frame in sorted(band.frames, key=lambda frame: -frame.levels)]
        parts += [_bar(band, bar, networks[bar.name], layout, above=True) for bar in band.bars]
        parts += [_bar(band, bar, volumes[bar.name], layout, above=False) for bar in band.shelves]
        for card in band.cards:
            parts += _lines(band, card, networks, volumes)
    for route in layout.routes:
        parts += _route(route, layout)
    for band in layout.bands:
        parts += [_chip(band, frame) for frame in band.frames]
        for card in band.cards:
            parts += _card(band, card)
    x = MARGIN
    for drawing, size in legend:
        parts.append(f'<g transform="translate({x:.1f} {height - 30:.1f})">{drawing}</g>')
        x += size
    return "\n".join([*parts, "</svg>"]) + "\n"


# ---------------------------------------------------------------- bars and lines


def _bar(band: Band, bar: Bar, colour: str, layout: Layout, *, above: bool) -> str:
    """The bar with its name at the left; it ends at the last node that is on it."""
    lines = [line.x for card in band.cards for line in (card.above if above else card.below) if line.name == bar.name]
    begin = layout.left
    end = max([*lines, begin + 60]) + 18
    label_x = begin + (20 if not above else 0)
    drawn = [
        f'<rect x="{begin:.1f}" y="{bar.y - 2.5:.1f}" width="{end - begin:.1f}" height="5" rx="2.5" fill="{colour}"/>'
        if above
        else f'<path d="M{begin:.1f} {bar.y - 1.5:.1f}H{end:.1f}M{begin:.1f} {bar.y + 1.5:.1f}H{end:.1f}" '
        f'stroke="{colour}" stroke-width="1.2"/>',
        _text(label_x, bar.y - 8, bar.name, "name", colour=colour),
        _text(label_x + text_width(bar.name, 13, bold=True) + 8, bar.y - 8, bar.words, "quiet"),
    ]
    if not above:
        drawn.append(_cylinder(begin + 1, bar.y - 20, colour))
    return "".join(drawn)


def _trunks(layout: Layout, networks: dict[str, str]) -> list[str]:
    """A line at the left for each network that several bands have, so that its bars are seen as one."""
    drawn = []
    for place, (name, colour) in enumerate(networks.items()):
        ys = [bar.y for band in layout.bands for bar in band.bars if bar.name == name]
        if len(ys) > 1:
            x = MARGIN + SIDE_STEP * place
            path = f"M{layout.left:.1f} {ys[0]:.1f}H{x:.1f}V{ys[-1]:.1f}" + "".join(
                f"M{x:.1f} {y:.1f}H{layout.left:.1f}" for y in ys[1:]
            )
            drawn.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2.5" stroke-linejoin="round"/>')
    return drawn


def _lines(band: Band, card: Card, networks: dict[str, str], volumes: dict[str, str]) -> list[str]:
    """The node's lines to its bars, each with what it says beside it."""
    bars = {bar.name: bar.y for bar in band.bars}
    shelves = {bar.name: bar.y for bar in band.shelves}
    drawn: list[str] = []
    for line in card.above:
        drawn.append(_line(line.x, bars[line.name], band.card_y, networks[line.name], width=2.0))
        drawn.append(f'<circle cx="{line.x:.1f}" cy="{bars[line.name]:.1f}" r="4.5" fill="{networks[line.name]}"/>')
    bottom = band.card_y + band.card_height
    for line in card.below:
        colour, y = volumes[line.name], shelves[line.name]
        drawn.append(_line(line.x, bottom, y, colour, width=3.2 if line.strong else 1.4))
        if line.strong:
            drawn.append(
                f'<rect x="{line.x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9" rx="2" fill="{colour}"/>'
            )
        else:
            drawn.append(f'<circle cx="{line.x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')
    drawn += _labels(card, card.above, band.labels_y, networks)
    drawn += _labels(card, card.below, band.marks_y, volumes)
    return drawn


def _line(x: float, begin: float, end: float, colour: str, *, width: float) -> str:
    return f'<path d="M{x:.1f} {begin:.1f}V{end:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def _labels(card: Card, lines: list[Line], y: float, colours: dict[str, str]) -> list[str]:
    x = max((line.x for line in lines), default=0.0) + 7
    space = card.right + 16 - x
    return [
        _text(x, y + ROW * line.row, cut(line.label, 10.5, space), "halo", colour=colours[line.name])
        for line in lines
        if line.label
    ]


# ---------------------------------------------------------------- nodes and domains


def _card(band: Band, card: Card) -> list[str]:
    """The node: its name, what it is made from, its desktop and ports; everything in full as a tooltip."""
    node, x, y = card.node, card.x, band.card_y
    space = card.width - 42
    lines = [_text(x + 34, y + 20, cut(node.name, 13, space - (24 if node.desktop else 0), bold=True), "name")]
    lines.append(_text(x + 34, y + 36, cut(what(node), 10.5, space), "quiet"))
    if extras(node):
        lines.append(_text(x + 34, y + 52, cut(extras(node), 10.5, space), "quiet"))
    tip = " · ".join(word for word in (node.name, what(node), extras(node), node.domain or "") if word)
    return [
        f"<g><title>{escape(tip)}</title>",
        f'<rect class="card" x="{x:.1f}" y="{y:.1f}" width="{card.width:.1f}" height="{band.card_height:.1f}" rx="8"/>',
        _machine(x + 11, y + 11) if node.provider == "vagrant" else _container(x + 10, y + 11),
        _desktop(card.right - 27, y + 9) if node.desktop else "",
        *lines,
        "</g>",
    ]


def _frame(band: Band, frame: Frame) -> str:
    top, bottom = _frame_edges(band, frame)
    return (
        f'<rect class="frame" x="{frame.x:.1f}" y="{top:.1f}" width="{frame.width:.1f}" '
        f'height="{bottom - top:.1f}" rx="12"/>'
    )


def _chip(band: Band, frame: Frame) -> str:
    """The domain's name on the frame's upper edge, in front of the lines."""
    top, _ = _frame_edges(band, frame)
    label = cut(frame.label, 10.5, frame.width - 30)
    size = text_width(label, 10.5)
    return _text(frame.x + frame.width - 12 - size, top + 14, label, "quiet halo")


def _frame_edges(band: Band, frame: Frame) -> tuple[float, float]:
    return band.card_y - FRAME_HEAD * frame.levels, band.card_y + band.card_height + FRAME_PAD * frame.levels


# ---------------------------------------------------------------- who waits for whom


def _route(route: Route, layout: Layout) -> list[str]:
    side = layout.right + SIDE_STEP * (route.side + 1) if route.side is not None else None
    ys = [_lane_y(layout, part) for part in route.parts]
    path, tips = "", []
    for part, y in zip(route.parts, ys, strict=True):
        band = layout.bands[part.band]
        bottom = band.card_y + band.card_height
        path += f"M{part.begin:.1f} {y:.1f}H{part.end:.1f}"
        path += "".join(f"M{x:.1f} {bottom:.1f}V{y:.1f}" for _, x in part.sources)
        path += "".join(f"M{x:.1f} {y:.1f}V{bottom + 6:.1f}" for _, x in part.targets)
        for _, x in part.targets:
            tips.append(f'<path class="tip" d="M{x:.1f} {bottom:.1f}l-3.6 7h7.2z"/>')
            if route.condition != "started":
                tips.append(_text(x - 5 - text_width(route.condition, 9), y - 2, route.condition, "quiet halo", size=9))
    if side is not None:
        path += f"M{side:.1f} {min(ys):.1f}V{max(ys):.1f}"
    return [f'<path class="wait" d="{path}"/>', *tips]


def _lane_y(layout: Layout, part: Part) -> float:
    return layout.bands[part.band].lanes_y + LANE_STEP * (part.lane + 1)


# ---------------------------------------------------------------- small pictures


def _container(x: float, y: float) -> str:
    return (
        f'<path class="icon" d="M{x + 8:.1f} {y:.1f}l8 4v9l-8 4-8-4v-9zM{x:.1f} {y + 4:.1f}l8 4 8-4M{x + 8:.1f} '
        f'{y + 8:.1f}v9"/>'
    )


def _machine(x: float, y: float) -> str:
    return (
        f'<path class="icon" d="M{x:.1f} {y:.1f}h15v7h-15zM{x:.1f} {y + 9:.1f}h15v7h-15zM{x + 3:.1f} {y + 3.5:.1f}h2'
        f'M{x + 3:.1f} {y + 12.5:.1f}h2"/>'
    )


def _desktop(x: float, y: float) -> str:
    return (
        f'<rect class="icon" x="{x:.1f}" y="{y:.1f}" width="18" height="12" rx="1.5"/>'
        f'<rect class="screen" x="{x + 2:.1f}" y="{y + 2:.1f}" width="14" height="8"/>'
        f'<path class="icon" d="M{x + 9:.1f} {y + 12:.1f}v3M{x + 5:.1f} {y + 15:.1f}h8"/>'
    )


def _cylinder(x: float, y: float, colour: str) -> str:
    return (
        f'<path d="M{x:.1f} {y + 3:.1f}v8c0 4 14 4 14 0v-8M{x:.1f} {y + 3:.1f}c0 4 14 4 14 0c0-4-14-4-14 0" '
        f'fill="none" stroke="{colour}" stroke-width="1.4"/>'
    )


def _legend(lab: Lab) -> list[tuple[str, float]]:
    """What the signs of this picture mean, each with the width it takes; nothing when there is nothing to explain."""
    kinds = {node.provider for node in lab.nodes.values()}
    signs: list[tuple[str, str]] = []
    if "docker" in kinds:
        signs.append((_container(0, -12), "container"))
    if "vagrant" in kinds:
        signs.append((_machine(0, -12), "virtual machine"))
    if any(node.desktop for node in lab.nodes.values()):
        signs.append((_desktop(0, -11), "desktop"))
    if any(volume.server for volume in lab.volumes.values()):
        signs.append(('<rect class="tip" x="3" y="-9" width="10" height="10" rx="2"/>', "serves the volume"))
    if any(node.depends_on for node in lab.nodes.values()):
        signs.append(('<path class="wait" d="M0 -4H13"/><path class="tip" d="M20 -4l-7 -3.6v7.2z"/>', "waits for"))
    return [(drawing + _text(25, 0, words, "quiet"), 25 + text_width(words, 10.5) + 26) for drawing, words in signs]


def _counts(lab: Lab) -> str:
    counted = [(len(lab.nodes), "node"), (len(lab.networks), "network"), (len(lab.volumes), "volume")]
    return " · ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in counted if count)


def _text(x: float, y: float, text: str, style: str, *, colour: str = "", size: float | None = None) -> str:
    look = (f"fill:{colour};" if colour else "") + (f"font-size:{size}px" if size else "")
    styled = f' style="{look}"' if look else ""
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}"{styled}>{escape(text)}</text>' if text else ""
