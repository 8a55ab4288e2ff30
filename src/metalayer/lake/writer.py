"""The catalog's rows of one snapshot: what a commit inserts and ends, table by table.

Nothing here decides whether a commit may be made, locks anything, or opens a transaction: `commit` does.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metalayer.core.names import TableName, quote_path
from metalayer.lake.catalog import Connection, one
from metalayer.lake.files import table_path
from metalayer.lake.schema import format_type
from metalayer.lake.statistics import TableStatistics, merge
from metalayer.lake.values import (
    CommitKind,
    DataFile,
    LakeColumn,
    StagedDeletes,
    StagedFile,
    TableChange,
    TableSchema,
    TableState,
    ViewChange,
)


@dataclass(frozen=True, slots=True)
class CommitWords:
    """What a commit says of itself."""

    attempt: uuid.UUID
    kind: CommitKind
    author: str
    message: str
    extra: Mapping[str, object] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A compaction of one table: files that end, and files with the same live rows that begin."""

    table: TableName
    table_id: int
    schema: TableSchema
    ended: tuple[DataFile, ...]
    added: tuple[StagedFile, ...]


@dataclass(slots=True)
class Writer:
    """Writes the rows of one snapshot. Ids are given out here and stored with the snapshot at the end."""

    connection: Connection
    snapshot: int
    next_catalog_id: int
    next_file_id: int
    changes: list[str] = field(default_factory=list)
    touched: dict[int, None] = field(default_factory=dict)
    altered: list[int] = field(default_factory=list)
    reshaped: bool = False

    def table(self, change: TableChange, state: TableState | None) -> None:
        """Write everything of one table."""
        if state is not None and (change.drop or change.replace):
            self._end_table(state)
            state = None
            if change.drop:
                return
        table_id = self._begin_table(change) if state is None else state.table_id
        self.touched[table_id] = None
        if state is not None and change.schema.columns != state.schema.columns:
            self._alter(table_id, state.schema.columns, change.schema.columns)
        self._words(table_id, change, state)
        if change.added or change.deleted:
            self._rows(table_id, change, state)

    # --- tables and columns --------------------------------------------------------------------------------------

    def _begin_table(self, change: TableChange) -> int:
        table_id = self._catalog_id()
        table = change.table
        self.connection.execute(
            """INSERT INTO lake.ducklake_table
            SELECT %s, %s, %s, NULL, schema_id, %s, %s, true FROM lake.ducklake_schema
            WHERE schema_name = %s AND end_snapshot IS NULL""",
            [table_id, uuid.uuid4(), self.snapshot, table.name, f"{table_path(table)}/", table.layer.value],
        )
        self._insert_columns(table_id, _column_rows(change.schema.columns).values())
        self.connection.execute("INSERT INTO lake.ducklake_table_stats VALUES (%s, 0, 0, 0)", [table_id])
        self.changes.append(f"created_table:{quote_path(table.layer.value, table.name)}")
        self.altered.append(table_id)
        return table_id

    def _end_table(self, state: TableState) -> None:
        table_id = state.table_id
        for name, key in (
            ("ducklake_table", "table_id"),
            ("ducklake_column", "table_id"),
            ("ducklake_data_file", "table_id"),
            ("ducklake_delete_file", "table_id"),
            ("ducklake_tag", "object_id"),
            ("ducklake_column_tag", "table_id"),
        ):
            self.connection.execute(
                f"UPDATE lake.{name} SET end_snapshot = %s WHERE {key} = %s AND end_snapshot IS NULL",
                [self.snapshot, table_id],
            )
        self.changes.append(f"dropped_table:{table_id}")
        self.touched[table_id] = None
        self.reshaped = True

    def _alter(self, table_id: int, before: tuple[LakeColumn, ...], after: tuple[LakeColumn, ...]) -> None:
        old, new = _column_rows(before), _column_rows(after)
        ended = [number for number, row in old.items() if new.get(number) != row]
        self.connection.execute(
            "UPDATE lake.ducklake_column SET end_snapshot = %s "
            "WHERE table_id = %s AND column_id = ANY(%s) AND end_snapshot IS NULL",
            [self.snapshot, table_id, ended],
        )
        self._insert_columns(table_id, [row for number, row in new.items() if old.get(number) != row])
        self._forget_statistics(table_id, before, after)
        self.changes.append(f"altered_table:{table_id}")
        self.altered.append(table_id)

    def _insert_columns(self, table_id: int, rows: Iterable[_ColumnRow]) -> None:
        columns = list(zip(*rows, strict=True))
        if not columns:
            return
        self.connection.execute(
            """INSERT INTO lake.ducklake_column(column_id, begin_snapshot, end_snapshot, table_id, column_order,
                column_name, column_type, initial_default, default_value, nulls_allowed, parent_column,
                default_value_type, default_value_dialect)
            SELECT number, %s, NULL, %s, place, name, type, initial, 'NULL', nullable, parent,
                CASE WHEN type IN ('struct', 'list', 'map') THEN '' ELSE 'literal' END, 'duckdb'
            FROM unnest(%s::bigint[], %s::bigint[], %s::varchar[], %s::varchar[], %s::varchar[], %s::boolean[],
                %s::bigint[]) AS c(number, place, name, type, initial, nullable, parent)""",
            [self.snapshot, table_id, *(list(column) for column in columns)],
        )

    def _forget_statistics(self, table_id: int, before: tuple[LakeColumn, ...], after: tuple[LakeColumn, ...]) -> None:
        """Let columns whose type changed have no known bounds in the table as a whole, for good.

        These bounds are not versioned: a reader at an earlier snapshot could not read later ones as the narrower type.
        """
        old = {part.id: part for column in before for part in column.walk()}
        new = [part for column in after for part in column.walk() if part.id in old and not part.children]
        widened = [part.id for part in new if part.type != old[part.id].type]
        if widened:
            self.connection.execute(
                "DELETE FROM lake.ducklake_table_column_stats WHERE table_id = %s AND column_id = ANY(%s)",
                [table_id, widened],
            )

    def _words(self, table_id: int, change: TableChange, state: TableState | None) -> None:
        if change.description and (state is None or state.description != change.description):
            self._end_tags("ducklake_tag", "object_id = %s AND key = 'comment'", [table_id])
            self.connection.execute(
                "INSERT INTO lake.ducklake_tag VALUES (%s, %s, NULL, 'comment', %s)",
                [table_id, self.snapshot, change.description],
            )
            self._described(table_id)
        ids = {column.name: column.id for column in change.schema.columns}
        wanted = {ids[name]: words for name, words in change.column_words.items() if name in ids}
        if not wanted:
            return
        known: dict[int, str] = dict(
            self.connection.execute(
                "SELECT column_id, value FROM lake.ducklake_column_tag "
                "WHERE table_id = %s AND key = 'comment' AND end_snapshot IS NULL",
                [table_id],
            ).fetchall()
        )
        changed = {number: words for number, words in wanted.items() if known.get(number, "") != words}
        if changed:
            self._end_tags(
                "ducklake_column_tag",
                "table_id = %s AND key = 'comment' AND column_id = ANY(%s)",
                [table_id, [*changed]],
            )
            self.connection.execute(
                "INSERT INTO lake.ducklake_column_tag SELECT %s, number, %s, NULL, 'comment', words "
                "FROM unnest(%s::bigint[], %s::varchar[]) AS c(number, words) WHERE words <> ''",
                [table_id, self.snapshot, [*changed], [*changed.values()]],
            )
            self._described(table_id)

    def _end_tags(self, name: str, condition: str, values: list[object]) -> None:
        self.connection.execute(
            f"UPDATE lake.{name} SET end_snapshot = %s WHERE end_snapshot IS NULL AND {condition}",
            [self.snapshot, *values],
        )

    def _described(self, table_id: int) -> None:
        change = f"altered_table:{table_id}"
        if table_id not in self.altered:
            self.changes.append(change)
            self.reshaped = True

    # --- rows ----------------------------------------------------------------------------------------------------

    def _rows(self, table_id: int, change: TableChange, state: TableState | None) -> None:
        if change.added:
            self._add_files(table_id, change.schema, change.added, first=state is None or state.row_ids == 0)
            self.changes.append(f"inserted_into_table:{table_id}")
        if change.deleted:
            self._add_deletes(table_id, change.deleted)
            self.changes.append(f"deleted_from_table:{table_id}")

    def _add_files(self, table_id: int, schema: TableSchema, added: Sequence[StagedFile], *, first: bool) -> None:
        """Name new data files, with their statistics; ``first`` says that the table never had one before."""
        start = self.next_file_id
        self.next_file_id += len(added)
        rows = sum(file.rows for file in added)
        (next_row_id,) = one(
            self.connection,
            """UPDATE lake.ducklake_table_stats SET record_count = record_count + %s, next_row_id = next_row_id + %s,
                file_size_bytes = file_size_bytes + %s WHERE table_id = %s RETURNING next_row_id""",
            [rows, rows, sum(file.bytes for file in added), table_id],
        )
        row_ids = _running(next_row_id - rows, [file.rows for file in added])
        self.connection.execute(
            """INSERT INTO lake.ducklake_data_file
            SELECT number, %s, %s, NULL, NULL, path, true, 'parquet', rows, bytes, footer, row_id, NULL, key, NULL, NULL
            FROM unnest(%s::bigint[], %s::varchar[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
                %s::varchar[]) AS f(number, path, rows, bytes, footer, row_id, key)""",
            [
                table_id,
                self.snapshot,
                list(range(start, self.next_file_id)),
                [Path(file.path).name for file in added],
                [file.rows for file in added],
                [file.bytes for file in added],
                [file.footer for file in added],
                row_ids,
                [file.key for file in added],
            ],
        )
        self._checksums(start, [file.crc32 for file in added])
        self._file_statistics(table_id, start, added)
        self._table_statistics(table_id, schema, added, first=first)

    def _checksums(self, start: int, sums: Sequence[int | None]) -> None:
        known = {number: crc for number, crc in enumerate(sums, start) if crc is not None}
        self.connection.execute(
            "INSERT INTO lake.metalayer_checksum SELECT * FROM unnest(%s::bigint[], %s::bigint[])",
            [list(known), list(known.values())],
        )

    def _file_statistics(self, table_id: int, start: int, added: Sequence[StagedFile]) -> None:
        rows = [
            (number, s.column_id, s.size, s.values, s.nulls, s.minimum, s.maximum, s.has_nan)
            for number, file in enumerate(added, start)
            for s in file.statistics
        ]
        if not rows:
            return
        self.connection.execute(
            """INSERT INTO lake.ducklake_file_column_stats
            SELECT number, %s, column_id, size, rows, nulls, least, most, nan, NULL
            FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::varchar[],
                %s::varchar[], %s::boolean[]) AS f(number, column_id, size, rows, nulls, least, most, nan)""",
            [table_id, *(list(column) for column in zip(*rows, strict=True))],
        )

    def _table_statistics(
        self, table_id: int, schema: TableSchema, added: Sequence[StagedFile], *, first: bool
    ) -> None:
        """Widen what is known of each column in all files. A column that earlier files lack is left unknown."""
        known = {
            row[0]: TableStatistics(*row)
            for row in self.connection.execute(
                "SELECT column_id, contains_null, contains_nan, min_value, max_value "
                "FROM lake.ducklake_table_column_stats WHERE table_id = %s",
                [table_id],
            ).fetchall()
        }
        by_file = [{s.column_id: s for s in file.statistics} for file in added]
        merged = {
            column.id: merge(column, known.get(column.id), [statistics.get(column.id) for statistics in by_file])
            for column in schema.leaves().values()
            if first or column.id in known
        }
        changed = [number for number, value in merged.items() if value != known.get(number)]
        rows = [value for number in changed if (value := merged[number]) is not None]
        replaced = [number for number in changed if number in known]
        if replaced:
            self.connection.execute(
                "DELETE FROM lake.ducklake_table_column_stats WHERE table_id = %s AND column_id = ANY(%s)",
                [table_id, replaced],
            )
        if rows:
            self.connection.execute(
                """INSERT INTO lake.ducklake_table_column_stats SELECT %s, number, nulls, nan, least, most, NULL
                FROM unnest(%s::bigint[], %s::boolean[], %s::boolean[], %s::varchar[], %s::varchar[])
                    AS c(number, nulls, nan, least, most)""",
                [
                    table_id,
                    [row.column_id for row in rows],
                    [row.contains_null for row in rows],
                    [row.contains_nan for row in rows],
                    [row.minimum for row in rows],
                    [row.maximum for row in rows],
                ],
            )

    def _add_deletes(self, table_id: int, deleted: Sequence[StagedDeletes]) -> None:
        start = self.next_file_id
        self.next_file_id += len(deleted)
        self.connection.execute(
            "UPDATE lake.ducklake_delete_file SET end_snapshot = %s "
            "WHERE table_id = %s AND end_snapshot IS NULL AND data_file_id = ANY(%s)",
            [self.snapshot, table_id, [delete.data_file for delete in deleted]],
        )
        self.connection.execute(
            """INSERT INTO lake.ducklake_delete_file
            SELECT number, %s, %s, NULL, data_file, path, true, 'parquet', rows, bytes, footer, key, NULL
            FROM unnest(%s::bigint[], %s::bigint[], %s::varchar[], %s::bigint[], %s::bigint[], %s::bigint[],
                %s::varchar[]) AS f(number, data_file, path, rows, bytes, footer, key)""",
            [
                table_id,
                self.snapshot,
                list(range(start, self.next_file_id)),
                [delete.data_file for delete in deleted],
                [Path(delete.path).name for delete in deleted],
                [delete.rows for delete in deleted],
                [delete.bytes for delete in deleted],
                [delete.footer for delete in deleted],
                [delete.key for delete in deleted],
            ],
        )
        self._checksums(start, [delete.crc32 for delete in deleted])

    def rewrite(self, rewrite: Rewrite) -> None:
        """Let files end and others with the same live rows begin."""
        ended = [file.id for file in rewrite.ended]
        for name in ("ducklake_data_file", "ducklake_delete_file"):
            self.connection.execute(
                f"UPDATE lake.{name} SET end_snapshot = %s "
                "WHERE table_id = %s AND end_snapshot IS NULL AND data_file_id = ANY(%s)",
                [self.snapshot, rewrite.table_id, ended],
            )
        self.connection.execute(
            "UPDATE lake.ducklake_table_stats SET record_count = record_count - %s, "
            "file_size_bytes = file_size_bytes - %s WHERE table_id = %s",
            [sum(file.rows for file in rewrite.ended), sum(file.bytes for file in rewrite.ended), rewrite.table_id],
        )
        if rewrite.added:
            self._add_files(rewrite.table_id, rewrite.schema, rewrite.added, first=False)
        deletes = any(file.deleted for file in rewrite.ended)
        self.changes.append(f"{'rewrite_delete' if deletes else 'merge_adjacent'}:{rewrite.table_id}")
        self.touched[rewrite.table_id] = None

    # --- views and the snapshot itself ---------------------------------------------------------------------------

    def view(self, change: ViewChange, known: str | None) -> None:
        """Write a view for outside readers; one that says the same already is left alone."""
        if change.sql == known:
            return
        name, layer = change.view.name, change.view.layer.value
        if known is not None:
            (view_id,) = one(
                self.connection,
                """UPDATE lake.ducklake_view SET end_snapshot = %s WHERE view_name = %s AND end_snapshot IS NULL
                AND schema_id = (SELECT schema_id FROM lake.ducklake_schema
                    WHERE schema_name = %s AND end_snapshot IS NULL) RETURNING view_id""",
                [self.snapshot, name, layer],
            )
            self.changes.append(f"dropped_view:{view_id}")
        if change.sql is not None:
            self.connection.execute(
                """INSERT INTO lake.ducklake_view
                SELECT %s, %s, %s, NULL, schema_id, %s, 'duckdb', %s, '' FROM lake.ducklake_schema
                WHERE schema_name = %s AND end_snapshot IS NULL""",
                [self._catalog_id(), uuid.uuid4(), self.snapshot, name, change.sql, layer],
            )
            self.changes.append(f"created_view:{quote_path(layer, name)}")
        self.reshaped = True

    def _catalog_id(self) -> int:
        number = self.next_catalog_id
        self.next_catalog_id += 1
        return number

    def snapshot_rows(self, schema_version: int, words: CommitWords) -> None:
        """Write the snapshot, which makes all the rest visible to those who read after the transaction."""
        version = schema_version + (1 if self.reshaped or self.altered else 0)
        # The clock may step back; snapshots do not, so that a time always means one state.
        self.connection.execute(
            """INSERT INTO lake.ducklake_snapshot SELECT %s, greatest(clock_timestamp(), max(snapshot_time)), %s, %s, %s
            FROM lake.ducklake_snapshot WHERE snapshot_id = %s""",
            [self.snapshot, version, self.next_catalog_id, self.next_file_id, self.snapshot - 1],
        )
        self.connection.execute(
            "INSERT INTO lake.ducklake_snapshot_changes VALUES (%s, %s, %s, %s, %s)",
            [self.snapshot, ",".join(self.changes), words.author, words.message, json.dumps(dict(words.extra))],
        )
        self.connection.execute(
            "INSERT INTO lake.metalayer_commit VALUES (%s, %s, %s)", [self.snapshot, words.attempt, words.kind.value]
        )
        if self.touched:
            self.connection.execute(
                "INSERT INTO lake.metalayer_change SELECT table_id, %s, %s FROM unnest(%s::bigint[]) AS table_id",
                [self.snapshot, words.kind.value, list(self.touched)],
            )
        if self.altered:
            self.connection.execute(
                "INSERT INTO lake.ducklake_schema_versions "
                "SELECT %s, %s, table_id FROM unnest(%s::bigint[]) AS table_id",
                [self.snapshot, version, self.altered],
            )


_ColumnRow = tuple[int, int, str, str, str | None, bool, int | None]


def _column_rows(columns: tuple[LakeColumn, ...]) -> dict[int, _ColumnRow]:
    """Return the catalog's rows of columns by id: id, order, name, type, default, nullable, parent."""
    rows: dict[int, _ColumnRow] = {}

    def add(column: LakeColumn, parent: int | None) -> None:
        type_ = format_type(column.type)
        rows[column.id] = (column.id, len(rows) + 1, column.name, type_, column.default, column.nullable, parent)
        for child in column.children:
            add(child, column.id)

    for column in columns:
        add(column, None)
    return rows


def _running(start: int, counts: Sequence[int]) -> list[int]:
    sums = []
    for count in counts:
        sums.append(start)
        start += count
    return sums
