"""The fixtures of these tests are those of the scenarios."""

from tests.scenarios.fixtures import baked, engine, new_project, project, provider

__all__ = ["baked", "engine", "new_project", "project", "provider"]
