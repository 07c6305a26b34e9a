"""An NFS export, mounted by the machine's kernel where the lab file wants it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from machine import places
from storage.failure import MOUNT, NETWORK, PORTAL, Failure
from storage.processes import Stuck, run
from storage.volume import Ended, Life

_PORT = 2049
_MOUNT = 15.0
_LOOK = 3.0
_BECAUSE = "a machine has a kernel of its own"


class Export(Life):
    """Whoever uses the mount waits for a server that does not answer, and goes on when it is back."""

    _version = ""
    _active = ""
    _looked = 0.0
    _since = 0.0

    def up(self) -> None:
        target = Path(self.wanted["target"])
        found = places.source_of(str(target))
        if found in [f"{server}:{self.wanted['export']}" for server in self.wanted["servers"]]:
            self._active, self._version = found.partition(":")[0], _version(str(target))
        else:
            places.make(str(target))
            self._mount(str(target))
        self._since = time.time()

    def look(self) -> dict[str, Any]:
        if not places.source_of(self.wanted["target"]):
            raise Ended("the mount was taken away")
        now = time.monotonic()
        if now - self._looked > _LOOK:
            self._looked = now
            self._down = places.answers(self._server, _PORT) != ""
        known = {
            "way": "kernel",
            "because": _BECAUSE,
            "version": self._version,
            "mounted": True,
            "since": self._since,
            "active": "" if self._down else self._server,
            "standby": [],
            "down": [self._server] if self._down else [],
        }
        if self._down:
            known |= {
                "layer": PORTAL,
                "message": "the server does not answer",
                "hint": "it goes on when the server is back",
            }
        return known

    def down(self) -> None:
        places.unmount(self.wanted["target"])

    _down = False

    @property
    def _server(self) -> str:
        return self._active

    def _mount(self, target: str) -> None:
        wanted = self.wanted
        refusal = Failure(NETWORK, "the server does not answer")
        for server in wanted["servers"]:
            if why := places.answers(server, _PORT):
                layer = PORTAL if why == "refused" else NETWORK
                refusal = Failure(layer, f"{server}:{_PORT}: {_WORDS.get(why, why.lower())}")
                continue
            for version in ("4.2", "4.1", "4.0") if wanted.get("version") != "3" else ("3",):
                options = f"vers={version},hard,timeo=50,retrans=2,retry=0"
                options += ",nolock" if version == "3" else ""
                options += ",ro" if wanted.get("read_only") else ""
                source = f"{server}:{wanted['path' if version == '3' else 'export']}"
                try:
                    result = run("mount", "-t", "nfs", "-o", options, source, target, seconds=_MOUNT)
                except Stuck as error:
                    raise Failure(NETWORK, str(error)) from error
                if result.returncode == 0:
                    self._active, self._version = server, version
                    return
                said = result.stdout.strip().splitlines()[-1:] or ["it failed"]
                refusal = Failure(MOUNT, said[0].removeprefix("mount.nfs: "))
        raise refusal


_WORDS = {"refused": "the connection is refused", "timed out": "no answer"}


def _version(target: str) -> str:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        words = line.split()
        if words[1].replace("\\040", " ") == target:
            return next((word.removeprefix("vers=") for word in words[3].split(",") if word.startswith("vers=")), "")
    return ""
