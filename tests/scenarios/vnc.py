"""Just enough of VNC to try a password."""

from __future__ import annotations

import socket

from labctl.features import vncauth

PORT = 5901
VNC_AUTH = 2


def vnc_accepts(address: str, password: str) -> bool:
    """Whether the X server at `address` lets in whoever has `password`."""
    with socket.create_connection((address, PORT), timeout=10) as connection:
        stream = connection.makefile("rwb")
        assert stream.read(12).startswith(b"RFB 003.008")
        stream.write(b"RFB 003.008\n")
        stream.flush()
        kinds = stream.read(stream.read(1)[0])
        assert VNC_AUTH in kinds
        stream.write(bytes([VNC_AUTH]))
        stream.flush()
        challenge = stream.read(16)
        stream.write(vncauth.answer(password, challenge))
        stream.flush()
        return stream.read(4) == b"\0\0\0\0"
