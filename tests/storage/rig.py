"""A small lab with shared storage, made by hand: a server, nodes, their storage containers and a keeper."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

SUBNETS = {"lan": "10.207.21", "san-1": "10.207.22", "san-2": "10.207.23"}
SIZE = 64 << 20

T = TypeVar("T")

_TAKE_UP = r"""tgt-admin --execute
for target in $(tgtadm --mode target --op show | sed -n 's/^Target \([0-9]*\):.*/\1/p'); do
    tgtadm --mode target --op unbind --tid "$target" --initiator-address ALL 2> /dev/null
done; true"""
"""tgt-admin lets in whoever comes from any address, which outweighs the names."""

_GANESHA = """\
NFS_CORE_PARAM {
    Protocols = 3, 4; NFS_Port = 2049; MNT_Port = 20048; Enable_NLM = false; Enable_RQUOTA = false;
    mount_path_pseudo = true; allow_set_io_flusher_fail = true;
}
NFSV4 { Graceless = true; RecoveryBackend = fs; Only_Numeric_Owners = true; Allow_Numeric_Owners = true; }
EXPORT_DEFAULTS { SecType = sys; Protocols = 3, 4; Transports = TCP; Access_Type = RW; Anonymous_Uid = 1000;
    Anonymous_Gid = 1000; }
"""
_STORAGE_RIGHTS = ("SYS_ADMIN", "MKNOD", "DAC_OVERRIDE", "CHOWN", "FOWNER", "SETUID", "SETGID", "KILL")
_RESOURCE = 1 << 24
_KEEPER_RIGHTS = ("SYS_ADMIN", "SYS_PTRACE", "SYS_CHROOT", "DAC_OVERRIDE", "DAC_READ_SEARCH", "KILL")


def docker(*words: str, check: bool = True, seconds: float = 60, data: bytes | None = None) -> str:
    """The engine's own program; its output."""
    done = subprocess.run(["docker", *words], input=data, capture_output=True, timeout=seconds, check=False)
    if check and done.returncode:
        raise AssertionError(f"docker {' '.join(words)}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="replace")


def say(text: str) -> None:
    """A figure, for who runs the tests with -s."""
    sys.stdout.write(f"{text}\n")


def may_grow() -> bool:
    """Whether this host can give the capability SYS_RESOURCE, which ext4 asks for."""
    (line,) = [line for line in Path("/proc/1/status").read_text().splitlines() if line.startswith("CapBnd")]
    return bool(int(line.split()[1], 16) & _RESOURCE)


def until(look: Callable[[], T], seconds: float, what: str) -> T:
    """The first true answer of `look`; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := look():
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


def mounts(pid: int) -> dict[str, tuple[str, str]]:
    """What a process sees mounted: type and device by place."""
    found = {}
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        words = before.split()
        found[words[4]] = (after.split()[0], words[2])
    return found


@dataclass
class Rig:
    """The containers of one lab, by their names in it."""

    lab: str
    images: Mapping[str, str]
    directory: Path
    subnets: Mapping[str, str] = field(default_factory=lambda: SUBNETS)
    made: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    passwords: dict[str, str] = field(default_factory=dict)
    wanted: dict[str, dict[str, Any]] = field(default_factory=dict)
    keeper_knows: dict[str, Any] = field(default_factory=lambda: {"nodes": {}, "disks": {}})

    def name(self, short: str) -> str:
        """The engine's name."""
        return f"labctl-{self.lab}-{short}"

    # ------------------------------------------------------------ making

    def begin(self) -> None:
        """The networks."""
        for network, prefix in self.subnets.items():
            docker("network", "create", "--subnet", f"{prefix}.0/24", *self._labels(network), self.name(network))

    def end(self) -> None:
        """Take everything away, the keeper first."""
        for short in reversed(self.made):
            # Only a disk container that may end in order takes away the device that it made under a number.
            if short.startswith("_disk"):
                docker("stop", "-t", "5", self.name(short), check=False)
            docker("rm", "-f", "-v", self.name(short), check=False)
        for volume in self.volumes:
            docker("volume", "rm", "-f", self.name(volume), check=False)
        for network in self.subnets:
            docker("network", "rm", self.name(network), check=False)

    def server(self, short: str = "nas") -> None:
        """A node that serves: exports ``home`` (squash none) and ``safe`` (squash root), disks as asked for."""
        words = [
            *self._volume("home", "/srv/home"),
            *self._volume("safe", "/srv/safe"),
            *self._volume("disks", "/srv/lab"),
        ]
        # nfs-ganesha opens files by their handles.
        words += ["--cap-add", "DAC_READ_SEARCH", "--security-opt", "seccomp=unconfined"]
        self._run(short, "server", ".10", words, ["tini", "--", "sleep", "infinity"])
        exports = "".join(
            f"EXPORT {{ Export_Id = {number}; Path = /srv/{name}; Pseudo = /{name}; Squash = {squash};"
            " FSAL { Name = VFS; } }\n"
            for number, (name, squash) in enumerate((("home", "No_Root_Squash"), ("safe", "Root_Squash")), start=1)
        )
        self.put(short, {"/etc/ganesha/ganesha.conf": _GANESHA + exports})
        self.sh(
            short,
            "mkdir -p /run/ganesha; chown 1000:1000 /srv/home /srv/safe; rpcbind -w; rm -f /etc/tgt/conf.d/*;"
            " echo default-driver iscsi > /etc/tgt/targets.conf",
        )
        self.serve(short)

    def serve(self, short: str = "nas") -> None:
        """Start both servers' programs."""
        docker("exec", "-d", self.name(short), "sh", "-c", "exec ganesha.nfsd -F -L /var/log/ganesha.log")
        self.sh(
            short,
            "pgrep -x tgtd > /dev/null || tgtd; i=0; until tgtadm --mode system --op show > /dev/null 2>&1;"
            " do i=$((i+1)); [ $i -lt 50 ] || exit 1; sleep 0.1; done; " + _TAKE_UP,
        )

    def disk(
        self, volume: str, initiator: str, *, size: int = SIZE, networks: tuple[str, ...] = ("san-1", "san-2")
    ) -> dict[str, Any]:
        """A disk on the server, as storage.json names it."""
        iqn = f"iqn.2026-11.internal.{self.lab}:{volume}"
        password = self.passwords.setdefault(volume, f"secret{len(self.passwords):08d}")
        wwid = f"{abs(hash((self.lab, volume))):016x}"[:16]
        lines = f"""<target {iqn}>
  <backing-store /srv/lab/{volume}>
    scsi_id {wwid}
  </backing-store>
  incominguser {volume} {password}
  initiator-name iqn.2026-11.internal.{self.lab}:{initiator}
</target>
"""
        self.sh(
            "nas",
            f"truncate -s {size} /srv/lab/{volume}; cat >> /etc/tgt/targets.conf; " + _TAKE_UP,
            data=lines,
        )
        return {
            **{"volume": volume, "kind": "iscsi", "read_only": False, "fs": "ext4", "size": size, "iqn": iqn, "lun": 1},
            **{
                "portals": [f"{self.subnets[network]}.10:3260" for network in networks],
                "user": volume,
                "password": password,
            },
            **{"initiator": f"iqn.2026-11.internal.{self.lab}:{initiator}", "wwid": wwid},
        }

    def export(self, volume: str = "home", **more: Any) -> dict[str, Any]:
        """An NFS mount, as storage.json names it."""
        return {
            **{"volume": volume, "kind": "nfs", "read_only": False, "servers": [f"{self.subnets['lan']}.10"]},
            **{"export": f"/{volume}", "path": f"/{volume}", "version": "4", "squash": "none"},
            **more,
        }

    def node(self, short: str, last: int, *, devices: tuple[int, ...] = ()) -> None:
        """A plain box node."""
        rules = [word for number in devices for word in ("--device-cgroup-rule", f"b 7:{number} rw")]
        self._run(short, "node", f".{last}", rules, [])

    def storage(self, short: str, mounts: Mapping[str, dict[str, Any]]) -> None:
        """The storage container of a node; `mounts` by target."""
        self._create(f"_storage-{short}", ["--network", f"container:{self.name(short)}"])
        self.keeper_knows["nodes"][short] = {
            "container": self.name(short),
            "storage": self.name(f"_storage-{short}"),
            "mounts": [
                {"volume": each["volume"], "target": target, "read_only": False} for target, each in mounts.items()
            ],
            "devices": [],
        }
        self.want(f"_storage-{short}", mounts=[each | {"target": target} for target, each in mounts.items()])
        docker("start", self.name(f"_storage-{short}"))

    def disk_container(self, volume: str, device: dict[str, Any], last: int, *, users: tuple[str, ...]) -> None:
        """The container of a raw disk that nodes share."""
        short = f"_disk-{volume}"
        self._create(short, ["--network", self.name("san-1"), "--ip", f"{self.subnets['san-1']}.{last}"])
        self.want(short, devices=[device])
        for user in users:
            self.keeper_knows["nodes"][user]["devices"].append({"volume": volume, "target": f"/dev/{volume}"})
        self.keeper_knows["disks"][volume] = {"container": self.name(short)}
        docker("start", self.name(short))

    def want(self, short: str, **what: Any) -> None:
        """Give a storage container what it shall do."""
        known = {"lab": self.lab, "node": short, "mounts": [], "devices": []} | what
        if what:
            self.wanted[short] = what
        self.put(short, {"/etc/lab/storage.json": json.dumps(known)}, mode=0o600)

    def want_again(self, short: str) -> None:
        """Give it what it had before it was told of nothing."""
        self.want(short, **self.wanted[short])

    def keeper(self) -> None:
        """The keeper, told of all that was made before."""
        rights = [word for right in _KEEPER_RIGHTS for word in ("--cap-add", right)]
        words = ["--network", "none", "--pid", "host", "--restart", "unless-stopped", "--cap-drop", "ALL", *rights]
        words += ["--security-opt", "apparmor=unconfined", "-v", "/var/run/docker.sock:/run/docker.sock"]
        docker(
            "create",
            "--name",
            self.name("_keeper"),
            *self._labels("_keeper"),
            *words,
            self.images["storage"],
            "tini",
            "--",
            "keeper",
            "run",
        )
        self.made.append("_keeper")
        self.tell_keeper()
        docker("start", self.name("_keeper"))

    def tell_keeper(self) -> None:
        """Give the keeper what it shall keep."""
        self.put("_keeper", {"/etc/lab/keeper.json": json.dumps({"lab": self.lab} | self.keeper_knows)}, mode=0o600)

    # ------------------------------------------------------------ asking

    def sh(
        self, short: str, script: str, *, user: str = "0", data: str = "", seconds: float = 60, check: bool = True
    ) -> str:
        """Run a shell script in a container; its output."""
        words = ["exec", "-i", "-u", user, self.name(short), "sh", "-c", script]
        return docker(*words, data=data.encode(), seconds=seconds, check=check)

    def put(self, short: str, files: Mapping[str, str], *, mode: int = 0o644) -> None:
        """Put files into a container, whether it runs or not."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path, text in files.items():
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.size, entry.mode, entry.mtime = len(text.encode()), mode, time.time()
                tar.addfile(entry, io.BytesIO(text.encode()))
        docker("cp", "-", f"{self.name(short)}:/", data=archive.getvalue())

    def state(self, short: str) -> dict[str, dict[str, Any]]:
        """What a storage container says of its volumes."""
        return self._json(short).get("volumes", {})  # type: ignore[no-any-return]

    def kept(self, node: str) -> dict[str, Any]:
        """What the keeper says of a node."""
        return self._json("_keeper").get("nodes", {}).get(node, {})  # type: ignore[no-any-return]

    def healthy(self, *nodes: str, seconds: float = 30) -> float:
        """Wait until all mounts of these nodes stand, by what the keeper says after now; how long it took."""
        began = time.monotonic()
        since = time.time()

        def well() -> bool:
            known = self._json("_keeper")
            return known.get("time", 0) > since and all(known["nodes"].get(node, {}).get("healthy") for node in nodes)

        try:
            until(well, seconds, f"{', '.join(nodes)} healthy")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(self._json('_keeper'), indent=1)}\n{self.logs()}") from None
        return time.monotonic() - began

    def logs(self) -> str:
        """What storage containers and keeper said."""
        return "\n".join(
            f"--- {short}\n{docker('logs', '--tail', '30', self.name(short), check=False)}"
            for short in self.made
            if short.startswith("_")
        )

    def pid(self, short: str) -> int:
        """The container's first process, in the host's numbering."""
        return int(docker("inspect", "-f", "{{.State.Pid}}", self.name(short)))

    def kill(self, short: str) -> None:
        """As if the whole container's processes were killed by someone else than the engine's user."""
        pid = self.pid(short)
        subprocess.run(["kill", "-9", str(pid)], check=True)
        until(lambda: not Path(f"/proc/{pid}").exists(), 10, f"{short} is dead")

    @contextmanager
    def cut(self, network: str, short: str = "nas") -> Iterator[None]:
        """Nothing of a container comes through on one of its networks."""
        words = ["nsenter", "-t", str(self.pid(short)), "-n", "iptables", "-w", "5"]
        address = f"{self.subnets[network]}.10"
        rules = [["INPUT", "-d", address, "-j", "DROP"], ["OUTPUT", "-s", address, "-j", "DROP"]]
        for rule in rules:
            subprocess.run([*words, "-I", *rule], check=True, capture_output=True)
        try:
            yield
        finally:
            for rule in rules:
                subprocess.run([*words, "-D", *rule], check=False, capture_output=True)

    # ------------------------------------------------------------ parts

    def _json(self, short: str) -> dict[str, Any]:
        text = docker("exec", self.name(short), "cat", "/run/lab/state.json", check=False)
        with suppress(ValueError):
            return json.loads(text)  # type: ignore[no-any-return]
        return {}

    def _labels(self, short: str) -> list[str]:
        labels = {
            "labctl.schema": "1",
            "labctl.lab": self.lab,
            "labctl.name": short,
            "labctl.directory": str(self.directory),
        }
        return [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]

    def _volume(self, volume: str, target: str) -> list[str]:
        docker("volume", "create", *self._labels(volume), self.name(volume))
        self.volumes.append(volume)
        return ["-v", f"{self.name(volume)}:{target}"]

    def _run(self, short: str, image: str, last: str, words: list[str], command: list[str]) -> None:
        place = [
            "--network",
            self.name("lan"),
            "--ip",
            self.subnets["lan"] + last,
            "--hostname",
            short.replace("_", "-"),
        ]
        docker("create", "--name", self.name(short), *self._labels(short), *place, *words, self.images[image], *command)
        self.made.append(short)
        for network in ("san-1", "san-2"):
            docker("network", "connect", "--ip", self.subnets[network] + last, self.name(network), self.name(short))
        if image == "node":
            self.put(short, {"/etc/lab/hosts": "", "/etc/lab/environment": "", "/etc/lab/node.env": ""})
        docker("start", self.name(short))

    def _create(self, short: str, words: list[str]) -> None:
        given = (*_STORAGE_RIGHTS, "SYS_RESOURCE") if may_grow() else _STORAGE_RIGHTS
        rights = [word for right in given for word in ("--cap-add", right)]
        rights += ["--cap-drop", "ALL", "--device", "/dev/fuse", "--device", "/dev/loop-control"]
        rights += ["--device-cgroup-rule", "b 7:* rwm", "--security-opt", "apparmor=unconfined"]
        rights += ["--security-opt", "no-new-privileges"]
        docker("create", "--name", self.name(short), *self._labels(short), *words, *rights, self.images["storage"])
        self.made.append(short)
