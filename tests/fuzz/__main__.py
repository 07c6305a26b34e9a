"""`make fuzz`: the lab file under texts that reach code which no text before them reached (libFuzzer, by atheris).

Any text gives a topology, or errors whose lines exist; everything else, and a text that takes longer than `SLOW`
seconds, is a crash, whose text is kept in the working directory. ARGS are libFuzzer's: ``-max_total_time=60``,
``-seed=1``, a directory for the texts that were found worth keeping.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["labctl", "yaml"]):
    from tests.language.test_property import PIECES, ROOT, TEXTS, outcome

SLOW = 20


def words() -> set[str]:
    """What the language gives a meaning to: the names in its schema, and YAML's own signs."""
    found = set(PIECES)
    stack = [json.loads((ROOT / "docs" / "lab.schema.json").read_text())]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            found |= value.get("properties", {}).keys() | {
                each for each in value.get("enum", ()) if isinstance(each, str)
            }
            stack += value.values()
        elif isinstance(value, list):
            stack += value
    return found


def main(place: Path) -> None:
    """Run until libFuzzer is content; it ends the process."""
    seeds = place / "seeds"
    seeds.mkdir()
    for number, text in enumerate(TEXTS):
        (seeds / str(number)).write_text(text)
    dictionary = place / "words"
    lines = ["".join(f"\\x{byte:02x}" for byte in word.encode("utf-8", "replace")) for word in sorted(words()) if word]
    dictionary.write_text("".join(f'"{line}"\n' for line in lines))
    own = [each for each in sys.argv[1:] if not each.startswith("-")]
    (place / "kept").mkdir()
    options = [each for each in sys.argv[1:] if each.startswith("-")]
    limits = [f"-timeout={SLOW}", "-max_len=8192", "-rss_limit_mb=2048", f"-dict={dictionary}"]
    directories = [*(own or [str(place / "kept")]), str(seeds)]
    work = place / "work"
    work.mkdir()

    def one(data: bytes) -> None:
        outcome(data.decode("utf-8", "replace"), work)

    atheris.Setup([sys.argv[0], *limits, *options, *directories], one)
    atheris.Fuzz()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        main(Path(directory))
