"""A door on a port of this machine before a PostgreSQL that listens on a socket: plain, with TLS, or as other servers.

What lies behind is a real server; a `Front` changes only how it is reached, and what it says its version is.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_SSL_REQUEST, _GSS_REQUEST = 80_877_103, 80_877_104


class Manner(StrEnum):
    """How a door takes those who knock."""

    PLAIN = "plain"  # no TLS, as a server without a certificate
    TLS = "tls"  # TLS only, as pg_hba.conf with hostssl lines alone
    OLD = "old"  # says that it is PostgreSQL 14
    HTTP = "http"  # is a web server


@dataclass(frozen=True)
class Front:
    """An open door: ``port`` of 127.0.0.1."""

    port: int


@contextlib.contextmanager
def front(target: str, manner: Manner, directory: Path) -> Iterator[Front]:
    """Open a door before the server whose socket is ``target``; a certificate is made in ``directory``."""
    context = _certified(directory) if manner is Manner.TLS else None
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=_serve, args=(client, target, manner, context), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield Front(listening.getsockname()[1])
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def _certified(directory: Path) -> ssl.SSLContext:
    key, certificate = directory / "server.key", directory / "server.crt"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-new",
                "-x509",
                "-days",
                "2",
                "-nodes",
                "-newkey",
                "rsa:2048",
                "-subj",
                "/CN=localhost",
            ),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _serve(client: socket.socket, target: str, manner: Manner, context: ssl.SSLContext | None) -> None:
    with contextlib.suppress(OSError), client:
        if manner is Manner.HTTP:
            client.recv(1024)
            client.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            return
        first = _startup(client)
        while first is not None and _code(first) in {_SSL_REQUEST, _GSS_REQUEST}:
            if _code(first) == _SSL_REQUEST and context is not None:
                client.sendall(b"S")
                with context.wrap_socket(client, server_side=True) as safe:
                    _pass_on(safe, target, manner, _startup(safe))
                return
            client.sendall(b"N")
            first = _startup(client)
        if context is not None:
            client.sendall(_refused())
            return
        _pass_on(client, target, manner, first)


def _pass_on(client: socket.socket, target: str, manner: Manner, first: bytes | None) -> None:
    if first is None:
        return
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(target)
        server.sendall(first)
        _pass(client, server, manner)


def _startup(client: socket.socket) -> bytes | None:
    head = client.recv(4, socket.MSG_WAITALL) if not isinstance(client, ssl.SSLSocket) else client.recv(4)
    if len(head) < 4:
        return None
    rest = b""
    while len(rest) < struct.unpack("!i", head)[0] - 4:
        if not (piece := client.recv(struct.unpack("!i", head)[0] - 4 - len(rest))):
            return None
        rest += piece
    return head + rest


def _code(message: bytes) -> int:
    return int(struct.unpack("!i", message[4:8])[0])


def _refused() -> bytes:
    """Return what PostgreSQL says to one who comes without TLS where its rules name only those with it."""
    said = b'no pg_hba.conf entry for host "127.0.0.1", user "shop", database "shop", no encryption'
    fields = b"SFATAL\0VFATAL\0C28000\0M" + said + b"\0\0"
    return b"E" + struct.pack("!i", len(fields) + 4) + fields


def _pass(client: socket.socket, server: socket.socket, manner: Manner) -> None:
    """Pass everything on in both directions until one of them ends."""

    def back() -> None:
        with contextlib.suppress(OSError):
            while piece := server.recv(1 << 16):
                client.sendall(_aged(piece) if manner is Manner.OLD else piece)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    answers = threading.Thread(target=back, daemon=True)
    answers.start()
    with contextlib.suppress(OSError):
        while piece := client.recv(1 << 16):
            server.sendall(piece)
    with contextlib.suppress(OSError):
        server.shutdown(socket.SHUT_RDWR)
    answers.join()


def _aged(piece: bytes) -> bytes:
    """Return the server's words with another version of the same length in them."""
    place = piece.find(b"server_version\0")
    if place < 0:
        return piece
    begin = place + len(b"server_version\0")
    end = piece.index(b"\0", begin)
    return piece[:begin] + b"14.11"[: end - begin].ljust(end - begin, b"1") + piece[end:]
