"""Bringing files, directories and their names to the disk, so that they outlive a loss of power; their sums."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metalayer.core.errors import LakeError, ShortageError

_CHUNK = 1024 * 1024
_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_MORE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Say of an error of the file system what it means for the lake; ``what`` begins the sentence."""
    try:
        yield
    except OSError as error:
        said = f"{what} {error.filename or ''} cannot be used: {error.strerror or error}.".replace("  ", " ")
        if error.errno in _FULL:
            raise ShortageError(said, hint="Free some space on its disk and run it again.") from error
        if error.errno in _NO_MORE:
            raise ShortageError(said, hint="Raise the limits of this process (`ulimit -a` shows them).") from error
        raise LakeError(
            said,
            hint="Make it a directory that you may write to, or name another one under `lake: {data: …}` of the "
            "environment in metalayer.yml.",
        ) from error


def make_durable(path: str) -> None:
    """Bring a file and its name to the disk."""
    for place in (path, str(Path(path).parent)):
        _synchronise(place)


def make_directory(path: Path) -> None:
    """Create a directory with what is missing above it, and bring the names of what was created to the disk."""
    missing = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for created in missing:
        _synchronise(str(created.parent))


def crc32_of(path: str) -> int:
    """Return the CRC-32 of a file: it finds every flipped byte, and of sums it was measured to be the cheapest."""
    found = 0
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - unbuffered, for speed
        while chunk := file.read(_CHUNK):
            found = zlib.crc32(chunk, found)
    return found


def _synchronise(place: str) -> None:
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
