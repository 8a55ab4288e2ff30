"""The server that runs an ASGI application until it is told to stop: uvicorn, which comes with an extra."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from metalayer.core.errors import UsageError

if TYPE_CHECKING:
    import socket

_GRACE = 30


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises:
        UsageError: the address is taken, or is none of this machine.
    """
    import socket  # noqa: PLC0415 - for servers only

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise UsageError(
            f"Nothing can listen at {host}, port {port}: {error.strerror or error}.",
            hint="Choose another address with --host and --port, or stop what listens there.",
        ) from error
    return made


def require_server() -> None:
    """Refuse where the server is not installed.

    Raises:
        UsageError: it is not.
    """
    try:
        import httptools  # noqa: F401, PLC0415 - for servers only
        import uvicorn  # noqa: F401, PLC0415 - as above
    except ImportError as error:
        raise UsageError(
            "What serves HTTP is not installed.", hint="Install it: pip install 'metalayer[server]'"
        ) from error


def serve(application: Any, listening: socket.socket, *, started: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT: then nothing more is taken, what is under way is answered, and it returns."""
    import uvicorn  # noqa: PLC0415 - for servers only

    class Server(uvicorn.Server):
        """uvicorn, which tells when it has started, and whose signals end it without ending the process."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started()

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.handle_exit, number, None)
            try:
                yield
            finally:
                for number in (signal.SIGTERM, signal.SIGINT):
                    loop.remove_signal_handler(number)

    config = uvicorn.Config(
        application,
        http="httptools",
        loop="asyncio",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE,
        backlog=2048,
    )
    Server(config).run(sockets=[listening])
