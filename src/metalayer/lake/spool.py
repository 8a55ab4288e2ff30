"""Directories for what was fetched from outside until the engine has read it.

Each is held by a lock on itself for as long as its session lives, so that what a killed process left can be told from
what another is writing; the next that asks for a directory removes the former.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from metalayer.core.errors import ShortageError

_PREFIX = "spool-"


@dataclass(frozen=True, slots=True)
class Spool:
    """One such directory. ``handle`` is the open directory whose lock says that it is in use."""

    path: str
    handle: int

    def close(self) -> None:
        """Remove the directory with what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.handle)


def make_spool(parent: str) -> Spool:
    """Return a new directory below another, which is made where it is missing; remove what dead processes left there.

    Raises:
        ShortageError: it cannot be made.
    """
    path = Path(parent) / f"{_PREFIX}{secrets.token_hex(8)}"
    unlocked = path.with_name(f".{path.name}")
    try:
        _sweep(Path(parent))
        unlocked.mkdir(parents=True, mode=0o700)
        handle = os.open(unlocked, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        unlocked.rename(path)  # by this name others know that it is locked
    except OSError as error:
        raise ShortageError(
            f"No directory for fetched data can be made: {error.strerror}.",
            hint=f"Free some space at {parent}, or make it writable.",
        ) from error
    return Spool(str(path), handle)


def _sweep(parent: Path) -> None:
    for left in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            handle = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(handle)
