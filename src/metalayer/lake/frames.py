"""How a worker and its master talk: frames of bytes over a socket, their length before them.

What a worker says is not trusted: its frames are bounded, and only plain values are read from them. What the master
says is, for it holds the worker's life anyway.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
from collections.abc import Callable
from typing import Any, Final

_LENGTH: Final = struct.Struct("!I")

_PLAIN: Final = frozenset(
    {
        ("datetime", "date"),
        ("datetime", "datetime"),
        ("datetime", "time"),
        ("datetime", "timedelta"),
        ("datetime", "timezone"),
        ("decimal", "Decimal"),
        ("pytz", "_UTC"),
        ("uuid", "UUID"),
    }
)
"""All that a frame of a worker may name: types that hold a value and do nothing when they are made."""


class Broken(Exception):  # noqa: N818 - within this room: the pool turns it into an error for people
    """The other side ended, or said something that it may not say."""


class TooLarge(Broken):
    """The other side said more than it may."""


class _Values(pickle.Unpickler):
    """Reads numbers, texts, times and what is made of them, and nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PLAIN:
            raise Broken(f"{module}.{name}")
        return super().find_class(module, name)


def write(descriptor: int, value: object) -> int:
    """Send a value and return how many bytes it took."""
    data = pickle.dumps(value, protocol=5)
    rest = memoryview(_LENGTH.pack(len(data)) + data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    return len(data)


def read(receive: Callable[[int], bytes], most: int) -> tuple[Any, int]:
    """Return the next value of a worker and its size in bytes.

    Args:
        receive: returns up to so many bytes, and none where the other side ended.
        most: how many bytes a value may have.

    Raises:
        Broken: there is none, it is larger, or it is no plain value.
    """
    data = _bytes(receive, most)
    try:
        return _Values(io.BytesIO(data)).load(), len(data)
    except Broken:
        raise
    except Exception as error:  # whatever broken bytes make the unpickler raise
        raise Broken("no value") from error


def read_trusted(descriptor: int) -> Any:
    """Return the next value of the master."""
    data = _bytes(lambda count: os.read(descriptor, count), 1 << 30)
    return pickle.loads(data)  # noqa: S301 - the master made this process, and can end it


def _bytes(receive: Callable[[int], bytes], most: int) -> bytes:
    (length,) = _LENGTH.unpack(_exactly(receive, _LENGTH.size))
    if length > most:
        raise TooLarge("too large")
    return _exactly(receive, length)


def _exactly(receive: Callable[[int], bytes], count: int) -> bytes:
    pieces = []
    while count:
        try:
            piece = receive(min(count, 1 << 20))
        except OSError as error:
            raise Broken("ended") from error
        if not piece:
            raise Broken("ended")
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)
