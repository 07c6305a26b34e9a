"""What the host needs to reach the outside (further CA certificates, proxies), so that builds and nodes get it too."""

from __future__ import annotations

import binascii
import ipaddress
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from labctl.recipe import Trust

CERTIFICATE_DIRECTORIES = (
    "/usr/local/share/ca-certificates",  # Debian, Ubuntu, Alpine
    "/etc/pki/ca-trust/source/anchors",  # Fedora, RHEL
    "/etc/ca-certificates/trust-source/anchors",  # Arch
    "/etc/pki/trust/anchors",  # SUSE
)
"""Where an administrator puts further CA certificates; what the distribution itself ships is elsewhere."""

_PROXY_VARIABLES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")
_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----\s*([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")
_SUFFIXES = {".crt", ".pem", ".cer", ".der", ""}
_MAX_BYTES = 1 << 20


def host_trust(environ: Mapping[str, str] = os.environ, *, root: Path = Path("/")) -> Trust:
    """The certificates and proxies that builds and nodes need on this host; the same host gives the same value.

    A proxy on a loopback address is left out: from a node that address is the node itself (`loopback_proxies`).
    """
    proxies = proxy_variables(environ)
    usable = {name: value for name, value in proxies.items() if name not in loopback_proxies(proxies)}
    if set(usable) <= {"no_proxy"}:
        usable = {}
    return Trust(certificates=extra_certificates(root), proxies=usable)


def extra_certificates(root: Path = Path("/")) -> tuple[bytes, ...]:
    """CA certificates that were added to the host's own: PEM, one each, ending in a newline, sorted, each once.

    Only certificates are taken from the files, never a private key that lies beside one.
    """
    found: set[bytes] = set()
    for directory in CERTIFICATE_DIRECTORIES:
        for path in _certificate_files(root / directory.lstrip("/")):
            found.update(_certificates(path))
    return tuple(sorted(found))


def proxy_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The proxy variables that are set, in lower case; where both spellings are set the lower one counts."""
    values = {name: environ.get(name) or environ.get(name.upper()) or "" for name in _PROXY_VARIABLES}
    return {name: value.strip() for name, value in values.items() if value.strip()}


def loopback_proxies(proxies: Mapping[str, str]) -> dict[str, str]:
    """Those of `proxies` that only the host itself can reach."""
    return {name: value for name, value in proxies.items() if name != "no_proxy" and _is_loopback(value)}


def without_password(proxy: str) -> str:
    """A proxy's address as it may be shown."""
    return re.sub(r"//[^/@]*@", "//***@", proxy)


def _is_loopback(proxy: str) -> bool:
    try:
        host = urlsplit(proxy if "://" in proxy else f"http://{proxy}").hostname or ""
    except ValueError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _certificate_files(directory: Path) -> Iterator[Path]:
    try:
        paths = sorted(directory.rglob("*"))
    except OSError:
        return
    yield from (path for path in paths if path.suffix.lower() in _SUFFIXES and path.is_file())


def _certificates(path: Path) -> Iterator[bytes]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            return
        data = path.read_bytes()
    except OSError:
        return
    bodies = [match.group(1) for match in _BLOCK.finditer(data)]
    try:
        ders = [binascii.a2b_base64(body) for body in bodies] if b"-----BEGIN" in data else [data]
    except binascii.Error:
        return
    for der in ders:
        if _is_certificate(der):
            yield ssl.DER_cert_to_PEM_cert(der).encode()


def _is_certificate(der: bytes) -> bool:
    """An ASN.1 SEQUENCE as long as `der` that begins with another one; in a private key an INTEGER comes first."""
    content = _content_of_sequence(der)
    return content is not None and content[:1] == b"\x30"


def _content_of_sequence(der: bytes) -> bytes | None:
    if len(der) < 4 or der[0] != 0x30 or not 0x81 <= der[1] <= 0x83:
        return None
    end_of_length = 2 + der[1] - 0x80
    length = int.from_bytes(der[2:end_of_length])
    return der[end_of_length:] if len(der) == end_of_length + length else None
