"""The picture: well-formed, nothing over anything else, everything on the page."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.model.lab import Lab
from labctl.render.graph_layout import FRAME_HEAD, Band, Layout, arrange
from labctl.render.graph_svg import svg
from labctl.render.graph_text import cut, text_width
from tests.graph import labs
from tests.graph.test_graph import CASES, hostile

NAMESPACE = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("case", [*CASES, "hostile"])
def test_the_picture_is_well_formed_and_stands_alone(case: str) -> None:
    lab = CASES[case]() if case in CASES else hostile()
    root = ElementTree.fromstring(svg(lab))
    assert root.tag == f"{NAMESPACE}svg"
    assert not {element.tag for element in root.iter()} & {f"{NAMESPACE}{tag}" for tag in ("image", "script", "use")}
    words = [element.text for element in root.iter(f"{NAMESPACE}text")]
    assert lab.name in words
    assert set(lab.networks) <= set(words)
    assert {node.name for node in lab.nodes.values()} <= set(words)
    for node in lab.nodes.values():
        assert all(str(address) in words for address in node.interfaces.values() if address)


def test_everything_is_on_the_page() -> None:
    for make in CASES.values():
        root = ElementTree.fromstring(svg(make()))
        width, height = float(root.attrib["width"]), float(root.attrib["height"])
        for text in root.iter(f"{NAMESPACE}text"):
            if "transform" not in text.attrib and float(text.attrib["y"]) > 0:
                assert float(text.attrib["x"]) + text_width(text.text or "", 10.5) <= width
                assert float(text.attrib["y"]) <= height


def boxes(band: Band) -> Iterator[tuple[float, float]]:
    for card in band.cards:
        yield card.x, card.right


def check(layout: Layout) -> None:
    """Nodes do not touch, frames hold what is in them, lines reach their bars and cross no node."""
    for band in layout.bands:
        spans = sorted(boxes(band))
        assert all(first[1] + 8 <= second[0] for first, second in itertools.pairwise(spans))
        assert all(card.x >= layout.left and card.right <= layout.right for card in band.cards)
        bars = {bar.name: bar.y for bar in band.bars}
        shelves = {bar.name: bar.y for bar in band.shelves}
        for card in band.cards:
            assert all(card.x < line.x < card.right for line in (*card.above, *card.below))
            assert all(bars[line.name] < band.card_y for line in card.above)
            assert all(shelves[line.name] > band.card_y + band.card_height for line in card.below)
        for frame in band.frames:
            assert FRAME_HEAD * frame.levels <= band.card_y - band.labels_y + FRAME_HEAD
            inside = [card for card in band.cards if frame.x <= card.x and card.right <= frame.x + frame.width]
            assert inside
            outside = [card for card in band.cards if card not in inside]
            assert all(card.right < frame.x or card.x > frame.x + frame.width for card in outside)
    for above, below in itertools.pairwise(layout.bands):
        assert above.bottom < min([bar.y for bar in below.bars] or [below.card_y])
    for route in layout.routes:
        for part in route.parts:
            band = layout.bands[part.band]
            assert band.lanes_y > band.card_y + band.card_height
            assert all(part.begin <= x <= part.end for _, x in (*part.sources, *part.targets))


@pytest.mark.parametrize("case", CASES)
def test_nothing_lies_over_anything_else(case: str) -> None:
    check(arrange(CASES[case](), top=0))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 45), st.integers(0, 7))
def test_any_number_of_nodes_and_networks(count: int, networks: int) -> None:
    lab = labs.plain(count, networks=networks)
    check(arrange(lab, top=0))
    ElementTree.fromstring(svg(lab))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_domains(data: st.DataObject) -> None:
    from dataclasses import replace

    lab = labs.sites()
    names = data.draw(st.lists(st.sampled_from([None, *lab.domains]), min_size=30, max_size=30))
    nodes = {name: replace(node, domain=domain) for (name, node), domain in zip(lab.nodes.items(), names, strict=True)}
    layout = arrange(replace(lab, nodes=nodes), top=0)
    check(layout)
    assert sorted(card.node.name for band in layout.bands for card in band.cards) == sorted(nodes)


def test_lines_in_one_lane_do_not_meet() -> None:
    for layout in (arrange(make(), top=0) for make in CASES.values()):
        lanes: dict[tuple[int, int], list[tuple[float, float]]] = {}
        for route in layout.routes:
            for part in route.parts:
                lanes.setdefault((part.band, part.lane), []).append((part.begin, part.end))
        for spans in lanes.values():
            assert all(first[1] < second[0] for first, second in itertools.pairwise(sorted(spans)))


def test_who_waits_for_the_same_shares_a_line() -> None:
    layout = arrange(labs.plain(30), top=0)
    assert len(layout.routes) == 1
    assert sum(len(part.sources) for part in layout.routes[0].parts) == 6


def test_bands_are_about_equally_wide() -> None:
    layout = arrange(labs.plain(30, networks=3), top=0)
    assert [len(band.cards) for band in layout.bands] == [8, 8, 8, 6]


@pytest.mark.parametrize("make", [labs.one, labs.shop], ids=["one", "shop"])
def test_the_same_lab_gives_the_same_picture(make: Callable[[], Lab]) -> None:
    assert svg(make()) == svg(make())


def test_long_text_is_cut() -> None:
    assert cut("short", 10, 100) == "short"
    assert cut("registry/very/long/name:tag", 10, 60).endswith("…")
    assert text_width(cut("registry/very/long/name:tag", 10, 60), 10) <= 60
