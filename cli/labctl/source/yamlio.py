"""The one module that knows YAML."""

from __future__ import annotations

import yaml


def load_plain(text: str) -> object:
    """The data of a YAML document that ships with labctl (boxes). Lab files go through `source.load`."""
    data: object = yaml.safe_load(text)
    return data


def dump(data: object) -> str:
    """`data` (plain dicts, lists, scalars) as YAML text, keys in their own order."""
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=False)
    return text
