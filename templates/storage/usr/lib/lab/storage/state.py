"""What is known of each volume, for whoever reads /run/lab/state.json; the file is always whole."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

STATE = Path("/run/lab/state.json")


class State:
    """The volumes' states by name; threads change their own."""

    def __init__(self, path: Path = STATE) -> None:
        self._path = path
        self._volumes: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def set(self, volume: str, **known: Any) -> None:
        """Replace what is known of a volume."""
        with self._lock:
            if self._volumes.get(volume) != known:
                self._volumes[volume] = known
                self._write()

    def drop(self, volume: str) -> None:
        """A volume that is no longer wanted."""
        with self._lock:
            self._volumes.pop(volume, None)
            self._write()

    def write(self) -> None:
        """Once more, with the present time: who reads it sees that somebody is there."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps({"time": time.time(), "volumes": self._volumes}))
        os.replace(beside, self._path)
