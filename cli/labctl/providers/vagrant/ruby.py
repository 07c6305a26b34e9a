"""Values as Ruby writes them."""

from __future__ import annotations

import base64
import re

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\x1b": "\\e"}


def word(text: str) -> str:
    """`text` as a string in which nothing is replaced."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def content(data: bytes) -> str:
    """What a file holds as one string on one line: readable where it is text, else in base 64."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if any(ord(character) < 32 and character not in _ESCAPES for character in text):
        return f'"{base64.b64encode(data).decode()}".unpack1("m")'
    escaped = "".join(_ESCAPES.get(character, character) for character in text)
    return '"' + re.sub(r"#(?=[{$@])", r"\\#", escaped) + '"'
