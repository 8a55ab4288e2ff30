"""Sessions: one DuckDB engine that reads the lake at one snapshot and stages files for a commit.

A session never changes the lake: what it writes are files that no commit names yet, made durable before they are
returned. It runs in autocommit, for an error within an engine's transaction would silence its end.
"""

from __future__ import annotations

import base64
import secrets
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb

from metalayer.core.errors import LakeError
from metalayer.core.failpoints import Failpoint, reach
from metalayer.core.names import TableName, literal, quote, quote_path
from metalayer.core.schema import Schema
from metalayer.core.source import ArrowStream, Attachment
from metalayer.lake import engine, files
from metalayer.lake.changes import Changes, FileChanges, Unprovable, net, with_staged
from metalayer.lake.disk import crc32_of, make_directory, make_durable
from metalayer.lake.spool import Spool, make_spool
from metalayer.lake.statistics import file_statistics
from metalayer.lake.values import (
    EXTENSION_PAYS,
    Among,
    DataFile,
    FileList,
    LakeSettings,
    Reader,
    StagedDeletes,
    StagedFile,
    StagedFiles,
    TableChange,
    TableSchema,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from metalayer.lake.depot import Depot

CATALOG = "lake"
"""The name under which the extension attaches the lake inside a session."""

Parameters = Sequence[object] | Mapping[str, object]
"""Values of ``?`` in order, or of ``$name`` by name."""

_FETCH = 2048
_KEY_BYTES = 16
_TEMPORARY = "__deletes"


@dataclass(slots=True)
class _Shared:
    """What a session and its cursors have in common."""

    settings: LakeSettings
    at: int
    reader: Reader
    conninfo: str = field(repr=False)
    list_files: Callable[[TableName, int], FileList]
    list_changes: Callable[[TableName, int, int], FileChanges | Unprovable]
    lock: threading.Lock = field(default_factory=threading.Lock)
    attached: bool = False
    pinned: dict[TableName, FileList] = field(default_factory=dict)
    staged: dict[TableName, FileList | None] = field(default_factory=dict)


class Session:
    """One connection to an engine, pinned at snapshot `at`. Cursors of it work in parallel on the same engine."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, shared: _Shared) -> None:
        self._connection = connection
        self._shared = shared
        self._spools: list[Spool] = []

    @classmethod
    def open(
        cls,
        settings: LakeSettings,
        at: int,
        reader: Reader,
        *,
        conninfo: str,
        list_files: Callable[[TableName, int], FileList],
        list_changes: Callable[[TableName, int, int], FileChanges | Unprovable],
    ) -> Session:
        """Start an engine for the lake at a snapshot; `Lake.session` calls it."""
        return cls(engine.start(settings), _Shared(settings, at, reader, conninfo, list_files, list_changes))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def at(self) -> int:
        """The snapshot whose rows are read."""
        return self._shared.at

    def cursor(self) -> Session:
        """Return a sibling on the same engine, for another thread; it sees the same overlays, not the same views."""
        return Session(self._connection.cursor(), self._shared)

    def at_snapshot(self, at: int) -> Session:
        """Return a session on the same engine that reads another snapshot, with nothing staged."""
        shared = self._shared
        fresh = _Shared(shared.settings, at, shared.reader, shared.conninfo, shared.list_files, shared.list_changes)
        return Session(self._connection.cursor(), fresh)

    def close(self) -> None:
        """End the connection. The engine ends with its last connection."""
        self._connection.close()
        while self._spools:
            self._spools.pop().close()

    def interrupt(self) -> None:
        """Stop what the session is running; callable from another thread."""
        self._connection.interrupt()

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows.

        Raises:
            LakeError: the engine refuses.
        """
        with engine.translated():
            return self._connection.execute(sql, list(parameters) or None).fetchall()

    def attach(self, other: Attachment) -> None:
        """Let statements of this session read another database by its name.

        Raises:
            SourceUnavailableError: it cannot be reached.
            LakeError: the engine's reader for it is not installed.
        """
        engine.attach_source(self._connection, other)

    def spool(self) -> str:
        """Return a new, empty directory that is gone when this session is closed.

        Raises:
            ShortageError: it cannot be made.
        """
        self._spools.append(make_spool(engine.temporary_directory(self._shared.settings)))
        return self._spools[-1].path

    def spool_arrow(self, rows: ArrowStream) -> str:
        """Write an Arrow stream into a spool; return the FROM item that reads it.

        Raises:
            LakeError: the engine cannot read the stream.
        """
        return engine.write_arrow(self._connection, rows, self.spool())

    def fetch(self, sql: str, parameters: Parameters = ()) -> tuple[tuple[str, ...], Iterator[tuple[object, ...]]]:
        """Run one SELECT and return its columns' names and its rows, which are fetched as they are taken."""
        cursor = self._connection.cursor()
        with engine.translated():
            cursor.execute(sql, _given(parameters))
        names = tuple(column[0] for column in cursor.description or ())

        def rows() -> Iterator[tuple[object, ...]]:
            try:
                while True:
                    with engine.translated():
                        chunk = cursor.fetchmany(_FETCH)
                    if not chunk:
                        return
                    yield from chunk
            finally:
                cursor.close()

        return names, rows()

    def arrow(self, sql: str, parameters: Sequence[object] = ()) -> pa.Table:
        """Run one SELECT and return its rows as an Arrow table (needs pyarrow)."""
        with engine.translated():
            return self._connection.execute(sql, list(parameters) or None).to_arrow_table()

    def stream(self, sql: str) -> Any:
        """Return the rows of a SELECT as an Arrow stream (``__arrow_c_stream__``), made as it is taken."""
        with engine.translated():
            return self._connection.cursor().sql(sql)

    def arrow_reader(self, sql: str) -> pa.RecordBatchReader:
        """Return the rows of a SELECT as a reader of Arrow batches (needs pyarrow), made as they are taken."""
        import pyarrow as pa  # noqa: PLC0415 - an extra

        return pa.RecordBatchReader.from_stream(self.stream(sql))

    def describe(self, sql: str, parameters: Parameters = ()) -> Schema:
        """Return the columns of a SELECT without running it.

        Raises:
            LakeError: the SELECT is wrong, or has a column the lake cannot hold.
        """
        with engine.translated():
            relation = self._connection.sql(sql, params=_given(parameters))
            if relation is None:
                raise LakeError("The statement yields no columns.", hint="Write one SELECT.")
            return engine.column_schema(relation.columns, relation.types)

    def register(self, name: str, value: object) -> None:
        """Let SQL of this session read a value by a name: a relation, an Arrow table, a data frame."""
        with engine.translated():
            if isinstance(value, duckdb.DuckDBPyRelation):
                value.create_view(name, replace=True)
            else:
                self._connection.register(name, value)

    def relation(self, name: str | TableName) -> duckdb.DuckDBPyRelation:
        """Return a table of the lake, or what was registered under a name, as a relation for Python models."""
        source = self.relation_sql(name) if isinstance(name, TableName) else quote(name)
        with engine.translated():
            return self._connection.sql(f"SELECT * FROM {source}")

    def relation_sql(self, table: TableName) -> str:
        """Return a FROM item with the table's rows: those of the pinned snapshot, or what was overlaid since.

        Raises:
            LakeError: the table does not exist.
        """
        staged = self._staged(table)
        if staged is None:
            staged = self.files(table)
            if self._prefers_extension(staged):
                self._attach()
                return quote_path(CATALOG, table.layer.value, table.name)
        return files.read_sql(staged)

    def count(self, table: TableName) -> int:
        """Return how many rows a table has, as its files say: those of the pinned snapshot, or what was overlaid."""
        staged = self._staged(table)
        return int(self.query(files.count_sql(self.files(table) if staged is None else staged))[0][0])

    def is_staged(self, table: TableName) -> bool:
        """Tell whether a staged change of the table is overlaid that does not drop it."""
        return self._shared.staged.get(table) is not None

    def _prefers_extension(self, listed: FileList) -> bool:
        match self._shared.reader:
            case "extension":
                return True
            case "files":
                return False
            case "auto":
                return sum(file.rows for file in listed.files if file.deleted) >= EXTENSION_PAYS

    def positions_sql(self, table: TableName, *, among: Among | None = None) -> str:
        """Return a FROM item with the pinned table's rows and their places: ``__file`` and ``__row``.

        Overlays are not shown: only rows that are committed can be deleted. With ``among`` only rows of some keys are.
        """
        return files.read_sql(self.files(table), positions=True, among=among)

    def rows_ever_sql(self, table: TableName, changes: Changes | None = None) -> str:
        """Return a FROM item with the rows that the pinned table's files hold, those that were deleted included.

        With ``changes`` of the table they are those of the files that it had before.
        """
        return files.read_sql(self._ever(table, changes))

    def extent_sql(self, table: TableName, column: str, changes: Changes | None = None) -> str:
        """Return a FROM item of one row: the ``least`` and the ``most`` of a column among `rows_ever_sql`.

        Each file is asked by itself: then the engine takes them from what the file says of itself, and reads no row.
        """
        ever, name = self._ever(table, changes), quote(column)
        alone: list[tuple[DataFile, ...]] = [(file,) for file in ever.files]
        each = (
            f"SELECT min({name}) AS least, max({name}) AS most FROM {files.read_sql(replace(ever, files=some))}"
            for some in alone or [()]
        )
        return f"(SELECT min(least) AS least, max(most) AS most FROM ({' UNION ALL '.join(each)}))"

    def _ever(self, table: TableName, changes: Changes | None) -> FileList:
        """Return a table's files without their delete files, as they are or as they were before changes."""
        listed = self.files(table)
        if changes is not None:
            listed = replace(self._shared.list_files(table, changes.since), schema=changes.schema)
        whole = (replace(file, delete_path=None, delete_key=None, deleted=0) for file in listed.files)
        return replace(listed, files=tuple(whole))

    def files(self, table: TableName) -> FileList:
        """Return the pinned table's files."""
        shared = self._shared
        with shared.lock:
            if table not in shared.pinned:
                shared.pinned[table] = shared.list_files(table, shared.at)
            return shared.pinned[table]

    def changes(self, table: TableName, *, since: int) -> Changes | Unprovable:
        """Return what changed in a table between a snapshot and what this session reads, from the catalog alone.

        That is the table at the pinned snapshot, or, where a staged change of it is overlaid, the table as that change
        will leave it: committed changes since the snapshot and staged ones together, net. No row is read here; the
        engine reads them where the returned FROM items stand in a query.

        Args:
            table: a table of the lake.
            since: the earlier snapshot, for example the position up to which a reader of the table has processed it.

        Returns:
            The changes, or the named reason for which they cannot be proven: then a reader starts from the beginning.
        """
        shared = self._shared
        known = shared.list_changes(table, since, shared.at)
        if table not in shared.staged:
            return known if isinstance(known, Unprovable) else net(known)
        return with_staged(known, None if isinstance(known, Unprovable) else self.files(table), shared.staged[table])

    def before(self, changes: Changes) -> str:
        """Return a FROM item with a table's rows as they were before its changes, in the columns that it has now."""
        listed = self._shared.list_files(changes.table, changes.since)
        return files.read_sql(replace(listed, schema=changes.schema))

    def overlay(self, change: TableChange) -> None:
        """Let `relation_sql` show a table as a staged change leaves it, in this session and its cursors."""
        shared = self._shared
        if change.drop:
            shared.staged[change.table] = None
            return
        kept: list[DataFile] = []
        table_id = None
        if change.expected_head is not None and not change.replace:
            table_id = self.files(change.table).table_id
            deletes = {delete.data_file: delete for delete in change.deleted}
            kept = [_less(file, deletes.get(file.id)) for file in self.files(change.table).files if file.id is not None]
        kept += [
            DataFile(None, file.path, file.rows, file.bytes, change.schema.columns, key=file.key)
            for file in change.added
        ]
        shared.staged[change.table] = FileList(change.table, change.schema, tuple(kept), shared.at, table_id)

    def stage_rows(
        self, schema: TableSchema, select: str, *, no_statistics: frozenset[str] = frozenset()
    ) -> StagedFiles:
        """Write the rows of a SELECT as files of a table, durable, and seen by nobody until a commit names them.

        Args:
            schema: the table's columns; the SELECT yields them in order and is cast to their types.
            select: one SELECT.
            no_statistics: columns whose statistics the catalog must not keep, because they are personal data.

        Raises:
            LakeError: the engine refuses, or a value does not fit its column.
        """
        settings = self._shared.settings
        directory = files.table_directory(settings, schema.table)
        make_directory(directory)
        key = self._key()
        rows = self.query(files.copy_rows(settings, schema, select, str(directory), key))
        written = [row for row in rows if row[1]]
        for path, *_ in written:
            make_durable(path)
        self._keep([path for path, *_ in written])
        staged = tuple(
            StagedFile(path, count, size, footer, key, file_statistics(schema, reported, no_statistics), crc32_of(path))
            for path, count, size, footer, reported, _ in written
        )
        reach(Failpoint.LAKE_AFTER_FILE)
        listed = [DataFile(None, file.path, file.rows, file.bytes, schema.columns, key=file.key) for file in staged]
        return StagedFiles(
            schema, staged, files.read_sql(FileList(schema.table, schema, tuple(listed), self._shared.at))
        )

    def discard(self, staged: StagedFiles) -> None:
        """Remove staged files that no commit will name, because their rows were staged anew.

        What cannot be removed now is left to maintenance, like the files of an attempt that broke off.
        """
        for file in staged.files:
            with suppress(OSError):
                Path(file.path).unlink()

    def stage_deletes(self, table: TableName, select: str) -> tuple[StagedDeletes, ...]:
        """Write the places of rows to remove as delete files, one for each data file that loses rows.

        Args:
            table: a table of the pinned snapshot.
            select: one SELECT of ``__file`` and ``__row`` as `positions_sql` yields them; repeated places count once.
        """
        name = f"{_TEMPORARY}_{uuid.uuid4().hex}"
        self.query(
            f"CREATE TEMP TABLE {name} AS SELECT DISTINCT CAST(c0 AS BIGINT) AS file, CAST(c1 AS BIGINT) AS pos "
            f"FROM ({select}) AS source(c0, c1)"
        )
        try:
            counts = dict(self.query(f"SELECT file, count(*) FROM {name} GROUP BY file ORDER BY file"))
            known = {file.id: file for file in self.files(table).files}
            staged = tuple(self._stage_delete(name, known, number, count) for number, count in counts.items())
        finally:
            self.query(f"DROP TABLE {name}")
        reach(Failpoint.LAKE_AFTER_FILE)
        return staged

    def _stage_delete(self, name: str, known: dict[int | None, DataFile], number: int, count: int) -> StagedDeletes:
        file = known.get(number)
        if file is None:
            raise LakeError(
                f"The rows to remove name the file {number}, which the table does not have.",
                hint="Select __file and __row from positions_sql of the same table and session.",
            )
        positions = f"SELECT pos FROM {name} WHERE file = {number}"
        if file.delete_path is not None:
            positions = f"{positions} UNION SELECT pos FROM {files.read_parquet([file.delete_path], file.delete_key)}"
        path = Path(file.path).parent / f"{uuid.uuid4()}-delete.parquet"
        make_directory(path.parent)
        key = self._key()
        query = f"SELECT {literal(self._said(file.path))} AS file_path, pos FROM ({positions}) ORDER BY pos"
        [(written, rows, size, footer, _, _)] = self.query(
            files.copy_deletes(self._shared.settings, query, str(path), key)
        )
        if rows != count + file.deleted:
            raise LakeError(
                f"{count + file.deleted - rows} of the rows to remove from {file.path} are removed already.",
                hint="Select the places from positions_sql, which shows live rows only.",
            )
        make_durable(written)
        self._keep([written])
        return StagedDeletes(number, written, rows, count, size, footer, file.delete_id, key, crc32_of(written))

    def _staged(self, table: TableName) -> FileList | None:
        staged = self._shared.staged
        if table in staged and staged[table] is None:
            raise LakeError(f"{table} is dropped by what is staged.", hint="Read it before it is dropped.")
        return staged.get(table)

    def _attach(self) -> None:
        shared = self._shared
        with shared.lock:
            if not shared.attached:
                engine.attach(self._connection, CATALOG, shared.settings, shared.conninfo, shared.at)
                shared.attached = True

    def _keep(self, paths: Sequence[str]) -> None:
        """Put what was written into the object store, where the lake lies in one."""
        there = self._depot()
        if there is not None and paths:
            there.keep(paths)

    def _said(self, path: str) -> str:
        """Return where a file lies, for readers elsewhere."""
        there = self._depot()
        return path if there is None else there.url(path)

    def _depot(self) -> Depot | None:
        if not self._shared.settings.is_remote:
            return None
        from metalayer.lake.depot import depot  # noqa: PLC0415 - only a lake in an object store has one

        return depot(self._shared.settings)

    def _key(self) -> str | None:
        """Return a new file's key where the lake is encrypted."""
        if not self._shared.settings.encrypted:
            return None
        with self._shared.lock:
            engine.require_encryption(self._connection)
        return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def _given(parameters: Parameters) -> object:
    """Return parameters as the engine takes them: by place, by name, or none."""
    return (dict(parameters) if isinstance(parameters, Mapping) else list(parameters)) or None


def _less(file: DataFile, delete: StagedDeletes | None) -> DataFile:
    if delete is None:
        return file
    return replace(file, delete_path=delete.path, delete_key=delete.key, deleted=delete.rows)
