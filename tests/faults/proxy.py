"""A proxy before PostgreSQL that loses what it is told to lose: an answer to COMMIT, a connection, some seconds."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, quote, urlsplit

_CHUNK = 1 << 16


class Loss(StrEnum):
    """What becomes of the COMMIT that is chosen."""

    BEFORE = "before"  # it never reaches the server
    DURING = "during"  # it is passed on, and both sides are cut at once
    AFTER = "after"  # the server has answered; the answer is dropped
    LATE = "late"  # the client is cut at once, the server gets it a while later
    OUTAGE = "outage"  # the server has answered; the answer is dropped, and nobody can connect for a while


@dataclass
class Proxy:
    """Listens on a port of this machine and passes on to the server of ``url``.

    ``lose`` arms it: the next ``number``-th COMMIT has a loss. Afterwards it passes everything on.
    """

    url: str
    seconds: float = 0.5
    _pairs: list[tuple[socket.socket, socket.socket]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _loss: Loss | None = None
    _left: int = 0
    fired: bool = False

    def __enter__(self) -> Self:
        parts = urlsplit(self.url)
        options = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self._target = f"{options['host']}/.s.PGSQL.{options['port']}"
        self._port = 0
        self.listen()
        self.through = (
            f"postgresql:///{parts.path.lstrip('/')}?host=127.0.0.1&port={self._port}&user={quote(options['user'])}"
            "&sslmode=disable&gssencmode=disable"
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deaf()
        self.cut()

    def lose(self, loss: Loss, number: int) -> None:
        """Lose something at the ``number``-th COMMIT from now."""
        with self._lock:
            self._loss, self._left, self.fired = loss, number, False

    def cut(self, seconds: float = 0.0) -> None:
        """Cut every connection; nobody gets a new one for some seconds."""
        if seconds:
            self._deaf()
            timer = threading.Timer(seconds, self.listen)
            timer.daemon = True
            timer.start()
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _close(*pair)

    def listen(self) -> None:
        """Take connections, on the same port as before."""
        self._listening = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, args=[self._listening], daemon=True).start()

    def _deaf(self) -> None:
        """Take no more connections: the next one is refused."""
        _close(self._listening)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._target)
            except OSError:
                _close(client, server)
                continue
            with self._lock:
                self._pairs.append((client, server))
            threading.Thread(target=self._upstream, args=(client, server), daemon=True).start()
            threading.Thread(target=self._downstream, args=(client, server), daemon=True).start()

    def _upstream(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := client.recv(_CHUNK):
                loss = self._chosen(chunk)
                if loss is not None:
                    self._have(loss, client, server, chunk)
                    return
                server.sendall(chunk)
        _close(client, server)

    def _downstream(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := server.recv(_CHUNK):
                if client.fileno() != -1:
                    client.sendall(chunk)
        if client.fileno() != -1:
            _close(client, server)

    def _chosen(self, chunk: bytes) -> Loss | None:
        if b"COMMIT\0" not in chunk:
            return None
        with self._lock:
            if self._loss is None:
                return None
            self._left -= 1
            if self._left:
                return None
            loss, self._loss, self.fired = self._loss, None, True
            return loss

    def _have(self, loss: Loss, client: socket.socket, server: socket.socket, chunk: bytes) -> None:
        """Lose what is to be lost. The client is cut first where the answer must not come through."""
        match loss:
            case Loss.BEFORE:
                _close(client, server)
            case Loss.DURING:
                _close(client)
                server.sendall(chunk)
                _close(server)
            case Loss.LATE:
                _close(client)
                time.sleep(self.seconds)
                server.sendall(chunk)
                time.sleep(0.2)
                _close(server)
            case Loss.AFTER | Loss.OUTAGE:
                if loss is Loss.OUTAGE:
                    self._deaf()
                _silence(client)
                server.sendall(chunk)
                time.sleep(0.1)
                _close(client, server)
                if loss is Loss.OUTAGE:
                    self.cut(2 * self.seconds)


def _silence(client: socket.socket) -> None:
    """Let nothing more reach the client, which still believes in its connection."""
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_WR)


def _close(*sockets: socket.socket) -> None:
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
