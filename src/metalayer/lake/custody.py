"""Custody: which files the catalog needs, whether they are as they were written, and copies of them elsewhere.

While somebody holds the files (`protected`), maintenance removes none. Nothing here removes a file of the lake, and
what is copied gets its name when it is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from metalayer.core.errors import LakeError, ShortageError
from metalayer.core.names import Layer, TableName
from metalayer.lake.catalog import Connection
from metalayer.lake.disk import crc32_of, make_directory, make_durable
from metalayer.lake.values import LakeSettings

if TYPE_CHECKING:
    from metalayer.core.objects import ObjectInfo
    from metalayer.lake.depot import Depot

_LOCK = 7_101_845
_CHUNK = 1024 * 1024


class Server(Protocol):
    """What custody needs of the metastore."""

    def connect(self) -> Connection:
        """A further connection in autocommit."""
        ...


@contextlib.contextmanager
def protected(server: Server) -> Iterator[None]:
    """Let no file of the lake be removed inside the block; it ends with this process, however that ends."""
    connection = server.connect()
    try:
        connection.execute("SET lock_timeout TO 0; SET statement_timeout TO 0")
        connection.execute("SELECT pg_advisory_lock_shared(%s)", [_LOCK])
        yield
    finally:
        connection.close()


def may_remove(connection: Connection) -> bool:
    """Tell whether files may be removed in the transaction of ``connection``; nobody can begin to hold them in it."""
    return connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK]).fetchone() == (True,)


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A data or delete file that the catalog needs.

    Attributes:
        id: its number in the catalog.
        path: below the lake's directory, or absolute where the file was taken over from elsewhere.
        bytes: its size, as the commit that named it said.
        crc32: its sum when it was written, or when it was looked at first; None: not known yet.
        live: whether the newest snapshot needs it.
    """

    id: int
    table: TableName
    path: str
    bytes: int
    crc32: int | None
    live: bool

    @property
    def is_ours(self) -> bool:
        """Tell whether it lies in the lake's directory."""
        return not Path(self.path).is_absolute()


_NAMED = """
SELECT f.id, s.schema_name, t.table_name,
    CASE WHEN f.path_is_relative THEN s.path || t.path || f.path ELSE f.path END,
    f.file_size_bytes, c.crc32, f.end_snapshot IS NULL
FROM (
    SELECT data_file_id AS id, table_id, path, path_is_relative, file_size_bytes, end_snapshot
    FROM lake.ducklake_data_file
    UNION ALL
    SELECT delete_file_id, table_id, path, path_is_relative, file_size_bytes, end_snapshot
    FROM lake.ducklake_delete_file
) f
JOIN (SELECT DISTINCT ON (table_id) table_id, schema_id, table_name, path FROM lake.ducklake_table
    ORDER BY table_id, begin_snapshot DESC) t USING (table_id)
JOIN lake.ducklake_schema s USING (schema_id)
LEFT JOIN lake.metalayer_checksum c ON c.file_id = f.id
ORDER BY 2, 3, 1
"""


def named_files(connection: Connection) -> tuple[NamedFile, ...]:
    """Return every file that a kept snapshot needs."""
    return tuple(
        NamedFile(number, TableName(Layer(layer), name), path, size, crc, live)
        for number, layer, name, path, size, crc, live in connection.execute(_NAMED).fetchall()
    )


# --- looking at files ------------------------------------------------------------------------------------------------


class Trouble(StrEnum):
    """What may be wrong with a file."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    SIZE = "another size"
    CONTENT = "another content"


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not as it was written. ``detail`` says what was expected and what was found."""

    file: NamedFile
    trouble: Trouble
    detail: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What a look at the files found.

    Attributes:
        files: how many were looked at, with their size in ``bytes``.
        learned: how many had no sum yet: it was taken now, and cannot tell what happened before.
        damaged: those that are not as they were written.
    """

    files: int
    bytes: int
    learned: int
    damaged: tuple[Damage, ...]


def verify(
    connection: Connection,
    settings: LakeSettings,
    *,
    quick: bool = False,
    told: Callable[[NamedFile], None] = lambda _: None,
) -> Verified:
    """Look at every file that the catalog needs: that it is there, its size, and (unless ``quick``) its bytes."""
    named = named_files(connection)
    damaged: list[Damage] = []
    learned: dict[int, int] = {}
    there = _depot(settings)
    listed = there.listed() if there is not None else {}
    for file in named:
        told(file)
        path = Path(settings.root, file.path)
        if there is not None and file.is_ours:
            found = _look_there(file, path, there, listed, quick=quick)
        else:
            found = _look(file, path, quick=quick)
        if isinstance(found, Damage):
            damaged.append(found)
        elif file.crc32 is None and found is not None:
            learned[file.id] = found
    _learn(connection, learned)
    return Verified(len(named), sum(file.bytes for file in named), len(learned), tuple(damaged))


def _look(file: NamedFile, path: Path, *, quick: bool) -> Damage | int | None:
    """Return what is wrong with a file, else its sum where it was taken."""
    try:
        size = path.stat().st_size
        if size != file.bytes:
            return Damage(file, Trouble.SIZE, f"{size:,} bytes instead of {file.bytes:,}")
        if quick:
            return None
        found = crc32_of(str(path))
    except FileNotFoundError:
        return Damage(file, Trouble.MISSING, "it is not there")
    except OSError as error:
        return Damage(file, Trouble.UNREADABLE, error.strerror or str(error))
    if file.crc32 is not None and found != file.crc32:
        return Damage(file, Trouble.CONTENT, f"CRC-32 {found:08x} instead of {file.crc32:08x}")
    return found


def _look_there(
    file: NamedFile, path: Path, there: Depot, listed: Mapping[Path, ObjectInfo], *, quick: bool
) -> Damage | int | None:
    """Return the same of a file in an object store: the copy here says nothing about it."""
    info = listed.get(path)
    if info is None:
        return Damage(file, Trouble.MISSING, "it is not there")
    if info.size != file.bytes:
        return Damage(file, Trouble.SIZE, f"{info.size:,} bytes instead of {file.bytes:,}")
    if quick:
        return None
    with there.fetched(path) as come:
        return _look(file, come, quick=False)


def _depot(settings: LakeSettings) -> Depot | None:
    if not settings.is_remote:
        return None
    from metalayer.lake.depot import depot  # noqa: PLC0415 - only a lake in an object store has one

    return depot(settings)


@contextlib.contextmanager
def file_here(settings: LakeSettings, path: str) -> Iterator[Path]:
    """Let a file of the lake lie here for as long as the block lasts; what is returned is where."""
    place, there = Path(settings.root, path), _depot(settings)
    if there is None:
        yield place
        return
    with there.fetched(place) as come:
        yield come


def put_back(settings: LakeSettings, path: str, *, instead: bool) -> None:
    """Put a file that was written below the lake's root into its object store, where it has one.

    Args:
        settings: the lake's.
        path: the file, below the root.
        instead: whether it takes the place of what lies there.
    """
    place, there = Path(settings.root, path), _depot(settings)
    if there is not None:
        if instead:
            there.remove(place, copy=False)
        there.keep([str(place)])


def _learn(connection: Connection, sums: Mapping[int, int]) -> None:
    """Keep sums that were not known; those of files that were forgotten meanwhile are not."""
    if sums:
        connection.execute(
            """INSERT INTO lake.metalayer_checksum SELECT number, crc
            FROM unnest(%s::bigint[], %s::bigint[]) AS s(number, crc)
            WHERE number IN (SELECT data_file_id FROM lake.ducklake_data_file
                UNION ALL SELECT delete_file_id FROM lake.ducklake_delete_file)
            ON CONFLICT DO NOTHING""",
            [list(sums), list(sums.values())],
        )


# --- copies ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Copied:
    """A file's copy: its size and its sums."""

    bytes: int
    sha256: str
    crc32: int


def copy(source: Path, target: Path) -> Copied:
    """Copy a file, durable, under its name only when it is whole; return what was copied.

    Raises:
        LakeError: it cannot be read or written.
    """
    part = target.with_name(f"{target.name}.part")
    digest, crc, size = hashlib.sha256(), 0, 0
    try:
        make_directory(target.parent)
        with source.open("rb", buffering=0) as reading, part.open("wb", buffering=0) as writing:
            while chunk := reading.read(_CHUNK):
                digest.update(chunk)
                crc = zlib.crc32(chunk, crc)
                size += writing.write(chunk)
        make_durable(str(part))
        part.rename(target)
        make_durable(str(target))
    except OSError as error:
        raise LakeError(
            f"{source} cannot be copied to {target}: {error.strerror or error}.",
            hint="Check that both places are there, readable and writable, and that the disk has room.",
        ) from error
    return Copied(size, digest.hexdigest(), crc)


def digest_of(path: Path) -> Copied:
    """Return the size and the sums of a file."""
    digest, crc, size = hashlib.sha256(), 0, 0
    with path.open("rb", buffering=0) as reading:
        while chunk := reading.read(_CHUNK):
            digest.update(chunk)
            crc = zlib.crc32(chunk, crc)
            size += len(chunk)
    return Copied(size, digest.hexdigest(), crc)


def require_room(place: Path, needed: int) -> None:
    """Refuse to begin what the disk has no room for.

    Raises:
        ShortageError: there is less room than is needed.
    """
    existing = next(path for path in (place, *place.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise ShortageError(
            f"{place} has room for {free:,} bytes, and {needed:,} are needed.",
            hint="Free some space there, or choose another place. Nothing was copied.",
        )


def remove_parts(place: Path) -> None:
    """Remove what copying left unfinished below a directory."""
    for directory, _, names in os.walk(place):
        for name in names:
            if name.endswith(".part"):
                Path(directory, name).unlink(missing_ok=True)


def make_tree_durable(place: Path) -> None:
    """Bring the files of a directory, of those below it, and their names to the disk."""
    for path in place.rglob("*.*"):
        make_durable(str(path))
    make_durable(str(place))
