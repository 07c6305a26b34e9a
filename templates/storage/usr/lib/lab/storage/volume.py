"""The life of one volume: brought up, watched, brought up again, each in a thread of its own."""

from __future__ import annotations

import threading
import time
import traceback
from abc import abstractmethod
from typing import Any

from storage import failure
from storage.state import State

MOUNTS = "/lab/mounts"
_LOOK = 0.25
_PAUSE = 1.0


class Ended(Exception):
    """What had been brought up is gone: the sentence says how."""


class Life:
    """Follows what storage.json says of a volume (`wanted`), until `stop`."""

    def __init__(self, wanted: dict[str, Any], state: State) -> None:
        self.name: str = wanted["volume"]
        self.wanted = wanted
        self._state = state
        self._stopped = threading.Event()
        self._said = ""
        self._thread = threading.Thread(target=self._live, name=self.name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end."""
        self._stopped.set()

    def join(self, seconds: float) -> None:
        """Wait until it has ended."""
        self._thread.join(max(0.0, seconds))

    @abstractmethod
    def up(self) -> None:
        """Bring it up; raises `Failure`."""

    @abstractmethod
    def look(self) -> dict[str, Any]:
        """What the state says of it now; raises `Ended` when it is gone, `Failure` when a change failed."""

    @abstractmethod
    def down(self) -> None:
        """Take away what there is of it, however far it came. Never waits for the server."""

    def changed(self, wanted: dict[str, Any]) -> bool:
        """Take up what can be changed while it is there; False when it has to be brought up anew."""
        return self.wanted == wanted

    def _live(self) -> None:
        self._state.set(self.name, phase="starting")
        while not self._stopped.is_set():
            try:
                self.up()
                while not self._stopped.wait(_LOOK):
                    self._state.set(self.name, phase="ready", **self.look())
            except failure.Failure as error:
                self._failed(error.layer, error.message, error.hint)
            except Ended as error:
                self._state.set(self.name, phase="starting", message=str(error))
            except Exception as error:  # noqa: BLE001  (one volume must not end the others)
                traceback.print_exc()
                self._failed(failure.DEVICE, f"{type(error).__name__}: {error}", "")
            self._take_down()
            self._stopped.wait(_PAUSE)
        self._state.drop(self.name)

    def _failed(self, layer: str, message: str, hint: str) -> None:
        self._state.set(self.name, phase="failed", layer=layer, message=message, hint=hint or failure.HINTS[layer])
        if self._said != message:
            self._said = message
            print(f"{self.name}: {layer}: {message}", flush=True)

    def _take_down(self) -> None:
        began = time.monotonic()
        try:
            self.down()
        except OSError:
            traceback.print_exc()
        if time.monotonic() - began > 10:
            print(f"{self.name}: taking it down took {time.monotonic() - began:.0f} s", flush=True)
