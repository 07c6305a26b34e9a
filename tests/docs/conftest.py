"""The same engine as in the scenarios."""

from tests.scenarios.fixtures import baked, engine, provider

__all__ = ["baked", "engine", "provider"]
