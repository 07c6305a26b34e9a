"""One lab on disk: keys, secrets, journal; and its lock. The only module that names paths below labctl's home.

Nothing here is needed to see or to take down a lab (labels on the engine's objects are the state); when the directory
is lost, `up` makes new keys and passwords and puts them into the nodes.
"""

from __future__ import annotations

import errno
import json
import os
import pwd
import re
import secrets
import shutil
import socket
import struct
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from labctl.errors import BusyError

PAGE = "_page"
"""Stands for the page with all desktops, where nodes are named."""


@dataclass(frozen=True, slots=True)
class NodeSecrets:
    """What opens the desktop of one node: `token` through the gateway, `view_token` to look only.

    VNC passwords have 8 characters, all that the protocol uses.
    """

    vnc_password: str = field(repr=False)
    vnc_view_password: str = field(repr=False)
    token: str = field(repr=False)
    view_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Put:
    """What was last put into a node: the digest of its content, "" while that is being changed.

    `packages` are those that it got since it was made.
    """

    content: str
    packages: tuple[str, ...] = ()


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """labctl's own directory: ``LABCTL_HOME``, else the platform's state directory of the user who runs it."""
    if given := environ.get("LABCTL_HOME"):
        return Path(given).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_state_dir("labctl", appauthor=False))


def cache(environ: Mapping[str, str] = os.environ) -> Path:
    """Where rebuildable things (downloads, half-made base images) lie."""
    if given := environ.get("LABCTL_HOME"):
        return Path(given).expanduser().absolute() / "cache"
    import platformdirs

    return Path(platformdirs.user_cache_dir("labctl", appauthor=False))


def known_labs(root: Path) -> list[str]:
    """Names of the labs that have a directory below `root` (labctl's home), sorted."""
    labs = root / "labs"
    return sorted(entry.name for entry in labs.iterdir() if entry.is_dir()) if labs.is_dir() else []


def has_disks(root: Path) -> bool:
    """Whether machines of some lab have disks that outlive them, and maybe the lab, by labctl's home `root`."""
    disks = root / "disks"
    return disks.is_dir() and any(disks.iterdir())


class LabDirectory:
    """The files of one lab below labctl's home. Nothing is created until it is needed; all of it is 0700/0600."""

    def __init__(self, root: Path, name: str) -> None:
        self.name = name
        self.path = root / "labs" / name
        self.key = self.path / "id_ed25519"
        self.ssh_config = self.path / "ssh_config"
        self.known_hosts = self.path / "known_hosts"
        self.machines = self.path / "machines"
        self.processes = self.path / "processes"
        self.log = self.path / "labctl.log"
        self._secrets = self.path / "secrets.json"
        self._journal = self.path / "journal.json"
        self._source = self.path / "source.json"
        self._restoring = self.path / "restoring.json"

    @property
    def exists(self) -> bool:
        return self.path.is_dir()

    # ------------------------------------------------------------ lock

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lab. Raises `BusyError`, naming who holds it, when another labctl of this host works on it.

        The lock is a name in the kernel's own table of sockets: the same for all users and homes of the host, no file
        that can be left, and gone with the process, however that ends.
        """
        address = f"\0labctl/{self.name}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lock:
            try:
                lock.bind(address)
                lock.listen(socket.SOMAXCONN)  # those who ask are never answered, and stay in the queue
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                raise BusyError(
                    f"another labctl works on lab {self.name}", details=[_holder(address)], hint=_WAIT
                ) from None
            yield

    # ------------------------------------------------------------ keys and secrets

    @property
    def has_key(self) -> bool:
        """The lab's ssh key is there, both halves whole."""
        public = self.key.with_suffix(".pub")
        try:
            return self.key.read_text().rstrip().endswith(_KEY_END) and bool(_PUBLIC_KEY.match(public.read_text()))
        except (OSError, ValueError):
            return False

    def without_secrets(self, nodes: Iterable[str]) -> set[str]:
        """Those of the nodes whose secrets are not there; `PAGE` stands for the tokens of the page of desktops."""
        known = self._read(self._secrets)
        kept = known.get("nodes")
        pages = all(isinstance(known.get(key), str) for key in ("page", "page_view"))
        return {
            node
            for node in nodes
            if not (pages if node == PAGE else isinstance(kept, dict) and _complete(kept.get(node)))
        }

    def public_key(self) -> str:
        """The lab's public ssh key, one line; the pair is made when it is not there."""
        public = self.key.with_suffix(".pub")
        if not self.has_key:
            private_text, public_text = _key_pair(f"labctl-{self.name}")
            _private_directory(self.path)
            _write(public, public_text + "\n")
            _write(self.key, private_text)
        return public.read_text().strip()

    def secrets(self, *nodes: str) -> dict[str, NodeSecrets]:
        """The secrets of the named nodes, made and kept when they are new. An unreadable file is made anew."""
        known = self._read(self._secrets)
        kept: dict[str, Any] = known.setdefault("nodes", {})
        new = [node for node in nodes if not _complete(kept.get(node))]
        for node in new:
            kept[node] = asdict(
                NodeSecrets(
                    vnc_password=secrets.token_urlsafe(6),
                    vnc_view_password=secrets.token_urlsafe(6),
                    token=secrets.token_urlsafe(24),
                    view_token=secrets.token_urlsafe(24),
                )
            )
        if new:
            _private_directory(self.path)
            _write(self._secrets, json.dumps(known))
        return {node: NodeSecrets(**kept[node]) for node in nodes}

    def page_token(self) -> str:
        """The token of the lab's page that lists all desktops."""
        return self._page("page")

    def page_view_token(self) -> str:
        """The token of the same page to look only."""
        return self._page("page_view")

    def _page(self, key: str) -> str:
        known = self._read(self._secrets)
        if not isinstance(known.get(key), str):
            known[key] = secrets.token_urlsafe(24)
            _private_directory(self.path)
            _write(self._secrets, json.dumps(known))
        token: str = known[key]
        return token

    def chap(self, logins: Iterable[str]) -> dict[str, str]:
        """The CHAP secret of each login (``TARGET/INITIATOR``), made and kept when it is new: 16 characters."""
        known = self._read(self._secrets)
        kept = known.get("chap")
        kept = kept if isinstance(kept, dict) else {}
        new = {login: secrets.token_urlsafe(12) for login in logins if not isinstance(kept.get(login), str)}
        if new:
            known["chap"] = kept | new
            _private_directory(self.path)
            _write(self._secrets, json.dumps(known))
        return {login: (kept | new)[login] for login in logins}

    def has_chap(self, logins: Iterable[str]) -> bool:
        """Whether the secrets of all these logins are there."""
        kept = self._read(self._secrets).get("chap")
        return all(isinstance(kept, dict) and isinstance(kept.get(login), str) for login in logins)

    # ------------------------------------------------------------ journal

    def journal(self) -> dict[str, Put] | None:
        """What was last put into each container, by the engine's id; None when the journal cannot be read."""
        if not self._journal.exists():
            return {}
        nodes: Any = self._read(self._journal).get("nodes")
        try:
            return {str(id): Put(str(each["content"]), tuple(each["packages"])) for id, each in nodes.items()}
        except (AttributeError, KeyError, TypeError):
            return None

    def record(self, journal: Mapping[str, Put]) -> None:
        """Keep `journal` (engine id → what was put into the node) for the next run."""
        _private_directory(self.path)
        _write(self._journal, json.dumps({"nodes": {id: asdict(each) for id, each in journal.items()}}))

    def remember_source(self, files: list[str], directory: str) -> None:
        """Keep which files (absolute) the lab was made from."""
        text = json.dumps({"files": files, "directory": directory})
        if not self._source.is_file() or self._source.read_text() != text:
            _private_directory(self.path)
            _write(self._source, text)

    def source(self) -> tuple[list[str], str] | None:
        """The files and the directory the lab was made from; None when that is not known."""
        kept = self._read(self._source)
        files, directory = kept.get("files"), kept.get("directory")
        if isinstance(files, list) and isinstance(directory, str):
            return [str(file) for file in files], directory
        return None

    @property
    def restoring(self) -> str | None:
        """The snapshot that is being brought back, or that a run that was killed left half brought back."""
        known = self._read(self._restoring).get("snapshot")
        return known if isinstance(known, str) else None

    def begin_restoring(self, snapshot: str) -> None:
        """Note, before anything is changed, what is brought back."""
        _private_directory(self.path)
        _write(self._restoring, json.dumps({"snapshot": snapshot}))

    def end_restoring(self) -> None:
        """All of it is there."""
        self._restoring.unlink(missing_ok=True)

    # ------------------------------------------------------------ ssh

    def host_keys(self) -> dict[str, str]:
        """The public host keys that nodes are known by: name → type and key."""
        try:
            lines = [line.split() for line in self.known_hosts.read_text().splitlines()]
        except (OSError, ValueError):
            return {}
        return {words[0]: " ".join(words[1:]) for words in lines if len(words) == 3}

    def forget_host_keys(self, nodes: Iterable[str]) -> None:
        """Nodes that are about to be made will have keys of their own: those of their predecessors go first."""
        known = self.host_keys()
        gone = set(nodes)
        left = {name: key for name, key in known.items() if name not in gone}
        if left != known:
            _write(self.known_hosts, "".join(f"{name} {key}\n" for name, key in left.items()))

    def write_ssh_config(self, addresses: Mapping[str, str], keys: Mapping[str, str]) -> None:
        """Write `ssh_config` and `known_hosts`: one ``Host`` per node, its bare name; `keys` as in `host_keys`."""
        blocks = [_ssh_block(node, address, self) for node, address in addresses.items()]
        hosts = [f"{node} {keys[node]}" for node in addresses if node in keys]
        _private_directory(self.path)
        for path, text in ((self.ssh_config, "\n".join(blocks)), (self.known_hosts, "".join(f"{h}\n" for h in hosts))):
            if not path.is_file() or path.read_text() != text:
                _write(path, text)

    # ------------------------------------------------------------ the whole

    def append_log(self) -> IO[str]:
        """The lab's log, open for appending."""
        _private_directory(self.path)
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8")

    def remove(self) -> None:
        """Remove all files of the lab."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            data = json.loads(path.read_text())
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}


_KEY_END = "-----END OPENSSH PRIVATE KEY-----"
_PUBLIC_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]{68}\s")
_WAIT = "wait until it is done, or stop that process"


def _holder(address: str) -> str:
    """Who listens at `address`: the kernel tells the process, /proc its command and when it began."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(1.0)
            asking.connect(address)
            pid, uid, _ = struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        process = Path(f"/proc/{pid}")
        words = process.joinpath("cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
        since = time.strftime("%H:%M:%S", time.localtime(process.stat().st_ctime))
    except OSError:
        return "it started or ended just now"
    called = next((place for place, word in enumerate(words) if Path(word).name == "labctl"), None)
    command = " ".join(["labctl", *words[called + 1 :]]) if called is not None else words[0]
    return f"`{command}` of user {_user(uid)}, process {pid}, since {since}"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _complete(kept: object) -> bool:
    return isinstance(kept, dict) and set(kept) == set(NodeSecrets.__dataclass_fields__)


def _private_directory(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _write(path: Path, text: str) -> None:
    """Replace a file whole, readable by its owner alone: a reader sees the old text or the new, never half."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _key_pair(comment: str) -> tuple[str, str]:
    """A new ed25519 key: the private part in OpenSSH's format, the public part as one line."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return private, f"{public} {comment}"


def ssh_quoted(path: Path) -> str:
    """`path` as a word of an ssh configuration, which knows double quotes and expands per cent signs."""
    text = str(path).replace("%", "%%")
    if all(character.isalnum() or character in "/._-+,:@%" for character in text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _ssh_block(node: str, address: str, lab: LabDirectory) -> str:
    return "\n".join(
        (
            f"Host {node}",
            f"  HostName {address}",
            "  User lab",
            f"  IdentityFile {ssh_quoted(lab.key)}",
            "  IdentitiesOnly yes",
            f"  HostKeyAlias {node}",
            f"  UserKnownHostsFile {ssh_quoted(lab.known_hosts)}",
            "  GlobalKnownHostsFile none",
            "  StrictHostKeyChecking yes",
            "",
        )
    )
