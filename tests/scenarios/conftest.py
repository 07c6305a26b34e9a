"""The fixtures of these tests; others use them too."""

from tests.scenarios.fixtures import baked, engine, fresh, new_project, project, provider, tiny

__all__ = ["baked", "engine", "fresh", "new_project", "project", "provider", "tiny"]
