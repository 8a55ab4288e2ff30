"""Bringing files, directories and their names to the disk, so that they outlive a loss of power."""

from __future__ import annotations

import os
from pathlib import Path


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


def _synchronise(place: str) -> None:
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
