"""What can go wrong with a volume, by the layer in which it did."""

from __future__ import annotations

NETWORK = "network"
PORTAL = "portal"
LOGIN = "login"
CHAP = "CHAP"
DEVICE = "device"
FILE_SYSTEM = "file system"
MOUNT = "mount"

HINTS = {
    NETWORK: "see that the server runs and is on the same network: labctl status",
    PORTAL: "see that the server's service runs: labctl status --storage, labctl logs SERVER",
    LOGIN: "run labctl up, which tells the server again who may log in",
    CHAP: "run labctl up, which gives both sides the same password again",
    DEVICE: "see the server's log and its free space: labctl logs SERVER",
    FILE_SYSTEM: "keep a copy of the volume's data, then remove the volume or repair it by hand",
    MOUNT: "run labctl up, which tells the server again who may mount",
}


class Failure(Exception):
    """A volume cannot be brought up: the layer, one sentence, one thing to do next."""

    def __init__(self, layer: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.layer = layer
        self.message = message
        self.hint = hint or HINTS[layer]


class Pending(Exception):
    """A change that is made when the volume is brought up the next time: one sentence, and how to come to that."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
