"""The catalog: DuckLake's tables in the PostgreSQL schema ``lake``, and how the lake's state is read from them.

Only this room knows these tables. Reading asks PostgreSQL alone, in a few queries, and never starts an engine.

Beside the format's own tables two of ours say which attempt made a snapshot and which tables it changed: other readers
of the format do not look at them.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from metalayer.core.errors import ConflictError, LakeError, Location, MetastoreError, UsageError, did_you_mean
from metalayer.core.names import Layer, TableName
from metalayer.lake.schema import engine_type
from metalayer.lake.values import (
    CommitKind,
    DataFile,
    FileList,
    LakeColumn,
    LakeSettings,
    LakeState,
    SnapshotInfo,
    TableSchema,
    TableState,
)
from metalayer.metastore.line import Line

FORMAT_VERSION = "1.0"
"""The version of the DuckLake format that is written; readers of this version and newer can read it."""

SCHEMA = "lake"

_NEWEST = "(SELECT max(snapshot_id) FROM lake.ducklake_snapshot)"

Connection = psycopg.Connection[Any]
Row = tuple[Any, ...]

_TABLES = """
CREATE TABLE ducklake_metadata(key varchar NOT NULL, value varchar NOT NULL, scope varchar, scope_id bigint);
CREATE TABLE ducklake_snapshot(snapshot_id bigint PRIMARY KEY, snapshot_time timestamptz, schema_version bigint,
    next_catalog_id bigint, next_file_id bigint);
CREATE TABLE ducklake_snapshot_changes(snapshot_id bigint PRIMARY KEY, changes_made varchar, author varchar,
    commit_message varchar, commit_extra_info varchar);
CREATE TABLE ducklake_schema(schema_id bigint PRIMARY KEY, schema_uuid uuid, begin_snapshot bigint,
    end_snapshot bigint, schema_name varchar, path varchar, path_is_relative boolean);
CREATE TABLE ducklake_table(table_id bigint, table_uuid uuid, begin_snapshot bigint, end_snapshot bigint,
    schema_id bigint, table_name varchar, path varchar, path_is_relative boolean);
CREATE TABLE ducklake_view(view_id bigint, view_uuid uuid, begin_snapshot bigint, end_snapshot bigint,
    schema_id bigint, view_name varchar, dialect varchar, sql varchar, column_aliases varchar);
CREATE TABLE ducklake_tag(object_id bigint, begin_snapshot bigint, end_snapshot bigint, key varchar, value varchar);
CREATE TABLE ducklake_column_tag(table_id bigint, column_id bigint, begin_snapshot bigint, end_snapshot bigint,
    key varchar, value varchar);
CREATE TABLE ducklake_data_file(data_file_id bigint PRIMARY KEY, table_id bigint, begin_snapshot bigint,
    end_snapshot bigint, file_order bigint, path varchar, path_is_relative boolean, file_format varchar,
    record_count bigint, file_size_bytes bigint, footer_size bigint, row_id_start bigint, partition_id bigint,
    encryption_key varchar, mapping_id bigint, partial_max bigint);
CREATE TABLE ducklake_file_column_stats(data_file_id bigint, table_id bigint, column_id bigint,
    column_size_bytes bigint, value_count bigint, null_count bigint, min_value varchar, max_value varchar,
    contains_nan boolean, extra_stats varchar);
CREATE TABLE ducklake_file_variant_stats(data_file_id bigint, table_id bigint, column_id bigint, variant_path varchar,
    shredded_type varchar, column_size_bytes bigint, value_count bigint, null_count bigint, min_value varchar,
    max_value varchar, contains_nan boolean, extra_stats varchar);
CREATE TABLE ducklake_delete_file(delete_file_id bigint PRIMARY KEY, table_id bigint, begin_snapshot bigint,
    end_snapshot bigint, data_file_id bigint, path varchar, path_is_relative boolean, format varchar,
    delete_count bigint, file_size_bytes bigint, footer_size bigint, encryption_key varchar, partial_max bigint);
CREATE TABLE ducklake_column(column_id bigint, begin_snapshot bigint, end_snapshot bigint, table_id bigint,
    column_order bigint, column_name varchar, column_type varchar, initial_default varchar, default_value varchar,
    nulls_allowed boolean, parent_column bigint, default_value_type varchar, default_value_dialect varchar);
CREATE TABLE ducklake_table_stats(table_id bigint, record_count bigint, next_row_id bigint, file_size_bytes bigint);
CREATE TABLE ducklake_table_column_stats(table_id bigint, column_id bigint, contains_null boolean,
    contains_nan boolean, min_value varchar, max_value varchar, extra_stats varchar);
CREATE TABLE ducklake_partition_info(partition_id bigint, table_id bigint, begin_snapshot bigint,
    end_snapshot bigint);
CREATE TABLE ducklake_partition_column(partition_id bigint, table_id bigint, partition_key_index bigint,
    column_id bigint, transform varchar);
CREATE TABLE ducklake_file_partition_value(data_file_id bigint, table_id bigint, partition_key_index bigint,
    partition_value varchar);
CREATE TABLE ducklake_files_scheduled_for_deletion(data_file_id bigint, path varchar, path_is_relative boolean,
    schedule_start timestamptz);
CREATE TABLE ducklake_inlined_data_tables(table_id bigint, table_name varchar, schema_version bigint);
CREATE TABLE ducklake_column_mapping(mapping_id bigint, table_id bigint, type varchar);
CREATE TABLE ducklake_name_mapping(mapping_id bigint, column_id bigint, source_name varchar, target_field_id bigint,
    parent_column bigint, is_partition boolean);
CREATE TABLE ducklake_schema_versions(begin_snapshot bigint, schema_version bigint, table_id bigint);
CREATE TABLE ducklake_macro(schema_id bigint, macro_id bigint, macro_name varchar, begin_snapshot bigint,
    end_snapshot bigint);
CREATE TABLE ducklake_macro_impl(macro_id bigint, impl_id bigint, dialect varchar, sql varchar, type varchar);
CREATE TABLE ducklake_macro_parameters(macro_id bigint, impl_id bigint, column_id bigint, parameter_name varchar,
    parameter_type varchar, default_value varchar, default_value_type varchar);
CREATE TABLE ducklake_sort_info(sort_id bigint, table_id bigint, begin_snapshot bigint, end_snapshot bigint);
CREATE TABLE ducklake_sort_expression(sort_id bigint, table_id bigint, sort_key_index bigint, expression varchar,
    dialect varchar, sort_direction varchar, null_order varchar);
"""

# The format has no indexes: these are what a commit and a reading need to stay quick when there are many files.
_OURS = """
CREATE TABLE metalayer_commit(snapshot_id bigint PRIMARY KEY, attempt uuid NOT NULL UNIQUE, kind varchar NOT NULL);
CREATE TABLE metalayer_change(table_id bigint, snapshot_id bigint, kind varchar NOT NULL,
    PRIMARY KEY (table_id, snapshot_id));
CREATE INDEX metalayer_change_data ON metalayer_change(table_id, snapshot_id) WHERE kind = 'data';
CREATE INDEX metalayer_change_snapshot ON metalayer_change(snapshot_id);
CREATE INDEX metalayer_data_file ON ducklake_data_file(table_id, end_snapshot);
CREATE INDEX metalayer_delete_file ON ducklake_delete_file(table_id, end_snapshot);
CREATE INDEX metalayer_delete_of ON ducklake_delete_file(data_file_id);
CREATE INDEX metalayer_column ON ducklake_column(table_id);
CREATE INDEX metalayer_file_stats ON ducklake_file_column_stats(data_file_id);
CREATE INDEX metalayer_file_stats_of ON ducklake_file_column_stats(table_id, column_id);
CREATE INDEX metalayer_table_stats ON ducklake_table_stats(table_id);
CREATE INDEX metalayer_column_stats ON ducklake_table_column_stats(table_id);
CREATE INDEX metalayer_tag ON ducklake_tag(object_id);
CREATE INDEX metalayer_column_tag ON ducklake_column_tag(table_id);
"""

_LOCK = 7_101_842
"""The advisory lock under which the catalog is created."""


def create(connection: Connection, settings: LakeSettings) -> None:
    """Create the catalog where it is not there yet, in the transaction of ``connection``.

    A catalog that exists is told where the files now lie, so that a project that was moved stays readable.

    Raises:
        LakeError: the catalog is of another format, or its files are (not) encrypted against the settings.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    found = connection.execute("SELECT to_regclass('lake.ducklake_metadata') IS NOT NULL").fetchone()
    place = data_path(settings)
    if found is not None and found[0]:
        _require_ours(connection)
        _require_version(connection)
        _require_files(connection, place)
        _set_metadata(connection, "data_path", place)
        _set_encryption(connection, settings)
        return
    connection.execute("CREATE SCHEMA IF NOT EXISTS lake")
    connection.execute("SET LOCAL search_path TO lake")
    connection.execute(_TABLES)
    connection.execute(_OURS)
    schemas = ["main", *(layer.value for layer in Layer)]
    for number, name in enumerate(schemas):
        connection.execute(
            "INSERT INTO ducklake_schema VALUES (%s, %s, 0, NULL, %s, %s, true)",
            [number, uuid.uuid4(), name, f"{name}/"],
        )
    connection.execute("INSERT INTO ducklake_snapshot VALUES (0, clock_timestamp(), 0, %s, 0)", [len(schemas)])
    changes = ",".join(f'created_schema:"{name}"' for name in schemas)
    connection.execute(
        "INSERT INTO ducklake_snapshot_changes VALUES (0, %s, 'metalayer', 'empty lake', '{}')", [changes]
    )
    connection.execute("INSERT INTO metalayer_commit VALUES (0, %s, %s)", [uuid.uuid4(), CommitKind.DATA.value])
    for key, value in (
        ("version", FORMAT_VERSION),
        ("created_by", "MetaLayer"),
        ("data_path", place),
        ("encrypted", "true" if settings.encrypted else "false"),
    ):
        connection.execute("INSERT INTO ducklake_metadata(key, value) VALUES (%s, %s)", [key, value])


def data_path(settings: LakeSettings) -> str:
    """Return the directory of the files as the format writes it: with a slash at its end."""
    return settings.data.rstrip("/") + "/"


def _require_ours(connection: Connection) -> None:
    if one(connection, "SELECT to_regclass('lake.metalayer_commit') IS NULL", [])[0]:
        raise LakeError(
            "The schema 'lake' of the database holds a lake that another program has made.",
            hint="Give MetaLayer a database of its own (another name in the URL); or, if nobody needs this one, "
            "empty it: DROP SCHEMA lake, metalayer CASCADE.",
        )


def _require_files(connection: Connection, place: str) -> None:
    """Refuse a place where the lake's files are not, as long as they still lie where they lay: a slip of the pen."""
    known = str(one(connection, "SELECT value FROM lake.ducklake_metadata WHERE key = 'data_path'", [])[0])
    if known == place or "://" in known or "://" in place:
        return
    row = connection.execute(
        "SELECT s.path || t.path || f.path FROM lake.ducklake_data_file f JOIN lake.ducklake_table t USING (table_id) "
        "JOIN lake.ducklake_schema s USING (schema_id) WHERE f.path_is_relative AND f.end_snapshot IS NULL LIMIT 1"
    ).fetchone()
    if row is not None and Path(known, row[0]).is_file() and not Path(place, row[0]).exists():
        raise LakeError(
            f"The files of the lake lie in {known}, and the environment says {place}.",
            hint=f"Set `lake: {{data: {known}}}` again; to move the lake, move its files first: mv {known} {place}",
            location=Location("metalayer.yml"),
        )


def _require_version(connection: Connection) -> None:
    row = connection.execute("SELECT value FROM lake.ducklake_metadata WHERE key = 'version'").fetchone()
    if row is None or row[0] != FORMAT_VERSION:
        found = row[0] if row else "unknown"
        raise LakeError(
            f"The lake is of format {found}; this MetaLayer writes format {FORMAT_VERSION}.",
            hint="Open it with the MetaLayer that wrote it, or point the environment at another database.",
        )


def _set_encryption(connection: Connection, settings: LakeSettings) -> None:
    """Say whether files are encrypted: readers of the format take all files of a lake to be so, or none."""
    known = one(connection, "SELECT value FROM lake.ducklake_metadata WHERE key = 'encrypted'", [])[0] == "true"
    if known == settings.encrypted:
        return
    if one(connection, "SELECT EXISTS (SELECT FROM lake.ducklake_data_file)", [])[0]:
        raise LakeError(
            f"The files of the lake are {'' if known else 'not '}encrypted, and the environment says otherwise.",
            hint=f"Set `encrypted: {'true' if known else 'false'}`; to change it, load into a new environment.",
        )
    _set_metadata(connection, "encrypted", "true" if settings.encrypted else "false")


def _set_metadata(connection: Connection, key: str, value: str) -> None:
    connection.execute(
        "UPDATE lake.ducklake_metadata SET value = %s WHERE key = %s AND scope IS NULL AND value <> %s",
        [value, key, value],
    )


def one(connection: Connection, sql: str, values: Sequence[object] | Mapping[str, object]) -> Row:
    """Return the row of a query that always has one.

    Raises:
        LakeError: it has none: somebody else wrote to the catalog.
    """
    row = connection.execute(sql, values).fetchone()
    if row is None:
        raise LakeError(
            "The lake's catalog is not whole: a row that every catalog has is missing.",
            hint="Restore the database from a backup; nothing but MetaLayer may write to the schema `lake`.",
        )
    return tuple(row)


def newest(connection: Connection) -> int:
    """Return the newest snapshot.

    Raises:
        LakeError: there is no lake yet.
    """
    with _lake_is_there():
        return int(one(connection, f"SELECT {_NEWEST}", [])[0])


def newest_beside(line: Line, expression: str) -> tuple[int, str]:
    """Return the newest snapshot and what an expression says beside it: two things by one look.

    Raises:
        LakeError: there is no lake yet.
    """
    with _lake_is_there():
        [(found, beside)] = line.rows(f"SELECT {_NEWEST}, {expression}")
        return int(found or 0), str(beside)


@contextlib.contextmanager
def _lake_is_there() -> Iterator[None]:
    try:
        yield
    except (psycopg.errors.UndefinedTable, MetastoreError) as error:
        if not isinstance(error.__cause__ or error, psycopg.errors.UndefinedTable):
            raise
        raise LakeError("The database holds no lake yet.", hint="Call Lake.create() once.") from error


def require_snapshot(connection: Connection, at: int) -> int:
    """Return ``at`` where it is a snapshot that is kept.

    Raises:
        UsageError: it is forgotten, or there never was one.
    """
    row = one(
        connection,
        "SELECT bool_or(snapshot_id = %(at)s), min(snapshot_id), max(snapshot_id), "
        "min(snapshot_time), max(snapshot_time) FROM lake.ducklake_snapshot",
        {"at": at},
    )
    if row[0]:
        return at
    oldest = f"{row[1]} of {row[3]:%Y-%m-%d %H:%M:%S} UTC"
    if at < row[1]:
        raise UsageError(
            f"Snapshot {at} is forgotten: the oldest that is kept is {oldest}.",
            hint="Choose a later one; `metalayer admin snapshots` lists them. How long they are kept is the "
            "environment's `keep` in metalayer.yml; what is older may be in a backup (`metalayer admin restore`).",
        )
    raise UsageError(
        f"There is no snapshot {at}: the newest is {row[2]} of {row[4]:%Y-%m-%d %H:%M:%S} UTC.",
        hint="Choose one that `metalayer admin snapshots` lists.",
    )


_STATE = """
WITH live AS (
    SELECT t.table_id, t.table_uuid, t.begin_snapshot, s.schema_name, t.table_name
    FROM lake.ducklake_table t
    JOIN lake.ducklake_schema s ON s.schema_id = t.schema_id
    WHERE t.begin_snapshot <= %(at)s AND (t.end_snapshot IS NULL OR t.end_snapshot > %(at)s)
      AND s.schema_name = ANY(%(layers)s) AND (%(names)s::varchar[] IS NULL OR t.table_name = ANY(%(names)s))
), files AS (
    SELECT table_id, count(*) AS files, sum(record_count) AS rows, sum(file_size_bytes) AS bytes
    FROM lake.ducklake_data_file
    WHERE table_id IN (SELECT table_id FROM live)
      AND begin_snapshot <= %(at)s AND (end_snapshot IS NULL OR end_snapshot > %(at)s)
    GROUP BY table_id
), deletes AS (
    SELECT table_id, sum(delete_count) AS rows
    FROM lake.ducklake_delete_file
    WHERE table_id IN (SELECT table_id FROM live)
      AND begin_snapshot <= %(at)s AND (end_snapshot IS NULL OR end_snapshot > %(at)s)
    GROUP BY table_id
)
SELECT live.schema_name, live.table_name, live.table_id, live.table_uuid, live.begin_snapshot,
    coalesce(files.rows, 0) - coalesce(deletes.rows, 0), coalesce(files.files, 0), coalesce(files.bytes, 0),
    coalesce((SELECT max(snapshot_id) FROM lake.metalayer_change c
        WHERE c.table_id = live.table_id AND c.kind = 'data' AND c.snapshot_id <= %(at)s), live.begin_snapshot),
    coalesce((SELECT max(snapshot_id) FROM lake.metalayer_change c
        WHERE c.table_id = live.table_id AND c.snapshot_id <= %(at)s), live.begin_snapshot),
    coalesce((SELECT next_row_id FROM lake.ducklake_table_stats x WHERE x.table_id = live.table_id), 0),
    (SELECT max(column_id) FROM lake.ducklake_column c WHERE c.table_id = live.table_id) + 1,
    (SELECT value FROM lake.ducklake_tag g WHERE g.object_id = live.table_id AND g.key = 'comment'
        AND g.begin_snapshot <= %(at)s AND (g.end_snapshot IS NULL OR g.end_snapshot > %(at)s) LIMIT 1)
FROM live LEFT JOIN files USING (table_id) LEFT JOIN deletes USING (table_id)
ORDER BY live.schema_name, live.table_name
"""

_LAYERS = [layer.value for layer in Layer]


def read_tables(
    connection: Connection, at: int, names: Iterable[TableName] | None = None
) -> dict[TableName, TableState]:
    """Return the tables at a snapshot: all, or those with the given names that exist."""
    chosen = None if names is None else set(names)
    bare = None if chosen is None else sorted({table.name for table in chosen})
    rows = connection.execute(_STATE, {"at": at, "layers": _LAYERS, "names": bare}).fetchall()
    columns = _columns_at(connection, at, [row[2] for row in rows])
    tables = {}
    for layer, name, table_id, identity, created, live, files, size, head, version, row_ids, next_id, words in rows:
        table = TableName(Layer(layer), name)
        if chosen is not None and table not in chosen:
            continue
        tables[table] = TableState(
            name=table,
            table_id=table_id,
            uuid=identity,
            schema=TableSchema(table, columns[table_id], next_id),
            rows=int(live),
            files=files,
            bytes=int(size),
            head=head,
            version=version,
            created=created,
            row_ids=row_ids,
            description=words or "",
        )
    return tables


COLUMNS = """
SELECT table_id, column_id, parent_column, column_name, column_type, nulls_allowed, initial_default, begin_snapshot,
    end_snapshot
FROM lake.ducklake_column WHERE table_id = ANY(%s) ORDER BY table_id, column_order
"""


def _columns_at(connection: Connection, at: int, table_ids: Sequence[int]) -> dict[int, tuple[LakeColumn, ...]]:
    by_table: dict[int, list[Row]] = defaultdict(list)
    if table_ids:
        for row in connection.execute(COLUMNS, [list(table_ids)]).fetchall():
            by_table[row[0]].append(row)
    return {table_id: columns_at(rows, at) for table_id, rows in by_table.items()}


def columns_at(rows: Sequence[Row], at: int) -> tuple[LakeColumn, ...]:
    """Build the columns of one table at a snapshot from its rows of the catalog, which are in order."""
    children: dict[int | None, list[Row]] = defaultdict(list)
    for row in rows:
        begin, end = row[7], row[8]
        if begin <= at and (end is None or end > at):
            children[row[2]].append(row)

    def build(row: Row) -> LakeColumn:
        _, column_id, _, name, type_, nullable, default, _, _ = row
        parts = tuple(build(child) for child in children[column_id])
        return LakeColumn(column_id, name, engine_type(type_, parts), nullable, parts, default)

    return tuple(build(row) for row in children[None])


def read_views(connection: Connection, at: int) -> dict[TableName, str]:
    """Return the views for outside readers at a snapshot, with their SQL."""
    rows = connection.execute(
        """SELECT s.schema_name, v.view_name, v.sql
        FROM lake.ducklake_view v JOIN lake.ducklake_schema s USING (schema_id)
        WHERE v.begin_snapshot <= %(at)s AND (v.end_snapshot IS NULL OR v.end_snapshot > %(at)s)
          AND s.schema_name = ANY(%(layers)s) ORDER BY 1, 2""",
        {"at": at, "layers": _LAYERS},
    ).fetchall()
    return {TableName(Layer(layer), name): sql for layer, name, sql in rows}


def read_state(connection: Connection, at: int | None) -> LakeState:
    """Return everything at a snapshot; None is the newest."""
    snapshot = newest(connection) if at is None else require_snapshot(connection, at)
    return LakeState(snapshot, read_tables(connection, snapshot), read_views(connection, snapshot))


_FILES = """
SELECT d.data_file_id, d.path, d.path_is_relative, d.record_count, d.file_size_bytes, d.row_id_start, d.encryption_key,
    d.begin_snapshot, x.delete_file_id, x.path, x.path_is_relative, x.encryption_key, coalesce(x.delete_count, 0)
FROM lake.ducklake_data_file d
LEFT JOIN lake.ducklake_delete_file x ON x.data_file_id = d.data_file_id
    AND x.begin_snapshot <= %(at)s AND (x.end_snapshot IS NULL OR x.end_snapshot > %(at)s)
WHERE d.table_id = %(table)s AND d.begin_snapshot <= %(at)s AND (d.end_snapshot IS NULL OR d.end_snapshot > %(at)s)
ORDER BY d.data_file_id
"""

TABLE_AT = """
SELECT t.table_id, s.path, t.path, t.begin_snapshot
FROM lake.ducklake_table t JOIN lake.ducklake_schema s USING (schema_id)
WHERE s.schema_name = %(layer)s AND t.table_name = %(name)s
  AND t.begin_snapshot <= %(at)s AND (t.end_snapshot IS NULL OR t.end_snapshot > %(at)s)
"""


def read_files(connection: Connection, settings: LakeSettings, table: TableName, at: int) -> FileList:
    """Return what a reader needs to read a table at a snapshot.

    Raises:
        LakeError: the table does not exist there.
    """
    row = connection.execute(TABLE_AT, {"layer": table.layer.value, "name": table.name, "at": at}).fetchone()
    if row is None:
        known = [str(name) for name in read_tables(connection, at)]
        raise LakeError(
            f"The lake has no table {table} at snapshot {at}.",
            hint=f"{did_you_mean(str(table), known)}Run what builds it first, or choose a later snapshot.",
        )
    table_id, schema_path, table_path, _ = row
    directory = Path(settings.root) / schema_path / table_path
    columns = connection.execute(COLUMNS, [[table_id]]).fetchall()
    current = columns_at(columns, at)
    written: dict[int, tuple[LakeColumn, ...]] = {}

    def place(path: str, relative: bool) -> str:  # noqa: FBT001 - two columns of one row
        return str(directory / path) if relative else path

    files = []
    for file in connection.execute(_FILES, {"table": table_id, "at": at}).fetchall():
        (
            number,
            path,
            relative,
            rows,
            size,
            row_id,
            key,
            begin,
            delete,
            delete_path,
            delete_relative,
            delete_key,
            gone,
        ) = file
        if begin not in written:
            written[begin] = columns_at(columns, begin)
        files.append(
            DataFile(
                id=number,
                path=place(path, relative),
                rows=rows,
                bytes=size,
                columns=written[begin],
                row_id_start=row_id,
                key=key,
                delete_id=delete,
                delete_path=None if delete is None else place(delete_path, delete_relative),
                delete_key=delete_key,
                deleted=gone,
                begin=begin,
            )
        )
    # Expiry takes all at once: if the snapshot is still there, nothing of the list above was taken.
    if not connection.execute("SELECT FROM lake.ducklake_snapshot WHERE snapshot_id = %s", [at]).rowcount:
        raise ConflictError(
            f"Snapshot {at} was forgotten while {table} was looked up.", hint="Read again from the newest snapshot."
        )
    next_id = max(column[1] for column in columns) + 1
    return FileList(table, TableSchema(table, current, next_id), tuple(files), at, table_id)


def read_snapshots(connection: Connection, limit: int | None, run: str | None = None) -> tuple[SnapshotInfo, ...]:
    """Return the snapshots that are kept, the newest first; only those of a run where it is given."""
    rows = connection.execute(
        """SELECT s.snapshot_id, s.snapshot_time, c.author, c.commit_message, c.commit_extra_info, m.attempt, m.kind,
            array(SELECT n.schema_name || '.' || t.table_name FROM lake.metalayer_change x
                JOIN lake.ducklake_table t ON t.table_id = x.table_id
                JOIN lake.ducklake_schema n USING (schema_id)
                WHERE x.snapshot_id = s.snapshot_id ORDER BY 1)
        FROM lake.ducklake_snapshot s
        LEFT JOIN lake.ducklake_snapshot_changes c USING (snapshot_id)
        LEFT JOIN lake.metalayer_commit m USING (snapshot_id)
        WHERE %(run)s::varchar IS NULL OR strpos(c.commit_extra_info, %(run)s) > 0
        ORDER BY s.snapshot_id DESC LIMIT %(limit)s""",
        {"limit": limit, "run": run},
    ).fetchall()
    found = tuple(
        SnapshotInfo(
            id=number,
            time=time,
            author=author or "",
            message=message or "",
            attempt=attempt,
            kind=CommitKind(kind or CommitKind.DATA),
            tables=tuple(dict.fromkeys(TableName.parse(name) for name in tables)),
            extra=_extra(extra),
        )
        for number, time, author, message, extra, attempt, kind, tables in rows
    )
    return found if run is None else tuple(item for item in found if item.extra.get("run") == run)


def _extra(text: str | None) -> Mapping[str, object]:
    try:
        parsed = json.loads(text or "{}")
    except json.JSONDecodeError:  # another writer may say anything here
        return {"text": text}
    return parsed if isinstance(parsed, dict) else {"text": text}


def read_time(connection: Connection, snapshot: int) -> datetime | None:
    """Return when a snapshot was committed; None where it is forgotten or never was."""
    row = connection.execute(
        "SELECT snapshot_time FROM lake.ducklake_snapshot WHERE snapshot_id = %s", [snapshot]
    ).fetchone()
    return None if row is None else row[0]


def read_snapshot_at(connection: Connection, time: datetime) -> int:
    """Return the newest snapshot that was committed at or before a time.

    Raises:
        UsageError: the time has no timezone, or no snapshot that old is kept.
    """
    if time.tzinfo is None:
        raise UsageError(f"The time {time} has no timezone.", hint="Write it with one, for example 2026-03-01T09:00Z.")
    row = one(
        connection,
        "SELECT max(snapshot_id) FILTER (WHERE snapshot_time <= %s), min(snapshot_time) FROM lake.ducklake_snapshot",
        [time],
    )
    if row[0] is None:
        raise UsageError(
            f"No snapshot of {time.isoformat()} or before is kept: the oldest is of {row[1].isoformat()}.",
            hint="Choose a later time. How long snapshots are kept is the environment's `keep` in metalayer.yml.",
        )
    return int(row[0])
