"""The files of a lake that lies in an object store: kept there, and copied here to be read.

A file is written here, by the engine, and put into the store before any commit names it; it is read from a copy here,
which is fetched when it is not there yet. Files never change, so a copy is always right: what limits the copies is
their size alone. A lake in a directory has no depot.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from metalayer.core.errors import (
    DeniedError,
    LakeError,
    MissingObjectError,
    StoreError,
    StoreUnavailableError,
)
from metalayer.core.names import Layer
from metalayer.core.objects import NO_ACCESS, Address, ObjectInfo, address
from metalayer.lake.disk import disk_errors, make_directory, make_durable
from metalayer.lake.values import DataFile, LakeSettings
from metalayer.objects import Store, open_store

_AT_ONCE = 8
_IN_USE = 6 * 3600.0
"""For how many seconds after it was last wanted a copy is not removed: whoever reads it may still be about to."""
_SURELY_THERE = 20 * 3600.0
"""For how many seconds a file that was put into the store is there for sure: no sweep removes a younger one."""


class LakeUnavailableError(LakeError):
    """The object store of a lake cannot be reached now; it may answer later."""

    transient = True


@dataclass(frozen=True, slots=True)
class Depot:
    """Where a lake's files are kept, and where their copies lie.

    Attributes:
        address: the lake's place in the store.
        root: the directory of the copies, laid out as the lake is.
        store: the bucket, with the writer's rights.
        remover: the bucket, with the rights to remove.
        most: how many bytes of copies are kept.
    """

    address: Address
    root: Path
    store: Store
    remover: Store
    most: int

    def _key(self, path: str | Path) -> str:
        return self.address.below(Path(path).relative_to(self.root).as_posix()).key

    def url(self, path: str | Path) -> str:
        """Return where a file lies in the store, by its path here."""
        return f"{self.address.scheme}://{self.address.bucket}/{self._key(path)}"

    # Writing

    def keep(self, paths: Sequence[str]) -> None:
        """Put files that were written here into the store; they are there for good when this returns.

        Raises:
            LakeError: the store refuses, or cannot be reached.
        """
        with _as_lake(f"Files cannot be written to {self.address}:"), ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda path: self.store.put(Path(path), self._key(path)), paths))
        self._trim()

    def has(self, path: str) -> bool:
        """Tell whether a staged file is still in the store; one that was put there a short time ago is."""
        with contextlib.suppress(OSError):
            if time.time() - Path(path).stat().st_ctime < _SURELY_THERE:
                return True
        return self.exists(Path(path))

    # Reading

    def bring_all(self, files: Iterable[DataFile]) -> None:
        """Let data files and their delete files lie here."""
        wanted: dict[str, int | None] = {}
        for file in files:
            wanted[file.path] = file.bytes
            if file.delete_path is not None:
                wanted[file.delete_path] = None
        self.bring(wanted)

    def bring(self, wanted: dict[str, int | None]) -> None:
        """Let files lie here, by their paths, and be as large as they should be where that is known.

        Raises:
            LakeError: a file is not in the store, is another than it should be, or cannot be fetched.
        """
        missing = [(path, size) for path, size in wanted.items() if self._lacks(path)]
        if not missing:
            return
        with _as_lake(f"The lake's files cannot be read from {self.address}:"), ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda item: self._fetch(*item), missing))
        self._trim()

    def _lacks(self, path: str) -> bool:
        """Tell whether a file is not here; one that is, is wanted now."""
        try:
            os.utime(path)
        except FileNotFoundError:
            return Path(path).is_relative_to(self.root)
        return False

    def _fetch(self, path: str, size: int | None) -> None:
        target = Path(path)
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        with disk_errors("The copies of the lake's files in"):
            make_directory(target.parent)
            try:
                found = self.store.fetch(self._key(path), part)
                if size is not None and found.size != size:
                    raise LakeError(
                        f"{self.url(path)} has {found.size:,} bytes instead of {size:,}.",
                        hint="Bring it back from the store's older versions or from a backup.",
                    )
                make_durable(str(part))
                part.rename(target)
            finally:
                part.unlink(missing_ok=True)

    def _trim(self) -> None:
        """Remove the copies that nobody has wanted for longest, as long as there are too many."""
        copies, now = [], time.time()
        for path in (path for layer in Layer for path in (self.root / layer.value).glob("*/*")):
            with contextlib.suppress(FileNotFoundError):  # another process trims as well
                status = path.stat()
                if path.suffix == ".parquet":
                    copies.append((status.st_mtime, status.st_size, path))
                elif path.suffix == ".part" and now - status.st_mtime > _IN_USE:  # of a process that was killed
                    path.unlink()
        size = sum(item[1] for item in copies)
        for wanted, bytes_, path in sorted(copies):
            if size <= self.most or now - wanted < _IN_USE:
                return
            path.unlink(missing_ok=True)
            size -= bytes_

    @contextmanager
    def fetched(self, path: Path) -> Iterator[Path]:
        """Fetch one file for as long as the block lasts, whether there is a copy or not; yield where it lies."""
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        make_directory(part.parent)
        try:
            with _as_lake(f"{self.url(path)} cannot be read:"):
                self.store.fetch(self._key(path), part)
            yield part
        finally:
            part.unlink(missing_ok=True)

    # Care

    def answers(self) -> str:
        """Ask the store for something that is not there; return what it says of itself.

        Raises:
            LakeError: it refuses, or cannot be reached.
        """
        with _as_lake(f"{self.address} cannot be listed:"):
            self.store.list(self.address.below("doctor/").key)
        return f"{self.address} answers; up to {self.most >> 20:,} MB of copies in {self.root}"

    def exists(self, path: Path) -> bool:
        """Tell whether a file is in the store."""
        with _as_lake(f"Files cannot be looked for in {self.address}:"):
            try:
                self.store.head(self._key(path))
            except MissingObjectError:
                return False
        return True

    def listed(self) -> dict[Path, ObjectInfo]:
        """Return what lies in the store below the lake's layers, by the paths that it has here."""
        found: dict[Path, ObjectInfo] = {}
        with _as_lake(f"{self.address} cannot be listed:"):
            for layer in Layer:
                prefix = self.address.below(f"{layer.value}/").key
                start = len(prefix) - len(f"{layer.value}/")
                found |= {self.root / item.key[start:]: item for item in self.store.list(prefix)}
        return found

    def remove(self, path: Path, *, copy: bool = True) -> None:
        """Remove a file from the store and, with its copy, here.

        Raises:
            LakeError: the rights do not allow it.
        """
        try:
            self.remover.delete(self._key(path))
        except DeniedError as error:
            raise LakeError(
                f"Maintenance may not remove files of the lake. {error.message}",
                hint="Give it rights of its own, which writers need not have: `lake: {removing: {key: …, secret: …}}`.",
            ) from None
        except StoreError as error:
            raise _translated(error, f"{self.url(path)} cannot be removed:") from None
        if copy:
            path.unlink(missing_ok=True)


@lru_cache(maxsize=16)
def depot(settings: LakeSettings) -> Depot | None:
    """Return the depot of a lake that lies in an object store, None for one in a directory.

    Raises:
        UsageError: the address is none, or the client of object stores is not installed.
    """
    if not settings.is_remote:
        return None
    place = address(settings.data)
    store = open_store(place, settings.objects)
    remover = store if settings.removing == NO_ACCESS else open_store(place, settings.removing)
    return Depot(place, Path(settings.root), store, remover, settings.cache_bytes)


def _translated(error: StoreError, words: str) -> LakeError:
    kind = LakeUnavailableError if isinstance(error, StoreUnavailableError) else LakeError
    lost = isinstance(error, MissingObjectError) and "NoSuchBucket" not in error.message
    mend = "Bring it back from the store's older versions, or: metalayer admin verify --mend-from DIR, from a backup."
    return kind(f"{words} {error.message}", hint=mend if lost else error.hint)


@contextmanager
def _as_lake(words: str) -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise _translated(error, words) from None
