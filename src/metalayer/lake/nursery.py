"""The nursery: a small process that forks workers on demand, so that each query gets a fresh one in milliseconds.

It is spawned with an empty environment and holds nothing but imported code: no connection, no file of the lake, no
secret. It does two things: it makes a worker and hands over the socket to it, and it kills one. It ends when whoever
spawned it does.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys

from metalayer.lake import sandbox, worker

MESSAGE = 64
"""How many bytes each message to the master has."""

_IMPORTED = ("decimal", "datetime", "uuid", "pytz")
"""What DuckDB's client imports only when it needs it: a worker can open no file by then."""


def main(descriptor: int) -> None:
    """Serve the master on a socket until it closes it."""
    for name in _IMPORTED:
        __import__(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the master
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # It ends when the master's end of the socket closes. Dying with the parent would be dying with the thread of the
    # parent that happened to start it.
    network_left = sandbox.leave_network()
    gc.freeze()
    control = socket.socket(fileno=descriptor)
    children: set[int] = set()
    control.sendall(_said({"ready": True}))
    rest = b""
    while True:
        readable, _, _ = select.select([control], [], [], 1.0)
        _reap(children)
        if not readable:
            continue
        asked = control.recv(4096)
        if not asked:
            break
        *lines, rest = (rest + asked).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if order["do"] == "make":
                _make(control, children, network_left=network_left)
            elif order["pid"] in children:  # a number of a child that is not reaped yet cannot be another's
                with contextlib.suppress(ProcessLookupError):
                    os.kill(order["pid"], signal.SIGKILL)
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    sys.exit(0)


def _make(control: socket.socket, children: set[int], *, network_left: bool) -> None:
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            ours.close()
            control.close()
            sandbox.die_with_parent()
            worker.main(theirs.fileno(), network_left)
            code = 0
        finally:
            os._exit(code)
    theirs.close()
    children.add(child)
    socket.send_fds(control, [_said({"pid": child})], [ours.fileno()])
    ours.close()


def _said(value: object) -> bytes:
    """Return a message of the length that all have."""
    return json.dumps(value).encode().ljust(MESSAGE)


def _reap(children: set[int]) -> None:
    while children:
        try:
            child, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if child == 0:
            return
        children.discard(child)
