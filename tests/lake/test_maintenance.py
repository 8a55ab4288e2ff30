from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from metalayer.core.errors import ConflictError, UsageError
from metalayer.core.names import Layer, TableName
from metalayer.core.schema import schema
from metalayer.lake import (
    CommitKind,
    CompactionRule,
    DataFile,
    FileList,
    Lake,
    MaintenanceReport,
    TableChange,
    TableSchema,
    plan_schema,
)
from metalayer.lake.maintenance import chosen, wear

ORDERS = TableName(Layer.SILVER, "orders")
COLUMNS = schema(id="bigint", name="varchar")
ALL = CompactionRule(worn=0, min_files=2, deleted_share=0.01)
NONE = CompactionRule(min_files=1_000, deleted_share=2)
DAY = timedelta(days=1)
Read = Callable[..., list[tuple[Any, ...]]]


def maintain(lake: Lake, *, days: float = 0, rule: CompactionRule = NONE, **options: Any) -> MaintenanceReport:
    """Maintain a lake as if so many days had passed, keeping snapshots for one."""
    now = datetime.now(UTC) + timedelta(days=days)
    values = {"keep": DAY, "grace": DAY, "now": now, "compaction": rule, **options}
    return lake.maintain(**values)


def files_of(directory: Path) -> set[str]:
    return {path.name for path in directory.rglob("*.parquet")}


def test_compaction_changes_files_and_nothing_that_is_said(writer: Any, lake: Lake, read: Read) -> None:
    for start in range(0, 50, 10):
        writer.append(ORDERS, COLUMNS, f"SELECT i, 'n' || i FROM range({start}, {start + 10}) t(i)")
    gone = writer.delete(ORDERS, "id % 3 = 0")
    before = lake.state().tables[ORDERS]
    rows = read(ORDERS)
    report = maintain(lake, rule=ALL)
    assert [(done.table, done.files_before, done.files_after, done.rows) for done in report.compacted] == [
        (ORDERS, 5, 1, 33)
    ]
    after = lake.state().tables[ORDERS]
    assert read(ORDERS) == rows
    assert read(ORDERS, gone) == rows
    assert (after.rows, after.files, after.head) == (33, 1, before.head)
    assert after.version == report.compacted[0].snapshot > before.version
    assert lake.snapshots(1)[0].kind is CommitKind.MAINTENANCE
    assert read(ORDERS, where="id = 49") == [(49, "n49")]
    assert maintain(lake, rule=ALL).compacted == ()
    assert report.missing == ()


def test_a_file_of_which_nothing_is_left_ends(writer: Any, lake: Lake, read: Read) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT i, 'n' || i FROM range(3) t(i)")
    writer.delete(ORDERS, "true")
    maintain(lake, rule=ALL)
    assert lake.state().tables[ORDERS].files == 0
    assert read(ORDERS) == []


def listed(*files: tuple[int, int, int]) -> FileList:
    """Return a list of files of so many rows, bytes a row and removed rows each."""
    made = tuple(
        DataFile(number, f"/{number}.parquet", rows, rows * size, (), deleted=deleted)
        for number, (rows, size, deleted) in enumerate(files)
    )
    return FileList(ORDERS, TableSchema(ORDERS, (), 1), made, at=1)


def test_a_table_is_compacted_by_what_its_files_cost() -> None:
    rule = CompactionRule()
    large, small = (10_000_000, 40, 0), (100, 40, 0)
    assert chosen(listed(large, *[small] * 20), rule) == ()  # twenty files beside ten million rows cost nothing
    assert [file.id for file in chosen(listed((100_000, 400, 0), *[small] * 20), rule)] == list(range(1, 21))
    assert chosen(listed((100_000, 400, 0), *[small] * 4), rule) == ()
    much, few = (10_000_000, 40, 4_000_000), (10_000_000, 40, 200_000)
    assert [file.id for file in chosen(listed(few, much, few, few, few), rule)] == [0, 1, 2]
    assert len(chosen(listed(*[much] * 5), rule)) >= 4
    assert chosen(listed(*[(1_000_000, 40, 10)] * 5), rule) == ()
    assert [file.id for file in chosen(listed(large, (5, 40, 5)), rule)] == [1]
    assert wear(listed(large), rule) == 1


def test_compacted_files_are_sorted_by_what_is_asked_for(writer: Any, lake: Lake) -> None:
    for start in range(4):
        writer.append(ORDERS, COLUMNS, f"SELECT 7 * i % 40, 'n' || (i % 3) FROM range({start}, 40, 4) t(i)")
    lake.maintain(
        keep=DAY,
        grace=DAY,
        now=datetime.now(UTC),
        compaction=ALL,
        sorting={ORDERS: ("gone", "name", "id")},
    )
    with lake.session(reader="files") as session:
        rows = session.query(f"SELECT name, id FROM {session.relation_sql(ORDERS)}")
    assert len(rows) == 40
    assert rows == sorted(rows)


def test_deletes_staged_before_a_compaction_are_refused_and_appends_are_not(
    writer: Any, lake: Lake, read: Read
) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT i, 'n' || i FROM range(3) t(i)")
    writer.append(ORDERS, COLUMNS, "SELECT i, 'n' || i FROM range(3, 6) t(i)")
    state = lake.state().tables[ORDERS]
    with lake.session() as session:
        added = session.stage_rows(state.schema, "SELECT 9, 'n9'")
        where = f"SELECT __file, __row FROM {session.positions_sql(ORDERS)} WHERE id = 4"
        deleted = session.stage_deletes(ORDERS, where)
    maintain(lake, rule=ALL)
    with pytest.raises(ConflictError, match="rewritten"):
        writer.commit(TableChange(ORDERS, state.schema, state.head, deleted=deleted))
    writer.commit(TableChange(ORDERS, state.schema, state.head, added=added.files))
    assert [row[0] for row in read(ORDERS)] == [0, 1, 2, 3, 4, 5, 9]


def test_old_snapshots_go_and_their_files_after_the_grace_period(
    writer: Any, lake: Lake, read: Read, data_directory: Path
) -> None:
    first = writer.append(ORDERS, COLUMNS, "SELECT 1, 'a'")
    writer.append(ORDERS, COLUMNS, "SELECT 2, 'b'")
    maintain(lake, rule=ALL)
    present = files_of(data_directory)
    report = maintain(lake, days=1.5)
    assert report.expired == 3
    assert report.waiting == 2
    assert files_of(data_directory) == present
    with pytest.raises(UsageError, match="is forgotten"):
        lake.session(first)
    report = maintain(lake, days=2.6)
    assert (report.removed, report.orphans, report.waiting, report.missing) == (2, 0, 0, ())
    assert len(files_of(data_directory)) == 1
    assert read(ORDERS) == [(1, "a"), (2, "b")]
    assert lake.state().tables[ORDERS].head == 2


def test_protected_snapshots_and_the_newest_are_kept(writer: Any, lake: Lake, read: Read) -> None:
    first = writer.append(ORDERS, COLUMNS, "SELECT 1, 'a'")
    second = writer.append(ORDERS, COLUMNS, "SELECT 2, 'b'")
    third = writer.append(ORDERS, COLUMNS, "SELECT 3, 'c'")
    assert maintain(lake, days=100, protect=[second]).expired == 2
    assert [info.id for info in lake.snapshots()] == [third, second]
    assert len(read(ORDERS, second)) == 2
    assert maintain(lake, days=200).expired == 1
    assert [info.id for info in lake.snapshots()] == [third]
    assert first < second


def test_a_dropped_table_leaves_nothing_behind(writer: Any, lake: Lake, data_directory: Path) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT 1, 'a'")
    state = lake.state().tables[ORDERS]
    writer.commit(TableChange(ORDERS, state.schema, state.head, drop=True))
    maintain(lake, days=2)
    maintain(lake, days=4)
    assert files_of(data_directory) == set()
    connection = lake._metastore.connection
    for name in ("table", "column", "data_file", "file_column_stats", "table_stats", "table_column_stats"):
        assert connection.execute(f"SELECT count(*) FROM lake.ducklake_{name}").fetchone() == (0,), name


def test_only_our_old_files_that_no_commit_named_are_orphans(writer: Any, lake: Lake, data_directory: Path) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT 1, 'a'")
    state = lake.state().tables[ORDERS]
    with lake.session() as session:
        old = session.stage_rows(state.schema, "SELECT 2, 'b'").files[0].path
        young = session.stage_rows(state.schema, "SELECT 3, 'c'").files[0].path
    foreign = data_directory / "silver" / "orders" / "mine.parquet"
    foreign.write_bytes(b"x")
    past = (datetime.now(UTC) - timedelta(days=3)).timestamp()
    for path in (old, foreign):
        os.utime(path, (past, past))
    report = maintain(lake)
    assert (report.removed, report.orphans) == (1, 1)
    assert not Path(old).exists()
    assert Path(young).exists()
    assert foreign.exists()
    with pytest.raises(UsageError, match="may still be writing"):
        maintain(lake, orphan_age=timedelta(hours=1))


def test_a_missing_file_is_reported(writer: Any, lake: Lake) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT 1, 'a'")
    path = lake.files(ORDERS, lake.state().snapshot).files[0].path
    Path(path).unlink()
    assert maintain(lake).missing == (path,)


def test_compaction_does_not_bring_back_statistics(writer: Any, lake: Lake) -> None:
    for name in ("ann@example.org", "bob@example.org"):
        state = lake.state().tables.get(ORDERS)
        planned = state.schema if state else None
        if planned is None:
            writer.append(ORDERS, COLUMNS, "SELECT 1, 'x' WHERE false")
            state = lake.state().tables[ORDERS]
            planned = state.schema
        with lake.session() as session:
            staged = session.stage_rows(planned, f"SELECT 1, '{name}'", no_statistics=frozenset({"name"}))
        lake.commit([TableChange(ORDERS, planned, state.head, added=staged.files)], attempt=uuid.uuid4())
    maintain(lake, rule=ALL)
    connection = lake._metastore.connection
    for table in ("file_column_stats", "table_column_stats"):
        rows = connection.execute(f"SELECT * FROM lake.ducklake_{table}").fetchall()
        assert rows
        assert "example.org" not in str(rows)


def test_the_newest_snapshot_of_long_ago_is_kept_for_those_who_took_it(lake: Lake, writer: Any) -> None:
    """Nothing happened for a month; a reader takes the newest snapshot; a commit and maintenance follow at once."""
    long_ago = writer.append(ORDERS, schema(id="bigint"), "SELECT 1")
    writer.delete(ORDERS, "id = 1")
    lake._metastore.connection.execute(
        "UPDATE lake.ducklake_snapshot SET snapshot_time = snapshot_time - interval '30 days' WHERE snapshot_id <= %s",
        [long_ago],
    )
    lake.maintain(keep=timedelta(days=7), grace=timedelta(days=1), now=datetime.now(UTC))
    with lake.session(long_ago) as session:
        assert session.query(f"SELECT id FROM {session.relation_sql(ORDERS)}") == [(1,)]


def test_a_list_of_files_is_whole_or_refused(lake: Lake, writer: Any) -> None:
    first = writer.append(ORDERS, schema(id="bigint"), "SELECT 1")
    with lake.session(first) as session:
        writer.delete(ORDERS, "id = 1")
        lake.maintain(keep=timedelta(0), grace=timedelta(days=1), now=datetime.now(UTC))
        with pytest.raises(ConflictError, match="was forgotten"):
            session.relation_sql(ORDERS)


def test_a_commit_that_waited_for_days_finds_its_files_gone(lake: Lake, writer: Any) -> None:
    head = writer.append(ORDERS, schema(id="bigint"), "SELECT 1")
    planned = plan_schema(lake.state().tables[ORDERS], ORDERS, schema(id="bigint"))
    with lake.session() as session:
        staged = session.stage_rows(planned, "SELECT 2")
    later = datetime.now(UTC) + timedelta(days=2)
    assert lake.maintain(keep=timedelta(days=7), grace=timedelta(days=1), now=later).orphans == 1
    with pytest.raises(ConflictError, match="waited for its commit too long"):
        writer.commit(TableChange(ORDERS, planned, head, added=staged.files))
    with lake.session() as session:
        assert session.query(f"SELECT id FROM {session.relation_sql(ORDERS)}") == [(1,)]
