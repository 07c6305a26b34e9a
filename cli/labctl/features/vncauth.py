"""VNC's password file: passwords hidden with DES under a key that everybody knows, as every VNC server reads them.

It protects nothing by itself (the file's mode does); it is written here so that a node needs no tool and no start-up
time for it. The same cipher answers the server's challenge (RFB 3.8, "VNC Authentication").
"""

from __future__ import annotations

from collections.abc import Sequence

_FILE_KEY = bytes((23, 82, 107, 6, 35, 78, 88, 7))

_IP = (
    "58 50 42 34 26 18 10 2 60 52 44 36 28 20 12 4 62 54 46 38 30 22 14 6 64 56 48 40 32 24 16 8 "
    "57 49 41 33 25 17 9 1 59 51 43 35 27 19 11 3 61 53 45 37 29 21 13 5 63 55 47 39 31 23 15 7"
)
_FP = (
    "40 8 48 16 56 24 64 32 39 7 47 15 55 23 63 31 38 6 46 14 54 22 62 30 37 5 45 13 53 21 61 29 "
    "36 4 44 12 52 20 60 28 35 3 43 11 51 19 59 27 34 2 42 10 50 18 58 26 33 1 41 9 49 17 57 25"
)
_E = (
    "32 1 2 3 4 5 4 5 6 7 8 9 8 9 10 11 12 13 12 13 14 15 16 17 "
    "16 17 18 19 20 21 20 21 22 23 24 25 24 25 26 27 28 29 28 29 30 31 32 1"
)
_P = "16 7 20 21 29 12 28 17 1 15 23 26 5 18 31 10 2 8 24 14 32 27 3 9 19 13 30 6 22 11 4 25"
_PC1 = (
    "57 49 41 33 25 17 9 1 58 50 42 34 26 18 10 2 59 51 43 35 27 19 11 3 60 52 44 36 "
    "63 55 47 39 31 23 15 7 62 54 46 38 30 22 14 6 61 53 45 37 29 21 13 5 28 20 12 4"
)
_PC2 = (
    "14 17 11 24 1 5 3 28 15 6 21 10 23 19 12 4 26 8 16 7 27 20 13 2 "
    "41 52 31 37 47 55 30 40 51 45 33 48 44 49 39 56 34 53 46 42 50 36 29 32"
)
_SHIFTS = "1122222212222221"
_BOXES = (
    "e4d12fb83a6c59070f74e2d1a6cb953841e8d62bfc973a50fc8249175b3ea06d",
    "f18e6b34972dc05a3d47f28ec01a69b50e7ba4d158c6932fd8a13f42b67c05e9",
    "a09e63f51dc7b428d709346a285ecbf1d6498f30b12c5ae71ad069874fe3b52c",
    "7de3069a1285bc4fd8b56f03472c1ae9a690cb7df13e52843f06a1d8945bc72e",
    "2c417ab6853fd0e9eb2c47d150fa3986421bad78f9c5630eb8c71e2d6f09a453",
    "c1af92680d34e75baf427c9561de0b389ef528c3704a1db6432c95fabe17608d",
    "4b2ef08d3c975a61d0b7491ae35c2f8614bdc37eaf6805926bd814a7950fe23c",
    "d2846fb1a93e50c71fd8a374c56b0e927b419ce206adf35821e74a8dfc90356b",
)


def password_file(password: str, view_password: str) -> bytes:
    """The file for a server that lets `password` work and `view_password` look; both are cut at 8 bytes."""
    return b"".join(_encrypt(_FILE_KEY, _padded(each)) for each in (password, view_password))


def answer(password: str, challenge: bytes) -> bytes:
    """What a client sends back for the 16 bytes of a server's challenge."""
    key = _padded(password)
    return _encrypt(key, challenge[:8]) + _encrypt(key, challenge[8:16])


def _padded(password: str) -> bytes:
    return password.encode()[:8].ljust(8, b"\0")


def _encrypt(key: bytes, block: bytes) -> bytes:
    """DES of one block; VNC reads the bits of each key byte from the other end."""
    bits = [byte >> shift & 1 for byte in key for shift in range(8)]
    left_key, right_key = _pick(bits, _PC1)[:28], _pick(bits, _PC1)[28:]
    data = _pick([byte >> 7 - shift & 1 for byte in block for shift in range(8)], _IP)
    left, right = data[:32], data[32:]
    for shift in map(int, _SHIFTS):
        left_key = left_key[shift:] + left_key[:shift]
        right_key = right_key[shift:] + right_key[:shift]
        mixed = [a ^ b for a, b in zip(_pick(right, _E), _pick(left_key + right_key, _PC2), strict=True)]
        left, right = right, [a ^ b for a, b in zip(left, _pick(_substitute(mixed), _P), strict=True)]
    done = _pick(right + left, _FP)
    return bytes(sum(bit << 7 - place for place, bit in enumerate(done[at : at + 8])) for at in range(0, 64, 8))


def _substitute(bits: Sequence[int]) -> list[int]:
    out: list[int] = []
    for box, at in zip(_BOXES, range(0, 48, 6), strict=True):
        six = bits[at : at + 6]
        row = six[0] << 1 | six[5]
        column = six[1] << 3 | six[2] << 2 | six[3] << 1 | six[4]
        value = int(box[row * 16 + column], 16)
        out += [value >> 3 & 1, value >> 2 & 1, value >> 1 & 1, value & 1]
    return out


def _pick(bits: Sequence[int], order: str) -> list[int]:
    return [bits[int(place) - 1] for place in order.split()]
