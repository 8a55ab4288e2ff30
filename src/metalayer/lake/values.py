"""What the lake holds and what is staged for it, as frozen values.

Nothing here touches a file, DuckDB or PostgreSQL; what is read from the catalog and what a commit is given are both
these values.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from metalayer.core.names import TableName
from metalayer.core.objects import NO_ACCESS, StoreAccess
from metalayer.core.schema import Column, DataType, Schema

ANY_HEAD: Final = -1
"""As `TableChange.expected_head`: an append that holds whatever else was committed to the table before it."""


Reader = Literal["auto", "extension", "files"]
"""Who finds a table's rows: DuckLake's extension attached to the catalog, our own file lists, or the quicker one."""


EXTENSION_PAYS: Final = 20_000_000
"""From how many rows in files with deletes on the extension is worth its start (0.25 s of CPU): it skips deleted rows
inside the scan, where a file list needs an anti join, which costs 0.015 s of CPU a million rows. Without deletes file
lists were measured to be as quick."""


class CommitKind(StrEnum):
    """Whether a commit changes what the tables say, or only how it is stored."""

    DATA = "data"
    MAINTENANCE = "maintenance"


@dataclass(frozen=True, slots=True)
class LakeSettings:
    """Where rows lie and how the engine works.

    Attributes:
        data: the absolute directory of the Parquet files, or the URL of a prefix in an object store.
        encrypted: whether new files are encrypted, each with its own key (kept in the catalog).
        compression: the Parquet codec of new files.
        threads: how many threads an engine uses; None is all.
        memory: how much memory an engine may use (``2GB``); None is the engine's own choice.
        temporary: the directory where an engine spills to; None is ``.spill`` within ``data``.
        file_bytes: about how large one written file may grow before the next begins.
        cache: where files of an object store are written before they are put there, and copied to be read.
        cache_bytes: how many bytes of copies are kept there.
        objects: how the object store is reached.
        removing: the rights with which maintenance removes from it; those of ``objects`` where nothing is said.
    """

    data: str
    encrypted: bool = False
    compression: str = "zstd"
    threads: int | None = None
    memory: str | None = None
    temporary: str | None = None
    file_bytes: int = 256 * 1024 * 1024
    cache: str | None = None
    cache_bytes: int = 20 * 1024**3
    objects: StoreAccess = NO_ACCESS
    removing: StoreAccess = NO_ACCESS

    @property
    def is_remote(self) -> bool:
        """Whether the files lie in an object store."""
        return "://" in self.data

    @property
    def root(self) -> str:
        """The directory in which engines find the files: where they lie, or where their copies do."""
        return (self.cache or self.data) if self.is_remote else self.data


@dataclass(frozen=True, slots=True)
class LakeColumn:
    """A column, or a part of a nested one, with the id by which files know it whatever its name becomes.

    The parts of a struct are its fields, of a list its ``element``, of a map its ``key`` and ``value``. ``default`` is
    what rows written before the column came have in it (SQL text; None is NULL).
    """

    id: int
    name: str
    type: DataType
    nullable: bool = True
    children: tuple[LakeColumn, ...] = ()
    default: str | None = None

    def walk(self) -> Iterator[LakeColumn]:
        """Yield the column and all its parts, each before its own parts."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The columns of a table in order. Ids are the table's own, and an id once given is never given again."""

    table: TableName
    columns: tuple[LakeColumn, ...]
    next_column_id: int

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def public(self) -> Schema:
        """The same columns as the other rooms know them."""
        return tuple(Column(column.name, column.type, nullable=column.nullable) for column in self.columns)

    def leaves(self) -> dict[tuple[str, ...], LakeColumn]:
        """Return the parts that hold values, by their path of names."""
        return dict(_leaves((), self.columns))


def _leaves(path: tuple[str, ...], columns: tuple[LakeColumn, ...]) -> Iterator[tuple[tuple[str, ...], LakeColumn]]:
    for column in columns:
        here = (*path, column.name)
        if column.children:
            yield from _leaves(here, column.children)
        else:
            yield here, column


@dataclass(frozen=True, slots=True)
class TableState:
    """A table at a snapshot.

    Attributes:
        table_id: the identity; a table that was replaced has another.
        rows: live rows; ``files`` and ``bytes`` count live data files.
        head: the last snapshot that changed what the table says (rows or columns).
        version: the last snapshot that changed anything, compaction included.
        created: the snapshot that made it.
        row_ids: how many row ids were ever given out.
    """

    name: TableName
    table_id: int
    uuid: uuid.UUID
    schema: TableSchema
    rows: int
    files: int
    bytes: int
    head: int
    version: int
    created: int
    row_ids: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True)
class LakeState:
    """All tables and views (of outside readers) at a snapshot."""

    snapshot: int
    tables: Mapping[TableName, TableState] = field(hash=False)
    views: Mapping[TableName, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """One commit, as history shows it. ``tables`` names the tables changed, under the names they had then."""

    id: int
    time: datetime
    author: str
    message: str
    attempt: uuid.UUID | None
    kind: CommitKind
    tables: tuple[TableName, ...]
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What is known of one column in one file: ``values`` counts what is not NULL.

    Bounds are texts as DuckDB writes them, None where nothing is known.
    """

    column_id: int
    size: int
    values: int
    nulls: int
    minimum: str | None = None
    maximum: str | None = None
    has_nan: bool | None = None


@dataclass(frozen=True, slots=True)
class Among:
    """Some keys: rows are wanted only where their columns equal those of a row of ``item``, NULL being equal to NULL.

    ``columns`` are names that the table and the item both have.
    """

    item: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A Parquet file that is written and durable, and that no commit names yet.

    Attributes:
        path: its absolute path.
        rows: how many rows it holds.
        footer: the size of its footer in bytes.
        key: its encryption key (base64), where it is encrypted.
        statistics: of the columns whose statistics may be kept.
        crc32: by what a damaged file is known; None where it was not taken.
    """

    path: str
    rows: int
    bytes: int
    footer: int
    key: str | None = None
    statistics: tuple[Statistics, ...] = ()
    crc32: int | None = None


@dataclass(frozen=True, slots=True)
class StagedFiles:
    """Files staged together. ``sql`` is a FROM item that reads their rows before any commit."""

    schema: TableSchema
    files: tuple[StagedFile, ...]
    sql: str

    @property
    def rows(self) -> int:
        """How many rows the files hold."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """How large the files are."""
        return sum(file.bytes for file in self.files)

    def __iter__(self) -> Iterator[StagedFile]:
        """Iterate over the files."""
        return iter(self.files)

    def __len__(self) -> int:
        """Return how many files there are."""
        return len(self.files)


@dataclass(frozen=True, slots=True)
class StagedDeletes:
    """A delete file that is written and durable: every removed position of one data file, the earlier ones included.

    Attributes:
        data_file: the data file's id in the catalog.
        rows: how many rows of the data file are removed in all; ``removed`` how many this stage removes.
        replaces: the id of the delete file it takes the place of; the commit refuses it when another one stands there.
    """

    data_file: int
    path: str
    rows: int
    removed: int
    bytes: int
    footer: int
    replaces: int | None = None
    key: str | None = None
    crc32: int | None = None


@dataclass(frozen=True, slots=True)
class TableChange:
    """What one commit does to one table.

    Attributes:
        schema: the columns after the change.
        expected_head: the `TableState.head` the change was computed from; None: the table must not exist; `ANY_HEAD`:
            an append that does not look at other rows (the columns must still be the expected ones). A compaction in
            between is no conflict, unless the change deletes rows of a file that it replaced.
        added: files with rows to add.
        deleted: delete files of rows to remove.
        description: the table's comment for outside readers; empty leaves it as it is.
        column_words: comments of columns by name; columns that are not named keep theirs.
        drop: the table ceases to exist; nothing is added.
        replace: the table of ``expected_head`` ends, and a new one with the same name, its own identity and only the
            rows of ``added`` begins.
    """

    table: TableName
    schema: TableSchema
    expected_head: int | None
    added: tuple[StagedFile, ...] = ()
    deleted: tuple[StagedDeletes, ...] = ()
    description: str = ""
    column_words: Mapping[str, str] = field(default_factory=dict, hash=False)
    drop: bool = False
    replace: bool = False


@dataclass(frozen=True, slots=True)
class ViewChange:
    """A view that outside readers of the catalog see; ``sql`` None removes it.

    Its tables are written as `lake.outside_sql` returns them. MetaLayer itself never reads through it.
    """

    view: TableName
    sql: str | None


@dataclass(frozen=True, slots=True)
class Committed:
    """The answer to a commit."""

    snapshot: int
    attempt: uuid.UUID


@dataclass(frozen=True, slots=True)
class DataFile:
    """A data file and, where rows of it are removed, its delete file, as a reader needs them.

    ``id`` is None for a file that is only staged. ``columns`` are the table's columns when the file was written.
    """

    id: int | None
    path: str
    rows: int
    bytes: int
    columns: tuple[LakeColumn, ...]
    row_id_start: int = 0
    key: str | None = None
    delete_id: int | None = None
    delete_path: str | None = None
    delete_key: str | None = None
    deleted: int = 0
    begin: int = 0


@dataclass(frozen=True, slots=True)
class FileList:
    """All that is needed to read a table at a snapshot without the catalog: files, columns, keys.

    Paths are absolute.
    """

    table: TableName
    schema: TableSchema
    files: tuple[DataFile, ...]
    at: int
    table_id: int | None = None

    @property
    def rows(self) -> int:
        """How many live rows the files hold."""
        return sum(file.rows - file.deleted for file in self.files)
