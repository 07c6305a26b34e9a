"""The probe of a greeting ends the conversation so that sshd finds nothing to complain about."""

from __future__ import annotations

import socket
import threading
from ipaddress import IPv4Address

from labctl.readiness import answers
from labctl.recipe import Probe


def spoken(probe: Probe, greeting: bytes) -> tuple[bool, bytes]:
    """Whether the probe holds of a server that says `greeting`, and what the server heard until the end."""
    heard = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(greeting)
                while part := connection.recv(100):  # a reset, which sshd notes as an error, raises here
                    heard.extend(part)
            heard.extend(b"<end>")

        thread = threading.Thread(target=serve)
        thread.start()
        held = answers(
            IPv4Address("127.0.0.1"),
            Probe("ssh", "ssh", "", port=port, banner=probe.banner, farewell=probe.farewell),
            2.0,
            greeting=True,
        )
        thread.join(5)
    return held, bytes(heard)


SSH = Probe("ssh", "ssh", "", banner=b"SSH-2.0-", farewell=b"SSH-2.0-labctl\r\n")


def test_sshd_hears_a_version_and_an_orderly_end() -> None:
    assert spoken(SSH, b"SSH-2.0-OpenSSH_10.0p2 Debian-7\r\n") == (True, b"SSH-2.0-labctl\r\n<end>")


def test_a_greeting_that_breaks_off_is_no_reason_to_wait() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"SSH-2.0-Op")

        thread = threading.Thread(target=serve)
        thread.start()
        probe = Probe("ssh", "ssh", "", port=server.getsockname()[1], banner=SSH.banner, farewell=SSH.farewell)
        answers(IPv4Address("127.0.0.1"), probe, 2.0, greeting=True)
        thread.join(5)
        assert not thread.is_alive()


def test_another_greeting_does_not_hold() -> None:
    held, heard = spoken(SSH, b"HTTP/1.1 400 Bad Request\r\n")
    assert not held
    assert SSH.farewell not in heard
