"""Facts that hold in a healthy lab, tried until they hold or their time is over.

Each kind is one small function in a module of its own, from an attempt to what it found; from inside a node it uses
what every box node has (bash, curl, getent). This package reaches nodes through the `World` that it is given.
"""

from __future__ import annotations

from labctl.checks.attempt import World
from labctl.checks.running import CheckResult, State, run_check, run_checks

__all__ = ["CheckResult", "State", "World", "run_check", "run_checks"]
