"""The same labs as in the scenarios."""

from tests.scenarios.fixtures import baked, engine, fresh, new_project, project, provider

__all__ = ["baked", "engine", "fresh", "new_project", "project", "provider"]
