"""The engine's errors in labctl's words: what happened, the engine's own sentence as evidence, one thing to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import ConflictError, DeadlineError, HostError, LabctlError


@contextmanager
def translated(doing: str, *, own_choice: bool = False, chosen_ports: frozenset[int] = frozenset()) -> Iterator[None]:
    """Turn what the SDK raises into labctl's errors.

    `doing` completes "the engine failed to …"; `own_choice` says that labctl itself chose the subnet in question, and
    `chosen_ports` which host ports it chose, so that others can be taken.
    """
    try:
        yield
    except LabctlError:
        raise
    except Exception as error:
        known = _explained(error, doing, own_choice=own_choice, chosen_ports=chosen_ports)
        if known is None:
            raise
        raise known from error


def _explained(error: Exception, doing: str, *, own_choice: bool, chosen_ports: frozenset[int]) -> LabctlError | None:
    """What an error of the SDK, or of the operating system, means; None for any other."""
    from labctl.providers.docker.client import APIError, DockerException, NoConnection, RequestException, Timeout

    if isinstance(error, APIError):
        return explain(str(error.explanation or error), doing, own_choice=own_choice, chosen_ports=chosen_ports)
    if isinstance(error, Timeout):
        return DeadlineError(
            f"the engine gave no answer in time: {doing}",
            hint="look at its load and its log, then try again",
            code="LAB-HOST-006",
        )
    if isinstance(error, NoConnection | DockerException | RequestException | OSError):
        return unreachable(error)
    return None


def unreachable(error: BaseException) -> HostError:
    """Why there is no talking to the engine: no permission, or it does not run."""
    chain = _chain(error)
    text = " ".join(str(each) for each in chain)
    if any(isinstance(each, PermissionError) for each in chain) or "Permission denied" in text:
        return HostError(
            "no permission to use the container engine",
            details=[str(error)],
            hint="sudo usermod -aG docker $USER, then log in again",
            code="LAB-HOST-003",
        )
    if any(isinstance(each, TimeoutError) for each in chain) or "timed out" in text.lower():
        return HostError(
            "the container engine does not answer", details=[str(error)], hint="labctl doctor", code="LAB-HOST-002"
        )
    return HostError(
        "the container engine is not running", details=[str(error)], hint="labctl doctor --fix", code="LAB-HOST-002"
    )


def explain(
    text: str, doing: str, *, own_choice: bool = False, chosen_ports: frozenset[int] = frozenset()
) -> LabctlError:
    """The error that stands behind a sentence of the engine."""
    text = " ".join(text.split())
    for pattern, make in _RULES:
        if found := re.search(pattern, text, re.IGNORECASE):
            return make(_Complaint(text, doing, own_choice, chosen_ports, tuple(each or "" for each in found.groups())))
    return LabctlError(f"the engine failed to {doing}", details=[text], code="LAB-HOST-006")


def foreign(kind: str, name: str, owner: str | None = None) -> ConflictError:
    """The name is taken by something that is not this lab's: it is left alone."""
    whose = f"lab {owner}" if owner else "something that labctl did not make"
    return ConflictError(
        f"the {kind} name {name} belongs to {whose}",
        taken=f"{kind} {name}",
        retry=False,
        details=["it is left as it is"],
        hint=f"rename the lab, or remove it: docker {'' if kind == 'container' else kind + ' '}rm {name}",
        code="LAB-HOST-008",
    )


# ---------------------------------------------------------------- rules


@dataclass(frozen=True, slots=True)
class _Complaint:
    """What the engine said, while `doing` what; `groups` is what the rule's pattern found."""

    text: str
    doing: str
    own_choice: bool
    chosen_ports: frozenset[int]
    groups: tuple[str, ...]


_Make = Callable[[_Complaint], LabctlError]


def _port(said: _Complaint) -> LabctlError:
    place = re.search(r"(\d+\.\d+\.\d+\.\d+):(\d+)", said.text)
    port = f"{place[1]}:{place[2]}" if place else "a port"
    return ConflictError(
        f"port {port} of this host is in use already",
        taken=f"port {port}",
        retry=place is not None and int(place[2]) in said.chosen_ports,
        details=[said.text],
        hint=f"sudo ss -ltnup 'sport = :{place[2]}' shows by whom" if place else "sudo ss -ltnup shows by whom",
        code="LAB-NET-004",
    )


def _subnet(said: _Complaint) -> LabctlError:
    named = re.search(r"\d+\.\d+\.\d+\.\d+/\d+", said.doing)
    subnet = f"subnet {named[0]}" if named else "the subnet"
    return ConflictError(
        f"{subnet} is in use by another network of this host",
        taken=subnet,
        retry=said.own_choice,
        details=[said.text],
        hint="give the network another `subnet`, or leave it out to have a free one chosen",
        code="LAB-NET-002",
    )


def _address(said: _Complaint) -> LabctlError:
    return ConflictError(
        f"an address of the node is in use already on its network: {said.doing}",
        taken="address",
        retry=False,
        details=[said.text],
        hint="docker network inspect shows which container has it",
        code="LAB-NET-006",
    )


def _disk_full(said: _Complaint) -> LabctlError:
    return HostError(
        "the disk of the container engine is full",
        details=[said.text],
        hint="labctl box prune and docker system df show and free space",
        code="LAB-HOST-005",
    )


def _no_registry(said: _Complaint) -> LabctlError:
    return HostError(
        "the image registry cannot be reached from this host",
        details=[said.text],
        hint="docker load it from a file, or check network and proxy of the engine",
        code="LAB-IMG-003",
    )


def _no_image(said: _Complaint) -> LabctlError:
    return LabctlError(
        f"image not found: {said.doing}",
        details=[said.text],
        hint="check its name and tag, or docker login if it is private",
        code="LAB-IMG-002",
    )


def _capability(said: _Complaint) -> LabctlError:
    return HostError(
        "this host's engine cannot give a capability that the node asks for",
        details=[said.text],
        hint="take it out of the node's `capabilities`",
        code="LAB-HOST-007",
    )


def _said(message: str, hint: str) -> _Make:
    def make(said: _Complaint) -> LabctlError:
        return LabctlError(message.format(*said.groups), details=[said.text], hint=hint, code="LAB-HOST-006")

    return make


_RULES: tuple[tuple[str, _Make], ...] = (
    (r"no space left on device|disk quota exceeded", _disk_full),
    (r"port is already allocated|ports are not available|userland proxy|failed to bind host port", _port),
    (r"listen (tcp|udp)\d? .*address already in use", _port),
    (r"pool overlaps with other one|networks have overlapping|non-overlapping IPv4 address pool", _subnet),
    (r"address already in use", _address),
    (r"unable to apply caps|invalid CapAdd|unknown capability|operation not permitted.*cap", _capability),
    (r"bind source path does not exist: (\S+)", _said("{0} does not exist on this host", "make it, then labctl up")),
    (
        r'exec: \\?"([^"\\]+)\\?": (?:executable file not found|stat .*no such file)',
        _said("the image has no command {0}", "look at the node's `command` and what its image contains"),
    ),
    (r"network (\S+) not found", _said("network {0} of the node is gone", "labctl up makes it and the node again")),
    (
        r"have same bridge name|bridge name (\S+) .*in use",
        _said("the bridge of this network belongs to another network", "docker network ls shows which; remove it"),
    ),
    (
        r"(?:dial tcp|lookup \S+|no such host|i/o timeout|connection refused|TLS handshake|x509|proxyconnect"
        r"|network is unreachable|Client\.Timeout)",
        _no_registry,
    ),
    (r"No such image|manifest( for \S+)? (unknown|not found)|pull access denied|repository \S+ not found", _no_image),
    (r"minimum memory limit|memory limit", _said("the node has too little memory", "give it more `memory`")),
)


def _chain(error: BaseException | None) -> list[BaseException]:
    """The error, what it was raised from, and the errors that it carries as arguments."""
    found: list[BaseException] = []
    queue = [error]
    while queue:
        each = queue.pop()
        if each is None or each in found:
            continue
        found.append(each)
        queue += [each.__cause__, each.__context__, *(arg for arg in each.args if isinstance(arg, BaseException))]
    return found


def socket_problem(path: Path) -> HostError | None:
    """Why the engine's socket cannot be used, as far as the file system says so."""
    try:
        path.stat()
    except PermissionError as error:
        return unreachable(error)
    except OSError as error:
        return HostError(
            "the container engine is not running", details=[str(error)], hint="labctl doctor --fix", code="LAB-HOST-002"
        )
    return None
