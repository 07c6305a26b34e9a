"""Measures labctl beside compose and beside a bare script: ``python -m tests.bench --help``."""
