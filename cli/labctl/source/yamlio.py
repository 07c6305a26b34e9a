"""The one module that knows YAML: lab files become trees with places, data becomes text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from labctl.model.secret import MASK, is_secret
from labctl.source.masking import Area
from labctl.source.scalars import AmbiguousScalar, is_old_truth, resolve_plain
from labctl.source.tree import Mapping, Place, Scalar, Sequence, Value, walk

# The C parser gives the same events with the same marks, about ten times faster; a distribution may lack it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

DEPTH_LIMIT = 40
"""How deep a lab file may nest; the language itself needs 8."""
SIZE_LIMIT = 50_000
"""How many values a lab file may have once its aliases are expanded."""
TEXT_LIMIT = 16 * 2**20
"""How many characters its keys and values may have together, once its aliases are expanded."""
FILE_LIMIT = 4 * 2**20
"""How many bytes a lab file may have."""

_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong with the text itself, at `place`."""

    place: Place
    message: str


@dataclass(slots=True)
class Parsed:
    """What a text holds: its value (None when it could not be read), its flaws, and where its secrets stand."""

    value: Value | None
    flaws: list[Flaw] = field(default_factory=list)
    secrets: set[Area] = field(default_factory=set)


class _Stop(Exception):
    """Reading on makes no sense; the flaw has been noted."""


def load_plain(text: str) -> object:
    """The data of a YAML document that ships with labctl (boxes). Lab files go through `source.load`."""
    data: object = yaml.safe_load(text)
    return data


def dump(data: object) -> str:
    """`data` (plain dicts, lists, scalars) as YAML text, keys in their own order."""
    text: str = yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=110
    )
    return text


class _Dumper(yaml.SafeDumper):
    """Writes what the reader above reads back: no aliases, quotes wherever a reader could disagree."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002
        # PyYAML's own signature; lists stand two columns in, as people write them.
        super().increase_indent(flow, False)  # noqa: FBT003


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    try:
        if resolve_plain(text.strip()) != text:
            style = '"'
    except AmbiguousScalar:
        style = '"'
    if style is None and "\n" in text and not any(line != line.rstrip() for line in text.split("\n")):
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def split_lines(text: str) -> list[str]:
    """The lines of `text` as YAML counts them, without their breaks; at least one."""
    return _BREAK.split(text)


def parse(text: str, file: int) -> Parsed:
    """The tree of a document; every flaw that reading can go on after is noted, and reading goes on."""
    bad = _UNPRINTABLE.search(text)
    if bad:
        before = split_lines(text[: bad.start()])
        name = "a NUL character" if bad[0] == "\0" else f"the control character U+{ord(bad[0]):04X}"
        flaw = Flaw(Place(file, len(before) - 1, len(before[-1])), f"{name} cannot stand in a lab file")
        return Parsed(None, [flaw])
    reader = _Reader(text, file)
    try:
        value = reader.read()
    except _Stop:
        value = None
    return Parsed(value, reader.flaws, reader.secrets)


class _Reader:
    """Builds the tree from the parser's events, without recursion, so that depth is ours to bound."""

    def __init__(self, text: str, file: int) -> None:
        self.text = text
        self.file = file
        self.flaws: list[Flaw] = []
        self.anchors: dict[str, Value] = {}
        self.secrets: set[Area] = set()
        self.sizes: dict[int, int] = {}
        self.lengths: dict[int, int] = {}
        self.depths: dict[int, int] = {}
        self.open: set[int] = set()
        self.count = 0
        self.length = 0

    def read(self) -> Value:
        root: Value | None = None
        stack: list[_Frame] = []
        for event in self._events():
            value: Value
            secret = bool(stack) and not stack[-1].wants_key and is_secret([frame.part for frame in stack])
            if isinstance(event, yaml.ScalarEvent):
                value = self._scalar(event, key=bool(stack) and stack[-1].wants_key, secret=secret)
            elif isinstance(event, yaml.AliasEvent):
                value = self._alias(event, depth=len(stack))
                if secret:
                    self._hide_all(value)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                self._begin(event, stack)
                continue
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                frame = stack.pop()
                value = frame.value
                self.open.discard(id(value))
                self.sizes[id(value)] = self.count - frame.start
                self.lengths[id(value)] = self.length - frame.start_length
                self.depths[id(value)] = frame.depth
            elif isinstance(event, yaml.DocumentStartEvent) and root is not None:
                raise self._stopped(self._place(event), "a lab file is one document, a second one begins here")
            else:
                continue
            if stack:
                stack[-1].depth = max(stack[-1].depth, self.depths.get(id(value), 0) + 1)
                self._add(stack[-1], value)
            else:
                root = value
        if root is None:
            raise self._stopped(Place(self.file, 0, 0), "the file is empty")
        return root

    def _events(self) -> Any:
        try:
            yield from yaml.parse(self.text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            # A quote that is never closed is found at the end of the file, and shown where it was opened.
            unclosed = "unexpected end of stream" in str(error.problem)
            mark = (error.context_mark if unclosed else error.problem_mark) or error.problem_mark
            place = Place(self.file, mark.line, mark.column) if mark else Place(self.file, 0, 0)
            raise self._stopped(place, _plain_words(error, self.text, place)) from error
        except yaml.YAMLError as error:
            raise self._stopped(Place(self.file, 0, 0), f"this is not YAML: {str(error).splitlines()[0]}") from error

    def _begin(self, event: Any, stack: list[_Frame]) -> None:
        place = self._place(event)
        self._tag(event, place)
        if len(stack) >= DEPTH_LIMIT:
            raise self._stopped(place, f"values are nested more than {DEPTH_LIMIT} deep")
        if stack and stack[-1].wants_key:
            self.flaws.append(Flaw(place, "a key is a word, not a list or a mapping"))
        value = Mapping(place) if isinstance(event, yaml.MappingStartEvent) else Sequence(place)
        if event.anchor:
            self.anchors[event.anchor] = value
        self.open.add(id(value))
        self._grow(1, 0, place)
        stack.append(_Frame(value, self.count - 1, self.length))

    def _scalar(self, event: Any, *, key: bool, secret: bool) -> Scalar:
        place = self._place(event)
        self._tag(event, place)
        text: str = event.value
        self._grow(1, len(text), place)
        if not text.isascii() or "\0" in text:
            text = self._writable(text, place)
        value: str | int | float | bool | None = text
        # Tagged scalars were refused above; quoted ones are strings.
        if not event.style and not event.tag:
            try:
                value = resolve_plain(text)
            except AmbiguousScalar as error:
                # `on` is a key of this language; as a value it is refused.
                if not (key and text == "on"):
                    self.flaws.append(Flaw(place, _without(error, text) if secret else str(error)))
                value = text
        if secret and text and not isinstance(value, bool) and not is_old_truth(text):
            start, end = event.start_mark, event.end_mark
            self.secrets.add((start.line, start.column, end.line, end.column))
        scalar = Scalar(value, place)
        if event.anchor:
            self.anchors[event.anchor] = scalar
            self.sizes[id(scalar)], self.lengths[id(scalar)] = 1, len(text)
        return scalar

    def _writable(self, text: str, place: Place) -> str:
        """`text` if it can be written into a file or a variable; escapes in quotes can say what cannot."""
        if "\0" in text:
            self.flaws.append(Flaw(place, "a NUL character cannot stand in a lab file, written as an escape neither"))
        try:
            text.encode()
        except UnicodeEncodeError:
            self.flaws.append(Flaw(place, "half of a surrogate pair is not a character"))
            return text.encode(errors="replace").decode()
        return text

    def _alias(self, event: Any, *, depth: int) -> Value:
        place = self._place(event)
        value = self.anchors.get(event.anchor)
        if value is None:
            self.flaws.append(Flaw(place, f"there is no anchor `&{event.anchor}` above"))
            return Scalar(None, place)
        if id(value) in self.open:
            raise self._stopped(place, f"`*{event.anchor}` contains itself")
        self._grow(self.sizes[id(value)], self.lengths[id(value)], place)
        if depth + self.depths.get(id(value), 0) > DEPTH_LIMIT:
            raise self._stopped(place, f"values are nested more than {DEPTH_LIMIT} deep when aliases are expanded")
        return value

    def _hide_all(self, value: Value) -> None:
        """Everything in what an alias stands for is secret where it was written."""
        for _, inner in walk(value):
            if isinstance(inner, Scalar) and inner.value is not None:
                # A place knows no more lines than one: what takes one column may go on below.
                place, wide = inner.place, inner.place.width > 1
                end = place.column + place.width if wide else FILE_LIMIT
                self.secrets.add((place.line, place.column, place.line, end))

    def _add(self, frame: _Frame, value: Value) -> None:
        if isinstance(frame.value, Sequence):
            frame.value.items.append(value)
            return
        if frame.wants_key:
            frame.key, frame.wants_key = value, False
            return
        key, frame.wants_key = frame.key, True
        name = self._key(key)
        if name is None:
            frame.value.incomplete = True
            return
        if name == "<<" and isinstance(frame.value, Mapping):
            self._merge_key(frame, frame.value, value)
            return
        if name in frame.value.keys and name not in frame.inherited:
            first = frame.value.keys[name].line + 1
            self.flaws.append(Flaw(key.place, f"the key `{_short(name)}` stands here twice, first in line {first}"))
            return
        frame.inherited.discard(name)
        frame.value.items[name], frame.value.keys[name] = value, key.place

    def _key(self, key: Value) -> str | None:
        if not isinstance(key, Scalar):
            return None
        if isinstance(key.value, str):
            return key.value
        shown = "null" if key.value is None else str(key.value).lower()
        self.flaws.append(Flaw(key.place, f'a key is a string, this one is not: write "{_short(shown)}" in quotes'))
        return None

    def _merge_key(self, frame: _Frame, into: Mapping, value: Value) -> None:
        sources = value.items if isinstance(value, Sequence) else [value]
        for source in sources:
            if not isinstance(source, Mapping):
                self.flaws.append(Flaw(value.place, "`<<` takes a mapping, or a list of mappings"))
                return
            for name, item in source.items.items():
                if name not in into.items:
                    into.items[name], into.keys[name] = item, source.keys[name]
                    frame.inherited.add(name)

    def _tag(self, event: Any, place: Place) -> None:
        if event.tag:
            self.flaws.append(
                Flaw(place, f"tags such as `{_short(event.tag)}` are not part of the lab file's language")
            )

    def _grow(self, by: int, characters: int, place: Place) -> None:
        self.count += by
        self.length += characters
        if self.count > SIZE_LIMIT:
            raise self._stopped(place, f"the file has more than {SIZE_LIMIT} values when its aliases are expanded")
        if self.length > TEXT_LIMIT:
            limit = f"{TEXT_LIMIT // 2**20} Mi characters"
            raise self._stopped(place, f"the file has more than {limit} when its aliases are expanded")

    def _place(self, event: Any) -> Place:
        start, end = event.start_mark, event.end_mark
        width = end.column - start.column if end.line == start.line else 1
        return Place(self.file, start.line, start.column, max(width, 1))

    def _stopped(self, place: Place, message: str) -> _Stop:
        self.flaws.append(Flaw(place, message))
        return _Stop()


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is being read; `inherited` are keys that came from `<<` and may be given again."""

    value: Mapping | Sequence
    start: int
    start_length: int
    wants_key: bool = False
    depth: int = 0
    key: Value = field(default_factory=lambda: Scalar(None, Place(0, 0, 0)))
    inherited: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.wants_key = isinstance(self.value, Mapping)

    @property
    def part(self) -> str | int:
        """The part of the path that leads to the value which comes next."""
        if isinstance(self.value, Sequence):
            return len(self.value.items)
        return str(self.key.value) if isinstance(self.key, Scalar) else ""


def _without(error: AmbiguousScalar, text: str) -> str:
    """What is wrong with a secret, without it; the words for yes and no are no secrets."""
    return str(error) if is_old_truth(text) else re.sub(r'([`"]).*?\1', rf"\1{MASK}\1", str(error))


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:56]}…"


def _plain_words(error: yaml.MarkedYAMLError, text: str, place: Place) -> str:
    lines = split_lines(text)
    line = lines[place.line] if place.line < len(lines) else ""
    problem = str(error.problem or error.context or "it cannot be read")
    if "\t" in line[: place.column + 1] and not line[: place.column].strip():
        return "this line is indented with a tab, YAML wants spaces"
    if "mapping values are not allowed" in problem:
        return "a `:` does not fit here: check the indentation, or put the value in quotes"
    if "cannot start any token" in problem:
        character = line[place.column : place.column + 1]
        return f"a value cannot begin with `{character}`: put it in quotes"
    if "unexpected end of stream" in problem:
        return "a quote is opened and never closed"
    if "could not find expected ':'" in problem:
        return "a `:` and a value are missing after this key"
    if "did not find expected key" in problem or "expected <block end>" in problem:
        return "a key is expected here: check the indentation"
    if "node content" in problem or "',' or ']'" in problem or "',' or '}'" in problem:
        return "a list or mapping is opened with [ or { and not closed properly"
    return f"this is not YAML: {problem}"
