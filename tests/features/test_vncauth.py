"""The cipher of VNC passwords against published vectors."""

from __future__ import annotations

import pytest

from labctl.features.vncauth import answer, password_file


@pytest.mark.parametrize(
    ("key", "plain", "cipher"),
    [
        ("0000000000000000", "0000000000000000", "8ca64de9c1b123a7"),
        ("3000000000000000", "1000000000000001", "958e6e627a05557b"),
    ],
)
def test_the_cipher_is_des(key: str, plain: str, cipher: str) -> None:
    # VNC reads each byte of a key from its other end
    password = bytes(int(f"{byte:08b}"[::-1], 2) for byte in bytes.fromhex(key)).decode()
    assert answer(password, bytes.fromhex(plain * 2)).hex() == cipher * 2


def test_a_known_file() -> None:
    assert password_file("password", "")[:8] == bytes.fromhex("dbd83cfd727a1458")


def test_eight_characters_count() -> None:
    assert password_file("12345678and more", "x") == password_file("12345678", "x")
    assert len(password_file("a", "b")) == 16
    assert password_file("a", "b") != password_file("b", "a")
