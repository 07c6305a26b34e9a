"""Where everything of a lab's picture stands. Pure geometry; all lengths in pixels, y grows downwards.

Networks are horizontal bars, and nodes hang below them in rows ("bands"); a lab that is too wide goes on in the next
band, where the bars of its networks are repeated. Volumes are bars below the nodes. Lines therefore only run straight
down, and no line crosses a node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from labctl.model.lab import Lab, Node
from labctl.render.graph import Use, domain_words, network_words, uses, volume_words, waits, what
from labctl.render.graph_routes import Route, plan_routes
from labctl.render.graph_text import text_width

MARGIN = 28.0
BAR_STEP = 30.0
LINE_STEP = 14.0
ROW = 13.0
CARD_GAP = 22.0
CARD_MIN = 124.0
CARD_MAX = 210.0
NEARLY = 40.0
FRAME_HEAD = 24.0
FRAME_PAD = 11.0
LANE_STEP = 13.0
BAND_GAP = 34.0
WIDE = 1260.0
"""How wide a band may get before the next begins."""
SIDE_STEP = 10.0


@dataclass(slots=True)
class Line:
    """A node's line to a bar: at `x`, with `label` in row `row` beside it. `strong`: the node serves the volume."""

    name: str
    x: float
    row: int
    label: str = ""
    strong: bool = False


@dataclass(slots=True)
class Card:
    """A node. `above` are its lines to networks, `below` to volumes."""

    node: Node
    x: float
    width: float
    above: list[Line] = field(default_factory=list)
    below: list[Line] = field(default_factory=list)

    @property
    def right(self) -> float:
        return self.x + self.width


@dataclass(slots=True)
class Frame:
    """A domain around its nodes; `levels` counts itself and the deepest chain of frames inside it."""

    label: str
    x: float
    width: float
    levels: int


@dataclass(slots=True)
class Bar:
    """A network or a volume as a horizontal bar."""

    name: str
    words: str
    y: float = 0.0


@dataclass(slots=True)
class Band:
    """One row of nodes with the bars above and below it."""

    cards: list[Card]
    frames: list[Frame]
    bars: list[Bar] = field(default_factory=list)
    shelves: list[Bar] = field(default_factory=list)
    labels_y: float = 0.0
    card_y: float = 0.0
    card_height: float = 0.0
    lanes_y: float = 0.0
    marks_y: float = 0.0
    bottom: float = 0.0


@dataclass(slots=True)
class Layout:
    """The whole picture: bars begin at `left`, nodes end at `right`."""

    width: float
    height: float
    left: float
    right: float
    bands: list[Band]
    routes: list[Route]


@dataclass(slots=True)
class Group:
    """A domain with its nodes and domains, in the order of the file; the root has no name."""

    domain: str | None
    items: list[Group | Card] = field(default_factory=list)

    @property
    def levels(self) -> int:
        """How many frames are nested here, this one included."""
        below = max((item.levels for item in self.items if isinstance(item, Group)), default=0)
        return below + (self.domain is not None)

    @property
    def width(self) -> float:
        pad = FRAME_PAD if self.domain is not None else 0.0
        return sum(item.width for item in self.items) + CARD_GAP * (len(self.items) - 1) + 2 * pad

    @property
    def cards(self) -> list[Card]:
        """All nodes in here, from left to right."""
        return [card for item in self.items for card in ([item] if isinstance(item, Card) else item.cards)]


def arrange(lab: Lab, *, top: float) -> Layout:
    """Place everything below `top`."""
    labels = [(each.name, network_words(each)) for each in lab.networks.values()]
    labels += [(each.name, volume_words(each)) for each in lab.volumes.values()]
    column = [label_width(name, words) for name, words in labels]
    groups = split(lab)
    trunks = MARGIN + SIDE_STEP * len(lab.networks) if len(groups) > 1 else MARGIN
    left = trunks + max(column, default=0.0) + 24
    bands = [_place(lab, group, x=left, first=number == 0) for number, group in enumerate(groups)]
    ends = [card.right for band in bands for card in band.cards]
    right = max([*ends, *(frame.x + frame.width for band in bands for frame in band.frames)], default=left + 60)
    routes, lanes = plan_routes(waits(lab), [{c.node.name: c.right for c in band.cards} for band in bands], right=right)
    y = top
    for band, count in zip(bands, lanes, strict=True):
        y = _stack(band, y=y, lanes=count) + BAND_GAP
    side = max((route.side for route in routes if route.side is not None), default=-1)
    width = right + (side + 1) * SIDE_STEP + MARGIN
    return Layout(width, y - BAND_GAP, trunks, right, bands, routes)


def label_width(name: str, words: str) -> float:
    """What a bar's name and words take above its left end, a volume's sign included."""
    return 20 + text_width(name, 13, bold=True) + 8 + text_width(words, 10.5)


def split(lab: Lab) -> list[Group]:
    """The nodes in bands of about the same width, domains kept together where they fit."""
    root = _tree(lab)
    count = len(_fill(root, WIDE))
    limit = WIDE
    while limit > CARD_MAX and len(_fill(root, limit - 20)) == count:
        limit -= 20
    return _fill(root, limit)


# ---------------------------------------------------------------- what stands in which band


def _tree(lab: Lab) -> Group:
    groups: dict[str | None, Group] = {None: Group(None)}
    shared = uses(lab)

    def group(name: str | None) -> Group:
        if name not in groups:
            groups[name] = Group(name)
            domain = lab.domains.get(name or "")
            group(domain.parent if domain else None).items.append(groups[name])
        return groups[name]

    cards = [_card(lab, node, shared) for node in lab.nodes.values()]
    widest = max((card.width for card in cards), default=0.0)
    for card in cards:
        # Nearly equal is made equal: nodes of several bands then stand in columns.
        card.width = widest if widest - card.width <= NEARLY else card.width
        group(card.node.domain).items.append(card)
    return groups[None]


def _fill(root: Group, limit: float) -> list[Group]:
    """`root` cut into bands of at most `limit`; what is wider alone stands alone."""
    bands: list[Group] = []
    current = Group(None)
    for item in root.items:
        for piece in _pieces(item, limit):
            if current.items and current.width + CARD_GAP + piece.width > limit:
                bands.append(current)
                current = Group(None)
            current.items.append(piece)
    return [*bands, current] if current.items or not bands else bands


def _pieces(item: Group | Card, limit: float) -> list[Group | Card]:
    """A domain that is too wide, as several frames of the same name."""
    if isinstance(item, Card) or item.width <= limit:
        return [item]
    pieces: list[Group | Card] = []
    current = Group(item.domain)
    for inner in item.items:
        for piece in _pieces(inner, limit - 2 * FRAME_PAD):
            if current.items and current.width + CARD_GAP + piece.width > limit:
                pieces.append(current)
                current = Group(item.domain)
            current.items.append(piece)
    return [*pieces, current]


# ---------------------------------------------------------------- one band


def _card(lab: Lab, node: Node, shared: Sequence[Use]) -> Card:
    """The node's card with its lines; their x is from the card's left edge until it is placed."""
    above = [
        Line(name, LINE_STEP * (place + 1), place, str(address) if address else "")
        for place, (name, address) in enumerate(node.interfaces.items())
    ]
    marks = [(volume.name, "serves", True) for volume in lab.volumes.values() if volume.server == node.name]
    marks += [(use.volume, use.words, False) for use in shared if use.node == node.name]
    below = [
        Line(name, LINE_STEP * (place + 1), place, label, strong) for place, (name, label, strong) in enumerate(marks)
    ]
    needs = [
        CARD_MIN,
        text_width(node.name, 13, bold=True) + (74 if node.desktop else 50),
        text_width(what(node), 10.5) + 46,
    ]
    needs.append(text_width(extras(node), 10.5) + 46)
    for lines in (above, below):
        widest = max((text_width(line.label, 10.5) for line in lines), default=0.0)
        needs.append(LINE_STEP * len(lines) + 10 + widest)
    return Card(node, 0.0, min(max(needs), max(CARD_MAX, LINE_STEP * (len(above) + 1))), above, below)


def extras(node: Node) -> str:
    """The card's third line: the desktop and the published ports."""
    words = []
    if node.desktop:
        words.append(f"{node.desktop.wm} {node.desktop.width}×{node.desktop.height}")
    words += [f"port {port.host}→{port.container}" if port.host else f"port {port.container}" for port in node.ports]
    return "  ".join(words)


def _place(lab: Lab, group: Group, *, x: float, first: bool) -> Band:
    """The band with its cards side by side. What no node is on, or uses, is drawn in the first band."""
    band = Band(cards=group.cards, frames=[])
    _set_x(lab, group, x, band.frames)
    here = {line.name for card in band.cards for line in card.above}
    stored = {line.name for card in band.cards for line in card.below}
    if first:
        here |= set(lab.networks) - {name for node in lab.nodes.values() for name in node.interfaces}
        stored |= (
            set(lab.volumes) - {use.volume for use in uses(lab)} - {v.name for v in lab.volumes.values() if v.server}
        )
    band.bars = [Bar(each.name, network_words(each)) for each in lab.networks.values() if each.name in here]
    band.shelves = [Bar(each.name, volume_words(each)) for each in lab.volumes.values() if each.name in stored]
    return band


def _set_x(lab: Lab, group: Group, x: float, frames: list[Frame]) -> None:
    if group.domain is not None:
        domain = lab.domains.get(group.domain)
        frames.append(Frame(domain_words(domain) if domain else group.domain, x, group.width, group.levels))
        x += FRAME_PAD
    for item in group.items:
        if isinstance(item, Group):
            _set_x(lab, item, x, frames)
        else:
            item.x = x
            for line in (*item.above, *item.below):
                line.x += x
        x += item.width + CARD_GAP


def _stack(band: Band, *, y: float, lanes: int) -> float:
    """Give the band's parts their heights from `y` downwards; returns where it ends."""
    for bar in band.bars:
        y += BAR_STEP
        bar.y = y
    levels = max((frame.levels for frame in band.frames), default=0)
    rows = max((len(card.above) for card in band.cards if any(line.label for line in card.above)), default=0)
    band.labels_y = y + 18
    y = band.labels_y + max(ROW * rows - 2, 6)
    band.card_y = y + levels * FRAME_HEAD
    band.card_height = 62.0 if any(extras(card.node) for card in band.cards) else 48.0
    y = band.card_y + band.card_height + levels * FRAME_PAD
    band.lanes_y = y + 6
    y += lanes * LANE_STEP + (8 if lanes else 0)
    marks = max((len(card.below) for card in band.cards), default=0)
    band.marks_y = y + 16
    y += ROW * marks + (10 if marks else 0)
    for shelf in band.shelves:
        y += BAR_STEP
        shelf.y = y
    band.bottom = y
    return y
