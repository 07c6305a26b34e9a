"""An iSCSI disk: logged in in user space, a loop device over it, and a file system on that, or the device alone."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from storage import filesystem, kernel, loop
from storage.disk import Disk
from storage.failure import DEVICE, FILE_SYSTEM, LOGIN, NETWORK, PORTAL, Failure, Pending
from storage.relay import Relay
from storage.volume import MOUNTS, Ended, Life

_PORTAL = 10.0
_BECAUSE = "the kernel's initiator would log in the whole host"


class IscsiDevice(Life):
    """A raw device under a number that is the same for all who use it."""

    _relay: Relay | None = None
    _disk: Disk | None = None
    _loop: loop.Loop | None = None
    _problem: Failure | Pending | None = None
    _grown = 0
    """The size that was asked for last: what failed for want of rights would fail again."""

    def up(self) -> None:
        self._attach(number=self.wanted["loop"])

    def stop(self) -> None:
        super().stop()
        if self._relay is not None and self._disk is None:
            self._relay.close()

    def changed(self, wanted: dict[str, Any]) -> bool:
        soft = ("size", "hold")
        hard = {key: value for key, value in wanted.items() if key not in soft}
        if hard != {key: value for key, value in self.wanted.items() if key not in soft}:
            return False
        self.wanted = wanted
        return True

    def look(self) -> dict[str, Any]:
        relay, disk, device = self._relay, self._disk, self._loop
        assert relay is not None
        assert disk is not None
        assert device is not None
        if not disk.alive:
            raise Ended("the iSCSI client has ended")
        if not device.attached():
            raise Ended("the disk was taken out of use")
        relay.hold(on=bool(self.wanted.get("hold")))
        if relay.carries and self.wanted.get("size", 0) > self._grown:
            self._problem = self._try_to_grow()
        problem = self._problem
        active, standby, down = relay.paths()
        known: dict[str, Any] = {
            "way": "user space",
            "because": _BECAUSE,
            "active": active,
            "standby": standby,
            "down": down,
            "device": device.path,
            "size": device.size(),
            "wwid": self.wanted.get("wwid", ""),
        }
        if relay.held:
            known["held"] = True
        elif not active:
            known |= {"layer": PORTAL, "message": "no portal answers", "hint": "it goes on when the server is back"}
        elif isinstance(problem, Pending):
            known |= {"pending": "restart", "message": problem.message, "hint": problem.hint}
        elif problem is not None:
            known |= {"layer": problem.layer, "message": problem.message, "hint": problem.hint}
        return known

    def down(self) -> None:
        # The daemon first: whatever waits for the disk then gets an error instead of waiting on.
        if self._disk is not None:
            self._disk.close()
        if self._loop is not None:
            self._loop.clear()
            if "loop" in self.wanted:
                loop.remove(self.wanted["loop"])
        if self._relay is not None:
            self._relay.close()
        self._disk = self._loop = self._relay = self._problem = None
        self._grown = 0

    def _attach(self, *, number: int | None) -> loop.Loop:
        self._relay = Relay(self.wanted["portals"])
        if not self._relay.wait(_PORTAL):
            refused = self._relay.why_down() == "refused"
            portals = " and ".join(self.wanted["portals"])
            what = f"{portals}: the connection is refused" if refused else f"{portals}: no answer"
            raise Failure(PORTAL if refused else NETWORK, what)
        try:
            self._disk = Disk(self.wanted, self._relay.address)
        except Failure as error:
            if error.layer == PORTAL and self._relay.paths()[0]:
                # The portal answers: who was refused may find the connection closed before the answer was read.
                raise Failure(LOGIN, error.message) from error
            raise
        try:
            read_only = self.wanted.get("read_only", False)
            self._loop = loop.attach(self._disk.file, read_only=read_only, number=number)
        except OSError as error:
            raise Failure(DEVICE, f"no loop device: {error.strerror}") from error
        return self._loop

    def _try_to_grow(self) -> Failure | Pending | None:
        """A disk that cannot grow now goes on as it is, and the next look tries again."""
        try:
            if self._loop is not None and self.wanted["size"] > self._loop.size():
                self._grow()
            self._grown = self.wanted["size"]
        except Pending as error:
            self._grown = self.wanted["size"]
            return error
        except Failure as error:
            if error.layer == FILE_SYSTEM:
                self._grown = self.wanted["size"]
            print(f"{self.name}: {error.layer}: {error.message}", flush=True)
            return error
        except OSError as error:
            return Failure(DEVICE, f"it does not grow: {error.strerror}")
        return None

    def _grow(self) -> None:
        assert self._disk is not None
        assert self._loop is not None
        self._disk.grow(self.wanted["size"])
        self._loop.grow()


class IscsiVolume(IscsiDevice):
    """A file system on a disk, mounted at /lab/mounts/VOLUME until it is moved into the node."""

    _kind = ""
    _mount = ""

    def up(self) -> None:
        place = Path(MOUNTS, self.name)
        place.mkdir(parents=True, exist_ok=True)
        read_only = self.wanted.get("read_only", False)
        device = self._attach(number=None)
        self._kind = filesystem.prepare(
            device.path, device.size(), self.wanted.get("fs") or "ext4", read_only=read_only
        )
        filesystem.mount(device.path, str(place), self._kind, read_only=read_only)
        self._mount = kernel.device_of(str(place))
        # From here on the mount alone keeps the device: it goes with it, whoever is killed.
        device.release()

    def look(self) -> dict[str, Any]:
        return super().look() | {
            "source": str(Path(MOUNTS, self.name)),
            "mount": self._mount,
            "fs": self._kind,
        }

    def down(self) -> None:
        if self._disk is not None:
            self._disk.close()
        with suppress(OSError):
            kernel.unmount(str(Path(MOUNTS, self.name)), kernel.DETACH)
        super().down()

    def _grow(self) -> None:
        super()._grow()
        assert self._loop is not None
        filesystem.grow(self._loop.path, self._kind)
