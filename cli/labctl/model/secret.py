"""Which values of a lab file are secret, and what stands in their place. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

MASK = "***"
# Misspelled ones too: a key that is refused is shown with its line.
_SECRET_KEY = re.compile(r"pas+w|pwd|passphrase|secret|token", re.IGNORECASE)


def is_secret_key(key: str) -> bool:
    """Whether what stands behind this key is secret by its name."""
    return _SECRET_KEY.search(key) is not None


def is_secret(path: Sequence[str | int]) -> bool:
    """Whether the value at `path` is nobody's to see: a password, the value of a variable, or what lies in one."""
    if any(part == "password" and at > 2 for at, part in enumerate(path)):
        return True
    if any(part == "environment" and at >= (1 if path[0] == "defaults" else 2) for at, part in enumerate(path)):
        return True
    last = next((part for part in reversed(path) if isinstance(part, str)), "")
    return is_secret_key(last)
