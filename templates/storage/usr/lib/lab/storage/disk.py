"""An iSCSI disk as a file: qemu-storage-daemon logs in, in user space, and exports the LUN through FUSE."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from storage import kernel
from storage.failure import CHAP, DEVICE, LOGIN, PORTAL, Failure
from storage.processes import end

_PLACE = Path("/run/lab/disks")
_START = 5.0
_LOGIN = 20.0
_RESIZE = 10.0

_REFUSALS = (
    ("Authentication failure", CHAP, "the target refuses the user name or password"),
    ("Authorization failure", LOGIN, "the target does not let this initiator in"),
    ("Target not found", LOGIN, "the portal does not have that target"),
    ("Failed to log in", LOGIN, ""),
    ("Failed to connect", PORTAL, ""),
)


class Disk:
    """One LUN as `file`, until `close`. Raises `Failure` when it cannot be opened."""

    def __init__(self, volume: dict[str, Any], address: str) -> None:
        name = volume["volume"]
        _PLACE.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.file = str(_PLACE / f"{name}.disk")
        self._socket = _PLACE / f"{name}.qmp"
        self._qmp: socket.socket | None = None
        self._unread = b""
        with suppress(OSError):
            kernel.unmount(self.file, kernel.DETACH)
        Path(self.file).touch(mode=0o600)
        self._socket.unlink(missing_ok=True)
        # Not killed with the thread that started it, as "parent death" signals would: it ends when it is told to.
        self._process = subprocess.Popen(
            [
                *("qemu-storage-daemon", "--chardev", f"socket,id=qmp,path={self._socket},server=on,wait=off"),
                *("--monitor", "chardev=qmp"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            self._connect()
            self._open(volume, address)
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether the daemon runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the daemon at once: what it had not written is as if the power had failed."""
        end(self._process)
        if self._qmp is not None:
            self._qmp.close()
            self._qmp = None
        with suppress(OSError):
            kernel.unmount(self.file, kernel.DETACH)

    def size(self) -> int:
        """Bytes of the file now."""
        return os.stat(self.file).st_size

    def grow(self, size: int) -> None:
        """Have the daemon notice that the LUN has `size` bytes now."""
        self._command("block_resize", {"node-name": "disk", "size": size}, _RESIZE)
        deadline = time.monotonic() + 5.0
        while self.size() != size and time.monotonic() < deadline:
            time.sleep(0.1)

    # ------------------------------------------------------------ the daemon's control socket

    def _connect(self) -> None:
        deadline = time.monotonic() + _START
        while True:
            one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                one.connect(str(self._socket))
            except OSError:
                one.close()
                if not self.alive or time.monotonic() > deadline:
                    raise Failure(DEVICE, "qemu-storage-daemon does not start") from None
                time.sleep(0.02)
                continue
            self._qmp = one
            self._answer(time.monotonic() + _START)
            self._command("qmp_capabilities", {}, _START)
            return

    def _open(self, volume: dict[str, Any], address: str) -> None:
        disk = {
            "driver": "iscsi",
            "node-name": "disk",
            "transport": "tcp",
            "portal": address,
            "target": volume["iqn"],
            "lun": volume["lun"],
            "initiator-name": volume["initiator"],
            "read-only": volume.get("read_only", False),
            "discard": "unmap",
        }
        if volume.get("user"):
            self._command("object-add", {"qom-type": "secret", "id": "chap", "data": volume["password"]}, _START)
            disk |= {"user": volume["user"], "password-secret": "chap"}
        self._command("blockdev-add", disk, _LOGIN)
        export = {
            "type": "fuse",
            "id": "file",
            "node-name": "disk",
            "mountpoint": self.file,
            "writable": not volume.get("read_only", False),
            "growable": False,
            "allow-other": "off",
        }
        self._command("block-export-add", export, _START)

    def _command(self, name: str, arguments: dict[str, Any], seconds: float) -> Any:
        assert self._qmp is not None
        deadline = time.monotonic() + seconds
        try:
            self._qmp.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
            while "return" not in (answer := self._answer(deadline)):
                if "error" in answer:
                    raise _refusal(answer["error"]["desc"])
        except TimeoutError:
            raise Failure(LOGIN if name == "blockdev-add" else DEVICE, f"no answer within {seconds:.0f} s") from None
        except OSError as error:
            raise Failure(DEVICE, f"qemu-storage-daemon has ended: {error.strerror}") from error
        return answer["return"]

    def _answer(self, deadline: float) -> dict[str, Any]:
        assert self._qmp is not None
        while b"\n" not in self._unread:
            self._qmp.settimeout(max(0.01, deadline - time.monotonic()))
            more = self._qmp.recv(65536)
            if not more:
                raise ConnectionError(0, "its control socket was closed")
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _refusal(text: str) -> Failure:
    for words, layer, message in _REFUSALS:
        if words in text:
            return Failure(layer, message or text)
    return Failure(DEVICE, text)
