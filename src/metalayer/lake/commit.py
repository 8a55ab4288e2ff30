"""The commit: one PostgreSQL transaction that makes staged files visible, together with the facts of other rooms.

The order within the transaction is the protocol: the tables' locks in sorted order, compare, the commit-order lock, the
next snapshot, the catalog's rows, the facts. Nothing here reads a file or asks an engine; what it needs of a file came
with the staging. The caller opens and ends the transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from metalayer.core.errors import ConflictError, LakeError
from metalayer.core.failpoints import Failpoint, reach
from metalayer.core.names import TableName, quote
from metalayer.lake.catalog import Connection, one, read_tables, read_views
from metalayer.lake.values import (
    ANY_HEAD,
    TableChange,
    TableState,
    ViewChange,
)
from metalayer.lake.writer import CommitWords, Rewrite, Writer

_TABLE_LOCKS = 7_101_843
_ORDER_LOCK = 7_101_844


def lock_tables(connection: Connection, tables: Sequence[TableName]) -> None:
    """Hold tables against other commits until the transaction ends; in sorted order, so that nobody waits in a ring."""
    numbers = sorted({_lock_number(table) for table in tables})
    connection.execute(
        "SELECT pg_advisory_xact_lock(%s, number) FROM unnest(%s::int[]) AS number", [_TABLE_LOCKS, numbers]
    )


def lock_order(connection: Connection) -> None:
    """Be the only commit from here to the transaction's end: snapshots appear in the order of their numbers."""
    connection.execute("SELECT pg_advisory_xact_lock(%s, 0)", [_ORDER_LOCK])


def _lock_number(table: TableName) -> int:
    return int.from_bytes(hashlib.sha256(str(table).encode()).digest()[:4], signed=True)


def write(
    connection: Connection, changes: Sequence[TableChange], views: Sequence[ViewChange], words: CommitWords
) -> int:
    """Write a commit's catalog rows and return its snapshot.

    Raises:
        ConflictError: a table is not as the change expects it.
        LakeError: a change cannot be made at all.
    """
    _require_sound(changes, views)
    lock_tables(connection, [change.table for change in changes] + [view.view for view in views])
    last = _last_snapshot(connection)
    before = read_tables(connection, last.snapshot, [change.table for change in changes]) if changes else {}
    for change in changes:
        _compare(connection, change, before.get(change.table))
    lock_order(connection)
    reach(Failpoint.COMMIT_AFTER_LOCK)
    last = _last_snapshot(connection)
    writer = Writer(connection, last.snapshot + 1, last.next_catalog_id, last.next_file_id)
    for change in changes:
        writer.table(change, before.get(change.table))
    if views:
        known = read_views(connection, last.snapshot)
        for view in views:
            writer.view(view, known.get(view.view))
    writer.snapshot_rows(last.schema_version, words)
    reach(Failpoint.COMMIT_AFTER_CATALOG)
    return writer.snapshot


def write_rewrite(connection: Connection, rewrite: Rewrite, words: CommitWords) -> int:
    """Write the catalog rows of a compaction and return its snapshot; what the table says stays as it is.

    Raises:
        ConflictError: one of the files was changed, or the columns were, since the compaction read them.
    """
    lock_tables(connection, [rewrite.table])
    last = _last_snapshot(connection)
    state = read_tables(connection, last.snapshot, [rewrite.table]).get(rewrite.table)
    if state is None or state.table_id != rewrite.table_id or state.schema.columns != rewrite.schema.columns:
        raise _conflict(rewrite.table, "its columns changed, or it was replaced")
    live = _live_files(connection, rewrite.table_id, [file.id for file in rewrite.ended])
    if live != {file.id: file.delete_id for file in rewrite.ended}:
        raise _conflict(rewrite.table, "files to be rewritten were changed")
    lock_order(connection)
    reach(Failpoint.COMMIT_AFTER_LOCK)
    last = _last_snapshot(connection)
    writer = Writer(connection, last.snapshot + 1, last.next_catalog_id, last.next_file_id)
    writer.rewrite(rewrite)
    writer.snapshot_rows(last.schema_version, words)
    reach(Failpoint.COMMIT_AFTER_CATALOG)
    return writer.snapshot


def _require_sound(changes: Sequence[TableChange], views: Sequence[ViewChange]) -> None:
    # A view may take the place of a table that ends in the same commit, and the other way round.
    names = [change.table for change in changes if not change.drop] + [view.view for view in views if view.sql]
    ends = [change.table for change in changes if change.drop] + [view.view for view in views if not view.sql]
    tables, shown = [change.table for change in changes], [view.view for view in views]
    twice = {str(name) for part in (names, ends, tables, shown) for name in part if part.count(name) > 1}
    if twice:
        raise LakeError(
            f"One commit names {', '.join(sorted(twice))} more than once.", hint="Put all changes of a table into one."
        )
    for change in changes:
        if change.deleted and (change.drop or change.replace or change.expected_head in {None, ANY_HEAD}):
            raise LakeError(
                f"The change of {change.table} removes rows of a table it does not start from.",
                hint="Give the expected head, and neither drop nor replace.",
            )
        required = {column.id: column.name for column in change.schema.columns if not column.nullable}
        for file in change.added:
            for known in file.statistics:
                if known.nulls and known.column_id in required:
                    raise LakeError(
                        f"Column {quote(required[known.column_id])} of {change.table} may not be NULL, "
                        f"and {known.nulls} new rows are.",
                        hint="Let a not_null check quarantine such rows, or make the column nullable.",
                    )


@dataclass(frozen=True, slots=True)
class _Last:
    snapshot: int
    schema_version: int
    next_catalog_id: int
    next_file_id: int


def _last_snapshot(connection: Connection) -> _Last:
    row = one(
        connection,
        "SELECT snapshot_id, schema_version, next_catalog_id, next_file_id FROM lake.ducklake_snapshot "
        "ORDER BY snapshot_id DESC LIMIT 1",
        [],
    )
    return _Last(*row)


def _compare(connection: Connection, change: TableChange, state: TableState | None) -> None:
    """Refuse a change that was computed from another state of its table."""
    if state is None:
        if change.expected_head is None and not change.drop:
            return
        raise _conflict(change.table, "it does not exist any more")
    if change.expected_head is None:
        raise _conflict(change.table, "it exists already")
    if change.expected_head == ANY_HEAD:
        if change.schema.columns != state.schema.columns:
            raise _conflict(change.table, "its columns changed")
        return
    if change.expected_head != state.head:
        raise _conflict(change.table, f"it was changed by snapshot {state.head}, after {change.expected_head}")
    if change.deleted:
        _compare_deletes(connection, change, state)


def _compare_deletes(connection: Connection, change: TableChange, state: TableState) -> None:
    """Refuse delete files whose data file was rewritten, or got another delete file, since they were staged."""
    live = _live_files(connection, state.table_id, [delete.data_file for delete in change.deleted])
    for delete in change.deleted:
        if delete.data_file not in live or live[delete.data_file] != delete.replaces:
            raise _conflict(change.table, "files it removes rows from were rewritten")


def _live_files(connection: Connection, table_id: int, numbers: Sequence[int | None]) -> dict[int | None, int | None]:
    """Return those of some data files that are live, each with its delete file."""
    rows = connection.execute(
        """SELECT d.data_file_id, x.delete_file_id FROM lake.ducklake_data_file d
        LEFT JOIN lake.ducklake_delete_file x ON x.data_file_id = d.data_file_id AND x.end_snapshot IS NULL
        WHERE d.table_id = %s AND d.end_snapshot IS NULL AND d.data_file_id = ANY(%s)""",
        [table_id, list(numbers)],
    ).fetchall()
    return dict(rows)


def _conflict(table: TableName, why: str) -> ConflictError:
    return ConflictError(
        f"{table} is not as it was when the change was computed: {why}.",
        hint="Nothing was committed: compute the change again from the newest snapshot.",
    )
