"""labctl: one YAML file becomes a running lab of containers and virtual machines.

From Python: ``from labctl import Lab``; see `labctl.scripting`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labctl.scripting import Lab, Node

__version__ = "0.1.0"
__all__ = ["Lab", "Node", "__version__"]


def __getattr__(name: str) -> object:
    """`Lab` and `Node`, loaded when they are asked for: the command line has no use for them."""
    if name in ("Lab", "Node"):
        from labctl import scripting

        return getattr(scripting, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
