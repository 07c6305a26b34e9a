"""Which certificates and proxies of the host builds and nodes get."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from labctl.probe.trust import extra_certificates, host_trust, proxy_variables, without_password


def certificate(name: str) -> tuple[bytes, bytes]:
    """A CA certificate and its private key, PEM."""
    key = Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, None)
    )
    pem = made.public_bytes(Encoding.PEM)
    return pem, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def put(root: Path, name: str, data: bytes) -> None:
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "directory",
    [
        "/usr/local/share/ca-certificates",
        "/etc/pki/ca-trust/source/anchors",
        "/etc/ca-certificates/trust-source/anchors",
    ],
)
def test_an_administrators_certificates_are_found(tmp_path: Path, directory: str) -> None:
    pem, _ = certificate("corp")
    put(tmp_path, f"{directory}/deeper/corp.crt", pem)
    assert extra_certificates(tmp_path) == (pem,)


def test_certificates_are_single_sorted_and_each_once(tmp_path: Path) -> None:
    first, second = certificate("a")[0], certificate("b")[0]
    put(tmp_path, "/usr/local/share/ca-certificates/both.crt", b"# two\n" + second + b"\n" + first)
    put(tmp_path, "/usr/local/share/ca-certificates/again.crt", first.replace(b"\n", b"\r\n"))
    assert extra_certificates(tmp_path) == tuple(sorted([first, second]))


def test_binary_certificates_become_text(tmp_path: Path) -> None:
    pem, _ = certificate("der")
    put(tmp_path, "/etc/pki/ca-trust/source/anchors/x.cer", ssl.PEM_cert_to_DER_cert(pem.decode()))
    assert extra_certificates(tmp_path) == (pem,)


def test_a_private_key_beside_is_never_taken(tmp_path: Path) -> None:
    pem, key = certificate("corp")
    put(tmp_path, "/usr/local/share/ca-certificates/with-key.pem", key + pem)
    put(tmp_path, "/usr/local/share/ca-certificates/key.pem", key)
    binary = generate_private_key(SECP256R1()).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    put(tmp_path, "/usr/local/share/ca-certificates/key.der", binary)
    assert extra_certificates(tmp_path) == (pem,)


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",
        b"\x00" * 100,
        b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"x" * (2 << 20),
    ],
)
def test_rubbish_is_left_out(tmp_path: Path, rubbish: bytes) -> None:
    put(tmp_path, "/usr/local/share/ca-certificates/rubbish.crt", rubbish)
    assert extra_certificates(tmp_path) == ()


def test_a_directory_and_a_dangling_link_are_no_certificates(tmp_path: Path) -> None:
    directory = tmp_path / "usr/local/share/ca-certificates"
    (directory / "folder.crt").mkdir(parents=True)
    (directory / "gone.crt").symlink_to("/nowhere")
    assert extra_certificates(tmp_path) == ()


def test_proxies_in_both_spellings(tmp_path: Path) -> None:
    environ = {"HTTP_PROXY": "http://upper:1", "https_proxy": "http://lower:2", "HTTPS_PROXY": "http://upper:2"}
    assert proxy_variables(environ) == {"http_proxy": "http://upper:1", "https_proxy": "http://lower:2"}
    assert host_trust(environ, root=tmp_path).proxies == proxy_variables(environ)


@pytest.mark.parametrize(
    "proxy",
    ["http://127.0.0.1:3128", "http://localhost:8080/", "http://user:pw@[::1]:3128", "127.1.2.3:80", "0.0.0.0:3128"],
)
def test_a_proxy_that_only_the_host_reaches_is_left_out(tmp_path: Path, proxy: str) -> None:
    environ = {"http_proxy": proxy, "https_proxy": "http://proxy.corp.example:3128", "no_proxy": "corp.example"}
    assert set(host_trust(environ, root=tmp_path).proxies) == {"https_proxy", "no_proxy"}


def test_no_proxy_alone_says_nothing(tmp_path: Path) -> None:
    assert host_trust({"no_proxy": "localhost", "http_proxy": "http://127.0.0.1:1"}, root=tmp_path).proxies == {}
    assert host_trust({"http_proxy": ""}, root=tmp_path).proxies == {}


def test_a_proxys_password_is_not_shown(tmp_path: Path) -> None:
    proxy = "http://ana:canary-5309@proxy.corp.example:3128"
    assert without_password(proxy) == "http://***@proxy.corp.example:3128"
    assert "canary" not in repr(host_trust({"http_proxy": proxy}, root=tmp_path))
