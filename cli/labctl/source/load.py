"""From files to a lab: found, read, merged, validated, resolved; or every problem of them, with its line."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TextIO

from labctl.assets import assets
from labctl.errors import InvalidLabError, KeyPath, Problem, UsageError
from labctl.model.lab import Lab
from labctl.model.prune import check
from labctl.model.resolve import resolve
from labctl.source.discover import discover, read
from labctl.source.render import SourceFile, render
from labctl.source.tree import Mapping as Tree
from labctl.source.tree import Place, Scalar, Value, find, locate, merge, plain, walk, with_defaults, without_nulls
from labctl.source.world import World
from labctl.source.yamlio import FILE_LIMIT, parse

_PROBLEM_LIMIT = 50
_DEFAULTS_LIMIT = 1_000_000
"""How many values the nodes may have from `defaults` together: every node has its own."""


class Origin(NamedTuple):
    """Where a value was written: the file as errors call it, line and column from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Origins:
    """From a path in the lab file to where its value was written."""

    tree: Value
    files: Sequence[SourceFile]

    def get(self, path: KeyPath) -> Origin | None:
        """Where the value at exactly this path was written, None when no file has it."""
        return self.near(path) if find(self.tree, path) is not None else None

    def near(self, path: KeyPath) -> Origin:
        """Where the value at this path, or the nearest above it, was written."""
        place = locate(self.tree, path)
        return Origin(self.files[place.file].name, place.line + 1, place.column + 1)

    def paths(self) -> Iterable[KeyPath]:
        """Every path that the files have, parents first."""
        return (path for path, _ in walk(self.tree))


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid lab with what is known of its text.

    `document` is the plain data of the merged files (defaults merged under the nodes); `files` are the paths read, None
    for standard input; `notices` are remarks for the user, the lab's own included.
    """

    lab: Lab
    document: Mapping[str, object]
    origins: Origins
    files: tuple[Path | None, ...]
    notices: tuple[str, ...] = ()
    directory: Path = field(default_factory=Path)

    def invalid(self, problems: Sequence[Problem]) -> InvalidLabError:
        """The error for problems that were found later (by planning), with their lines."""
        return _invalid(self.origins.files, self.origins.tree, problems)


def load(
    files: Sequence[str] | None,
    *,
    cwd: Path,
    stdin: TextIO | None = None,
    environ: Mapping[str, str],
    home: Path,
    boxes: Iterable[str] = (),
) -> Loaded:
    """The lab of the files given with ``-f``, or found in `cwd` and above.

    `home` is what ``~`` means. `boxes` are known beside those that come with labctl. Raises
    `InvalidLabError` with all problems, `NoLabFileError`, `UsageError`, or `LabctlError` for an unreadable file.
    """
    paths = discover(files, cwd=cwd)
    sources = [_source(path, cwd=cwd, stdin=stdin) for path in paths]
    first = next((path for path in paths if path is not None), None)
    directory = (first.parent if first else cwd).resolve()
    notices = []
    if not files and len(paths) > 1:
        notices.append(f"{sources[1].name} is merged on top of {sources[0].name}")
    tree, flaws = _merged(sources)
    if tree is None:
        raise _error(sources, flaws)
    spots = {place[:3] for place, _ in flaws}
    data = plain(tree)
    broken = list(_flawed(tree, spots)) if spots else []
    checked = check(data, broken)
    found = [(tree, problem) for problem in checked.problems]
    lab = None
    if checked.topology is not None:
        homes = [(path.parent if path else cwd).resolve() for path in paths]
        world = World(lambda at: homes[locate(tree, checked.written(at)).file], environ=environ, home=home)
        known = [*_boxes(), *boxes]
        lab, problems = resolve(checked.topology, directory, reader=world, boxes=known, broken=checked.broken)
        found += [(tree, _moved(problem, checked.written(problem.path))) for problem in problems]
    if found or flaws:
        located = [(locate(at, problem.path, key=problem.at_key), problem) for at, problem in found]
        kept = [(place, problem) for place, problem in located if place[:3] not in spots]
        raise _error(sources, [*flaws, *kept])
    assert lab is not None
    document = data if isinstance(data, dict) else {}
    return Loaded(lab, document, Origins(tree, sources), tuple(paths), (*notices, *lab.notices), directory)


def _source(path: Path | None, *, cwd: Path, stdin: TextIO | None) -> SourceFile:
    if path is None:
        if stdin is None:
            raise UsageError("there is no standard input to read the lab file from", code="LAB-FILE-003")
        raw = stdin.buffer.read(FILE_LIMIT + 1) if hasattr(stdin, "buffer") else stdin.read(FILE_LIMIT + 1).encode()
        if len(raw) > FILE_LIMIT:
            raise UsageError(f"standard input is longer than {FILE_LIMIT // 2**20} MiB", code="LAB-FILE-003")
        return _decoded("<stdin>", raw)
    try:
        name = str(path.relative_to(cwd))
    except ValueError:
        name = str(path)
    return _decoded(name, read(path, name, FILE_LIMIT))


def _decoded(name: str, raw: bytes) -> SourceFile:
    try:
        return SourceFile(name, raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        text = raw[: error.start].decode("utf-8-sig", "replace")
        line = text + raw[error.start :].split(b"\n")[0].decode("utf-8", "replace")
        source = SourceFile(name, line)
        before = text.split("\n")
        place = Place(0, len(before) - 1, len(before[-1]))
        what = "this looks like UTF-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "this is not UTF-8"
        raise InvalidLabError([render([source], place, f"{what}, a lab file is written in UTF-8")]) from None


def _merged(sources: Sequence[SourceFile]) -> tuple[Value | None, list[tuple[Place, Problem]]]:
    """The documents merged, or None when one cannot be read; and what is wrong with their texts."""
    flaws: list[tuple[Place, Problem]] = []
    trees: list[Value] = []
    for index, source in enumerate(sources):
        parsed = parse(source.text, index)
        source.secrets, source.whole = parsed.secrets, parsed.value is not None
        flaws += [(flaw.place, Problem((), flaw.message)) for flaw in parsed.flaws]
        if parsed.value is None:
            continue
        if isinstance(parsed.value, Scalar) and parsed.value.value is None:
            flaws.append((parsed.value.place, Problem((), "the file is empty")))
        elif not isinstance(parsed.value, Tree):
            flaws.append((parsed.value.place, Problem((), "a lab file is a mapping that begins with `name:`")))
        else:
            trees.append(parsed.value)
    if len(trees) < len(sources):
        return None, flaws
    whole = trees[0]
    for tree in trees[1:]:
        whole = merge(whole, tree)
    defaults, nodes = find(whole, ("defaults",)), find(whole, ("nodes",))
    if isinstance(defaults, Tree) and isinstance(nodes, Tree):
        values = sum(1 for _ in walk(defaults))
        if values * len(nodes.items) > _DEFAULTS_LIMIT:
            message = f"{values} values for {len(nodes.items)} nodes each are more than {_DEFAULTS_LIMIT}"
            return None, [*flaws, (locate(whole, ("defaults",), key=True), Problem(("defaults",), message))]
    return without_nulls(with_defaults(whole)), flaws


def _flawed(tree: Value, spots: Collection[tuple[int, int, int]]) -> Iterator[KeyPath]:
    """The paths of values that a flaw is about, and of what could not be read."""
    for path, value in walk(tree):
        if value.place[:3] in spots:
            yield path
        if isinstance(value, Tree):
            yield from ((*path, key) for key, place in value.keys.items() if place[:3] in spots)
            if value.incomplete:
                yield (*path, "")


def _boxes() -> list[str]:
    return sorted(path.stem for path in assets("boxes").glob("*.yaml"))


def _moved(problem: Problem, path: KeyPath) -> Problem:
    return problem if path == problem.path else Problem(path, problem.message, problem.hint, problem.at_key)


def _invalid(files: Sequence[SourceFile], tree: Value, problems: Sequence[Problem]) -> InvalidLabError:
    return _error(files, [(locate(tree, problem.path, key=problem.at_key), problem) for problem in problems])


def _error(files: Sequence[SourceFile], found: Sequence[tuple[Place, Problem]]) -> InvalidLabError:
    """All problems in the order of the files, each once: defaults are wrong in one place, not in every node."""
    unique: dict[tuple[object, str], tuple[Place, Problem]] = {}
    for place, problem in found:
        unique.setdefault((place[:3], problem.message), (place, problem))
    ordered = sorted(unique.values(), key=lambda pair: pair[0][:3])
    hint = None
    if len(ordered) > _PROBLEM_LIMIT:
        hint = f"these are the first {_PROBLEM_LIMIT} of {len(ordered)}"
    rendered = [render(files, place, problem.message, problem.hint) for place, problem in ordered[:_PROBLEM_LIMIT]]
    return InvalidLabError(rendered, hint=hint)
