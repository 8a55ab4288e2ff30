"""Remembering a loaded project, so that a run with nothing to do need not parse it again.

What is kept is a frozen `Project` under ``.metalayer/cache``, beside the names, sizes and times of all declared files.
It is used only where every one of them is as it was, and read only as MetaLayer's own frozen values: a foreign file in
its place can make nothing run.
"""

from __future__ import annotations

import enum
import hashlib
import io
import os
import pickle
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from metalayer.core.check import Check
from metalayer.core.errors import MetaLayerError
from metalayer.core.model import Ingest, Model
from metalayer.core.policy import Policies
from metalayer.core.project import Project
from metalayer.core.schema import Column
from metalayer.core.source import SourceType
from metalayer.project.layout import declared_files

_SETTLED = 2_000_000_000
"""Nanoseconds that a file must have lain still before it was remembered: clocks of file systems are coarse."""


def load_remembered(root: str, *, sources: Mapping[str, SourceType], version: str) -> Project:
    """Return the project as `load` does, from memory where no declared file changed since.

    ``version`` is the program's: what another version remembered is not used.
    """
    cache = Path(root, ".metalayer", "cache", "project")
    key, newest = _key(root, version)
    found = _recall(cache, key)
    if found is not None:
        return found
    from metalayer.project.loading import load  # noqa: PLC0415 - parsing is what is spared here

    project = load(root, sources=sources)
    if cache.parents[1].is_dir():
        _keep(cache, key, newest, project)
    return project


def fingerprint(root: str) -> bytes:
    """Return what tells a project's declared files, by names, sizes and times, from what they were or will be.

    Beside declarations others may lie in the project's own directory, such as a log that grows: they are passed over.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in declared_files(Path(root)):
        if path.parent == Path(root) and path.suffix not in {".yml", ".yaml"}:
            continue
        with suppress(OSError):
            stat = path.stat()
            digest.update(f"\0{path}\0{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}".encode())
    return digest.digest()


def _key(root: str, version: str) -> tuple[bytes, int]:
    """Return a fingerprint of all declared files' names, sizes and times, and the newest of the times."""
    # the values' fields too: between two releases they change under one version
    fields = [getattr(item, "__slots__", ()) for item in (Project, Model, Check, Column, Policies, Ingest)]
    digest = hashlib.blake2b(f"{version} {sys.version} {os.path.realpath(root)} {fields}".encode(), digest_size=32)
    newest = 0
    for path in declared_files(Path(root)):
        try:
            stat = path.stat()
        except OSError:
            continue
        digest.update(f"\0{path}\0{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}".encode())
        newest = max(newest, stat.st_mtime_ns, stat.st_ctime_ns)
    return digest.digest(), newest


def _recall(cache: Path, key: bytes) -> Project | None:
    try:
        content = cache.read_bytes()
    except OSError:
        return None
    if content[: len(key)] != key:
        return None
    try:
        found = _Reader(io.BytesIO(content[len(key) :])).load()
    except (pickle.UnpicklingError, MetaLayerError, ImportError, AttributeError, EOFError, TypeError, ValueError):
        return None  # written by something else: the project is simply read again
    return found if isinstance(found, Project) else None


def _keep(cache: Path, key: bytes, newest: int, project: Project) -> None:
    try:
        cache.parent.mkdir(exist_ok=True)
        mine = cache.with_name(f"project.{os.getpid()}")
        mine.write_bytes(key + pickle.dumps(project, protocol=5))
        if mine.stat().st_mtime_ns - newest < _SETTLED:
            mine.unlink()
        else:
            mine.replace(cache)
    except (OSError, pickle.PicklingError, TypeError, AttributeError):
        return  # a project that cannot be remembered is read each time


class _Reader(pickle.Unpickler):
    """Makes frozen dataclasses, enumerations and durations; refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in {("datetime", "timedelta"), ("builtins", "frozenset"), ("builtins", "set")}:
            return super().find_class(module, name)
        if module.startswith("metalayer."):  # options of a third party's source: its projects are read each time
            found = super().find_class(module, name)
            if isinstance(found, type) and (is_dataclass(found) or issubclass(found, enum.Enum)):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no frozen value")
