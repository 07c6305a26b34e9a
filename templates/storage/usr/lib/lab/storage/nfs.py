"""An NFS export: mounted by the kernel's client where there is one, else by labnfs, in user space."""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from storage import kernel
from storage.failure import MOUNT, NETWORK, PORTAL, Failure
from storage.processes import Stuck, end, run
from storage.volume import MOUNTS, Ended, Life

_PROGRAM = "/usr/lib/lab/labnfs"
_MOUNT = 15.0
_WAIT = 30
"""Seconds that an operation waits for a server that does not answer, then it fails."""


class NfsVolume(Life):
    """Mounted at /lab/mounts/VOLUME until it is moved into the node."""

    _process: subprocess.Popen[str] | None = None
    _way = ""
    _because = ""
    _version = ""
    _active = ""
    _told = ""
    _mount = ""

    def up(self) -> None:
        place = self._place()
        place.mkdir(parents=True, exist_ok=True)
        if kernel.knows("nfs4"):
            by_kernel = self._by_kernel(place)
        else:
            by_kernel = False
            self._because = "this kernel has no NFS client"
        if not by_kernel:
            self._by_user_space(place)
        self._mount = kernel.device_of(str(place))

    def look(self) -> dict[str, Any]:
        servers: list[str] = self.wanted["servers"]
        if self._process is not None and self._process.poll() is not None:
            raise Ended("the NFS client has ended")
        down = [] if self._active else list(servers)
        known = {
            "way": self._way,
            "because": self._because,
            "version": self._version,
            "source": str(self._place()),
            "mount": self._mount,
            "active": self._active,
            "standby": [server for server in servers if server != self._active and server not in down],
            "down": down,
        }
        if down:
            known |= {
                "layer": PORTAL,
                "message": "the server does not answer",
                "hint": "it goes on when the server is back",
            }
        return known

    def down(self) -> None:
        with suppress(OSError):
            kernel.unmount(str(self._place()), kernel.DETACH)
        end(self._process, politely=3.0)
        self._process = None
        self._active = ""

    def _place(self) -> Path:
        return Path(MOUNTS, self.name)

    # ------------------------------------------------------------ the kernel's client

    def _by_kernel(self, place: Path) -> bool:
        wanted = self.wanted
        refusals = []
        for version in ("4.2", "4.1", "4.0") if wanted.get("version") != "3" else ("3",):
            options = f"vers={version},soft,timeo=100,retrans=3,retry=0"
            options += ",nolock" if version == "3" else ""
            options += ",ro" if wanted.get("read_only") else ""
            for server in wanted["servers"]:
                path = wanted.get("path", wanted["export"]) if version == "3" else wanted["export"]
                try:
                    result = run("mount", "-t", "nfs", "-o", options, f"{server}:{path}", str(place), seconds=_MOUNT)
                except Stuck as error:
                    raise Failure(NETWORK, str(error)) from error
                if result.returncode == 0:
                    self._way, self._because, self._version = "kernel", "this kernel has an NFS client", version
                    self._active = server
                    return True
                refusals.append(result.stdout.strip().splitlines()[-1:] or ["it failed"])
        self._because = f"the kernel's NFS client failed: {refusals[0][0]}"
        return False

    # ------------------------------------------------------------ user space

    def _by_user_space(self, place: Path) -> None:
        wanted = self.wanted
        words = [_PROGRAM, "--server", ",".join(wanted["servers"]), "--timeout", str(_WAIT)]
        for path in dict.fromkeys((wanted["export"], wanted.get("path") or wanted["export"])):
            words += ["--export", path]
        words += ["--read-only"] if wanted.get("read_only") else []
        words += ["--all-are-one"] if wanted.get("squash") == "all" else []
        process = subprocess.Popen([*words, str(place)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self._process = process
        self._way, self._version, self._told = "user space", "3", ""
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        deadline = time.monotonic() + _MOUNT
        while not self._active and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._active:
            return
        process.kill()
        layer, _, message = self._told.partition(": ")
        if not message:
            raise Failure(NETWORK, f"the server does not answer within {_MOUNT:.0f} s")
        raise Failure(layer if layer in (NETWORK, PORTAL, MOUNT) else MOUNT, message)

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            word, _, rest = line.strip().partition(" ")
            if word == "failed":
                self._told = rest
            elif self._process is process:
                self._active = rest if word in ("ready", "up") else ""
