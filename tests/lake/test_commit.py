from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

import metalayer
from metalayer.core import failpoints
from metalayer.core.errors import ConflictError, LakeError, MetastoreUnavailableError, UsageError
from metalayer.core.failpoints import Failpoint
from metalayer.core.names import Layer, TableName
from metalayer.core.schema import Column, parse_type, schema
from metalayer.lake import (
    ANY_HEAD,
    CommitKind,
    Lake,
    LakeSettings,
    StagedFiles,
    TableChange,
    TableState,
    ViewChange,
    plan_schema,
)
from metalayer.metastore.postgres import DatabaseSettings, Metastore

ORDERS = TableName(Layer.SILVER, "orders")
OTHERS = TableName(Layer.GOLD, "others")
COLUMNS = schema(id="bigint", name="varchar")
Read = Callable[..., list[tuple[Any, ...]]]


def stage(lake: Lake, table: TableName, select: str) -> StagedFiles:
    state = lake.state().tables.get(table)
    planned = state.schema if state else plan_schema(None, table, COLUMNS)
    with lake.session(reader="files") as session:
        return session.stage_rows(planned, select)


def append(staged: StagedFiles, state: TableState | None = None) -> TableChange:
    return TableChange(staged.schema.table, staged.schema, state.head if state else None, added=staged.files)


@pytest.fixture
def fault() -> Iterator[Callable[[Failpoint, Callable[[], None]], None]]:
    """Let something happen at a failpoint, once."""

    def put(where: Failpoint, what: Callable[[], None]) -> None:
        def hook(reached: Failpoint) -> None:
            if reached is where:
                failpoints.install(None)
                what()

        failpoints.install(hook)

    yield put
    failpoints.install(None)


def test_rows_are_there_after_their_commit_and_not_before(writer: Any, read: Read, lake: Lake) -> None:
    first = writer.append(ORDERS, COLUMNS, "SELECT i, 'n' || i FROM range(3) t(i)")
    second = writer.append(ORDERS, COLUMNS, "SELECT i, 'n' || i FROM range(10, 13) t(i)")
    third = writer.delete(ORDERS, "id IN (1, 11)")
    fourth = writer.delete(ORDERS, "id = 2")
    assert read(ORDERS, first) == [(0, "n0"), (1, "n1"), (2, "n2")]
    assert [row[0] for row in read(ORDERS, second)] == [0, 1, 2, 10, 11, 12]
    assert [row[0] for row in read(ORDERS, third)] == [0, 2, 10, 12]
    assert [row[0] for row in read(ORDERS, fourth)] == [0, 10, 12]
    assert [row[0] for row in read(ORDERS, where="id > 5")] == [10, 12]
    before, after = lake.state(second).tables[ORDERS], lake.state().tables[ORDERS]
    assert (before.rows, before.files, before.head) == (6, 2, second)
    assert (after.rows, after.files, after.head, after.version, after.created) == (3, 2, fourth, fourth, first)
    assert (after.table_id, after.uuid) == (before.table_id, before.uuid)


def test_creating_again_changes_nothing(lake: Lake) -> None:
    before = lake.snapshots()
    lake.create()
    assert lake.snapshots() == before
    assert lake.state().tables == {}


def test_history_says_who_what_and_when(lake: Lake) -> None:
    staged = stage(lake, ORDERS, "SELECT 1, 'a'")
    attempt = uuid.uuid4()
    start = lake.snapshots(1)[0].time
    done = lake.commit([append(staged)], attempt=attempt, author="ann", message="first", extra={"run": "r1"})
    [info] = lake.snapshots(1)
    assert (info.id, info.author, info.message, info.attempt) == (done.snapshot, "ann", "first", attempt)
    assert (info.kind, info.tables, info.extra) == (CommitKind.DATA, (ORDERS,), {"run": "r1"})
    assert lake.snapshot_at(info.time) == info.id
    assert lake.snapshot_at(info.time - timedelta(microseconds=1)) == info.id - 1
    assert lake.snapshot_at(datetime.now(UTC) + timedelta(days=1)) == info.id
    with pytest.raises(UsageError, match="or before is kept"):
        lake.snapshot_at(start - timedelta(days=1))
    with pytest.raises(UsageError, match="no timezone"):
        lake.snapshot_at(datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is refused
    with pytest.raises(UsageError, match="There is no snapshot 99: the newest is 1 of"):
        lake.state(99)


def test_several_tables_and_facts_change_together_or_not_at_all(lake: Lake, read: Read) -> None:
    lake._metastore.connection.execute("CREATE TABLE lake.fact(snapshot bigint)")
    changes = [append(stage(lake, ORDERS, "SELECT 1, 'a'")), append(stage(lake, OTHERS, "SELECT 2, 'b'"))]

    def fact(connection: psycopg.Connection, snapshot: int) -> None:
        connection.execute("INSERT INTO lake.fact VALUES (%s)", [snapshot])

    def refuse(connection: psycopg.Connection, snapshot: int) -> None:
        fact(connection, snapshot)
        raise LakeError("The accounts do not balance.", hint="Look.")

    with pytest.raises(LakeError, match="balance"):
        lake.commit(changes, attempt=uuid.uuid4(), facts=refuse)
    assert lake.state().tables == {}
    done = lake.commit(changes, attempt=uuid.uuid4(), facts=fact)
    assert lake._metastore.connection.execute("SELECT * FROM lake.fact").fetchall() == [(done.snapshot,)]
    assert (read(ORDERS), read(OTHERS)) == ([(1, "a")], [(2, "b")])


def test_a_change_computed_from_another_state_is_a_conflict(lake: Lake, writer: Any, read: Read) -> None:
    staged = stage(lake, ORDERS, "SELECT 1, 'a'")
    writer.commit(append(staged))
    with pytest.raises(ConflictError, match="exists already"):
        writer.commit(append(staged))
    old = lake.state().tables[ORDERS]
    newer = stage(lake, ORDERS, "SELECT 2, 'b'")
    writer.append(ORDERS, COLUMNS, "SELECT 3, 'c'")
    with pytest.raises(ConflictError, match=r"changed by snapshot 2, after 1") as conflict:
        writer.commit(append(newer, old))
    assert conflict.value.transient
    writer.commit(TableChange(ORDERS, newer.schema, ANY_HEAD, added=newer.files))
    assert [row[0] for row in read(ORDERS)] == [1, 2, 3]
    writer.reshape(ORDERS, schema(id="bigint"))
    with pytest.raises(ConflictError, match="columns changed"):
        writer.commit(TableChange(ORDERS, newer.schema, ANY_HEAD, added=newer.files))
    with pytest.raises(ConflictError, match="does not exist"):
        writer.commit(TableChange(OTHERS, newer.schema, 1, added=newer.files))


def test_only_one_of_two_deletes_of_the_same_file_is_committed(lake: Lake, writer: Any, read: Read) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT i, 'n' FROM range(4) t(i)")
    state = lake.state().tables[ORDERS]
    changes = []
    with lake.session() as session:
        for number in (1, 2):
            places = f"SELECT __file, __row FROM {session.positions_sql(ORDERS)} WHERE id = {number}"
            changes.append(TableChange(ORDERS, state.schema, state.head, deleted=session.stage_deletes(ORDERS, places)))
    writer.commit(changes[0])
    with pytest.raises(ConflictError):
        writer.commit(changes[1])
    assert [row[0] for row in read(ORDERS)] == [0, 2, 3]


def test_a_replaced_table_is_another_one_and_a_dropped_one_is_gone(lake: Lake, writer: Any, read: Read) -> None:
    first = writer.append(ORDERS, COLUMNS, "SELECT 1, 'a'")
    state = lake.state().tables[ORDERS]
    planned = plan_schema(None, ORDERS, schema(name="integer"))
    with lake.session() as session:
        staged = session.stage_rows(planned, "SELECT 7")
    writer.commit(TableChange(ORDERS, planned, state.head, added=staged.files, replace=True))
    new = lake.state().tables[ORDERS]
    assert new.table_id != state.table_id
    assert (new.rows, new.head, new.created) == (1, 2, 2)
    assert read(ORDERS) == [(7,)]
    assert read(ORDERS, first) == [(1, "a")]
    dropped = writer.commit(TableChange(ORDERS, planned, new.head, drop=True))
    assert lake.state().tables == {}
    with pytest.raises(LakeError, match=rf"no table silver\.orders at snapshot {dropped}"):
        read(ORDERS)
    assert read(ORDERS, first) == [(1, "a")]


def test_changes_that_cannot_be_are_refused(lake: Lake, writer: Any) -> None:
    staged = stage(lake, ORDERS, "SELECT 1, NULL")
    with pytest.raises(LakeError, match="more than once"):
        writer.commit(append(staged), append(staged))
    strict = plan_schema(None, ORDERS, (COLUMNS[0], Column("name", parse_type("varchar"), nullable=False)))
    with pytest.raises(LakeError, match=r'Column "name" of silver\.orders may not be NULL, and 1 new rows are'):
        writer.commit(TableChange(ORDERS, strict, None, added=staged.files))


def test_an_attempt_is_committed_once_and_looked_up(lake: Lake, read: Read) -> None:
    attempt = uuid.uuid4()
    staged = stage(lake, ORDERS, "SELECT 1, 'a'")
    assert lake.outcome(attempt) is None
    done = lake.commit([append(staged)], attempt=attempt)
    assert lake.outcome(attempt) == done
    state = lake.state().tables[ORDERS]
    more = stage(lake, ORDERS, "SELECT 2, 'b'")
    assert lake.commit([append(more, state)], attempt=attempt) == done
    assert read(ORDERS) == [(1, "a")]


def test_a_lost_answer_is_looked_up(lake: Lake, read: Read, metastore: Metastore) -> None:
    """The connection dies with the COMMIT: once after PostgreSQL did it, once before it."""
    staged = stage(lake, ORDERS, "SELECT 1, 'a'")

    class Losing:
        """A metastore that loses the answer to the first COMMIT and then answers again."""

        conninfo = metastore.conninfo
        connect = metastore.connect

        def __init__(self, *, done: bool) -> None:
            self.done = done
            self.connection = metastore.connect()

        def transaction(self) -> Any:
            return metastore.transaction() if self.connection.closed else self

        def __enter__(self) -> psycopg.Connection:
            self.connection.execute("BEGIN")
            return self.connection

        def __exit__(self, *_: object) -> None:
            if self.done:
                self.connection.execute("COMMIT")
            self.connection.close()
            raise MetastoreUnavailableError("The connection was lost.", hint="Try again.")

    with pytest.raises(MetastoreUnavailableError):
        Lake(Losing(done=False), lake.settings).commit([append(staged)], attempt=uuid.uuid4())  # type: ignore[arg-type]
    assert lake.state().tables == {}
    attempt = uuid.uuid4()
    done = Lake(Losing(done=True), lake.settings).commit([append(staged)], attempt=attempt)  # type: ignore[arg-type]
    assert done == lake.outcome(attempt)
    assert read(ORDERS) == [(1, "a")]
    assert Path(staged.files[0].path).exists()


def test_a_server_that_cuts_the_connection_commits_nothing(lake: Lake, metastore: Metastore, fault: Any) -> None:
    staged = stage(lake, ORDERS, "SELECT 1, 'a'")
    backend = metastore.connection.info.backend_pid

    def cut() -> None:
        with metastore.connect() as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])

    fault(Failpoint.COMMIT_AFTER_FACTS, cut)
    attempt = uuid.uuid4()
    with pytest.raises(MetastoreUnavailableError):
        lake.commit([append(staged)], attempt=attempt)
    with metastore.connect() as other:
        row = other.execute("SELECT count(*) FROM lake.metalayer_commit WHERE attempt = %s", [attempt]).fetchone()
    assert row == (0,)
    assert Path(staged.files[0].path).exists()


def test_commits_from_many_connections_come_one_after_the_other(
    lake: Lake, read: Read, database_settings: DatabaseSettings, writer: Any
) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT 0, 'start'")
    each, threads = 5, 4
    conflicts: list[int] = []

    def work(number: int) -> None:
        with Metastore.open(database_settings) as metastore:
            mine = Lake(metastore, lake.settings)
            for turn in range(each):
                staged = stage(mine, ORDERS, f"SELECT {number * 100 + turn}, 'x'")
                if turn % 2:
                    mine.commit(
                        [TableChange(ORDERS, staged.schema, ANY_HEAD, added=staged.files)], attempt=uuid.uuid4()
                    )
                    continue
                while True:
                    try:
                        mine.commit([append(staged, mine.state().tables[ORDERS])], attempt=uuid.uuid4())
                        break
                    except ConflictError:
                        conflicts.append(1)

    workers = [threading.Thread(target=work, args=[number]) for number in range(1, threads + 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [row[0] for row in read(ORDERS)] == [0] + [n * 100 + t for n in range(1, threads + 1) for t in range(each)]
    ids = [info.id for info in lake.snapshots()]
    assert ids == list(range(ids[0], -1, -1))
    times = [info.time for info in lake.snapshots()]
    assert times == sorted(times, reverse=True)
    files = lake.files(ORDERS, ids[0]).files
    starts = sorted((file.row_id_start, file.rows) for file in files)
    assert all(one[0] + one[1] == two[0] for one, two in itertools.pairwise(starts))


KILLED = """
import os, signal, sys, uuid
from metalayer.core import failpoints
from metalayer.core.failpoints import Failpoint
from metalayer.core.names import Layer, TableName
from metalayer.lake import ANY_HEAD, Lake, LakeSettings, TableChange
from metalayer.metastore.postgres import DatabaseSettings, Metastore

url, data, where = sys.argv[1:]
orders = TableName(Layer.SILVER, "orders")
with Metastore.open(DatabaseSettings(url=url, directory=data)) as metastore:
    lake = Lake(metastore, LakeSettings(data=data))
    state = lake.state().tables[orders]
    failpoints.install(lambda reached: os.kill(os.getpid(), signal.SIGKILL) if reached == where else None)
    with lake.session(reader="files") as session:
        staged = session.stage_rows(state.schema, "SELECT 1, 'killed'")
    lake.commit([TableChange(orders, state.schema, ANY_HEAD, added=staged.files)], attempt=uuid.uuid4())
"""


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        (Failpoint.LAKE_AFTER_FILE, 0),
        (Failpoint.COMMIT_BEFORE_BEGIN, 0),
        (Failpoint.COMMIT_AFTER_LOCK, 0),
        (Failpoint.COMMIT_AFTER_CATALOG, 0),
        (Failpoint.COMMIT_AFTER_FACTS, 0),
        (Failpoint.COMMIT_AFTER_COMMIT, 1),
    ],
)
def test_a_process_that_is_killed_leaves_all_or_nothing(
    lake: Lake, writer: Any, database_settings: DatabaseSettings, where: Failpoint, rows: int
) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT 0, 'start' WHERE false")
    script = [
        sys.executable,
        "-c",
        KILLED,
        str(database_settings.url),
        lake.settings.data,
        where.value,
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(metalayer.__file__).parent.parent)}
    killed = subprocess.run(script, check=False, capture_output=True, text=True, env=environment)
    assert killed.returncode == -9, killed.stderr
    assert lake.state().tables[ORDERS].rows == rows
    writer.append(ORDERS, COLUMNS, "SELECT 2, 'after'")
    with lake.session(reader="files") as session:
        assert session.query(f"SELECT count(*) FROM {session.relation_sql(ORDERS)}") == [(rows + 1,)]


def test_a_relative_directory_and_a_database_without_a_lake_are_refused(metastore: Metastore, tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="not absolute"):
        Lake(metastore, LakeSettings(data="lake"))
    with pytest.raises(LakeError, match="no lake yet"):
        Lake(metastore, LakeSettings(data=str(tmp_path))).state()


def test_a_catalog_of_another_format_is_refused(lake: Lake, metastore: Metastore) -> None:
    metastore.connection.execute("UPDATE lake.ducklake_metadata SET value = '2.0' WHERE key = 'version'")
    with pytest.raises(LakeError, match=r"format 2\.0"):
        lake.create()


def test_a_view_that_is_not_there_is_not_removed(lake: Lake) -> None:
    done = lake.commit([ViewChange(ORDERS.current, None)], attempt=uuid.uuid4())
    assert done.snapshot == 1
    assert lake.state().views == {}
