from __future__ import annotations

import importlib.util
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from metalayer.core.errors import LakeError
from metalayer.core.names import Layer, TableName
from metalayer.core.schema import schema
from metalayer.lake import Lake, LakeSettings, TableChange, plan_schema, staged_positions_sql

ORDERS = TableName(Layer.SILVER, "orders")
OTHERS = TableName(Layer.GOLD, "others")
COLUMNS = schema(id="bigint", name="varchar")
Read = Callable[..., list[tuple[Any, ...]]]


def test_staged_rows_are_read_before_and_without_a_commit(lake: Lake) -> None:
    planned = plan_schema(None, ORDERS, COLUMNS)
    with lake.session() as session:
        staged = session.stage_rows(planned, "SELECT i, i::varchar FROM range(5) t(i)")
        assert (staged.rows, len(staged)) == (5, 1)
        assert staged.bytes == sum(Path(file.path).stat().st_size for file in staged)
        assert session.query(f"SELECT count(*), max(name) FROM {staged.sql}") == [(5, "4")]
        positions = session.query(f"SELECT id, __file, __row FROM {staged_positions_sql(staged)} ORDER BY id")
        assert positions == [(i, 0, i) for i in range(5)]
    assert lake.state().tables == {}


def test_no_rows_make_no_file(lake: Lake, data_directory: Path) -> None:
    planned = plan_schema(None, ORDERS, COLUMNS)
    with lake.session() as session:
        staged = session.stage_rows(planned, "SELECT 1, 'a' WHERE false")
        assert (staged.files, staged.rows) == ((), 0)
        assert session.query(f"FROM {staged.sql}") == []
    assert list(data_directory.rglob("*.parquet")) == []


@pytest.mark.parametrize("reader", ["extension", "files"])
def test_a_table_without_files_is_read(lake: Lake, writer: Any, reader: Any) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT 1, 'a' WHERE false")
    with lake.session(reader=reader) as session:
        assert session.query(f"SELECT count(*), count(id) FROM {session.relation_sql(ORDERS)}") == [(0, 0)]
        assert session.query(f"FROM {session.positions_sql(ORDERS)}") == []
        assert session.describe(f"SELECT * FROM {session.relation_sql(ORDERS)}") == COLUMNS


def test_large_results_become_several_files(lake: Lake, writer: Any, read: Read) -> None:
    small = Lake(lake._metastore, replace(lake.settings, file_bytes=100_000))
    planned = plan_schema(None, ORDERS, COLUMNS)
    with small.session() as session:
        staged = session.stage_rows(planned, "SELECT i, md5(i::varchar) FROM range(500000) t(i)")
    assert len(staged) > 1
    assert staged.rows == 500_000
    writer.commit(TableChange(ORDERS, planned, None, added=staged.files))
    assert read(ORDERS, select="count(*), count(DISTINCT id), sum(id)") == [(500_000, 500_000, 124_999_750_000)]
    assert read(ORDERS, where="id = 499999", select="id") == [(499_999,)]


def test_values_are_cast_to_the_columns_and_what_does_not_fit_is_refused(lake: Lake) -> None:
    planned = plan_schema(None, ORDERS, schema(a="decimal(4,1)", b="date", c="json", big="hugeint"))
    with lake.session() as session:
        staged = session.stage_rows(planned, "SELECT '1.25', '2020-01-02', '[1]', '9' || repeat('0', 37)")
        rows = session.query(f"SELECT a::varchar, b::varchar, c, big FROM {staged.sql}")
        assert rows == [("1.3", "2020-01-02", "[1]", 9 * 10**37)]
        with pytest.raises(LakeError, match="does not fit its type"):
            session.stage_rows(planned, "SELECT 'x', '2020-01-02', '[1]', 1")
        with pytest.raises(LakeError, match="does not fit its type"):
            session.stage_rows(planned, "SELECT 1, '2020-01-02', '[1]', 170141183460469231731687303715884105727")


def test_deletes_name_places_of_the_pinned_table_once(lake: Lake, writer: Any) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT i, 'n' FROM range(10) t(i)")
    writer.append(ORDERS, COLUMNS, "SELECT i, 'n' FROM range(10, 20) t(i)")
    writer.delete(ORDERS, "id IN (1, 11)")
    with lake.session() as session:
        places = f"SELECT __file, __row FROM {session.positions_sql(ORDERS)} WHERE id IN (2, 3)"
        [deletes] = session.stage_deletes(ORDERS, f"{places} UNION ALL {places}")
        assert (deletes.rows, deletes.removed) == (3, 2)
        assert deletes.replaces is not None
        assert session.stage_deletes(ORDERS, f"{places} AND false") == ()
        with pytest.raises(LakeError, match="removed already"):
            session.stage_deletes(ORDERS, f"SELECT {deletes.data_file}, 1")
        with pytest.raises(LakeError, match="the file 999"):
            session.stage_deletes(ORDERS, "SELECT 999, 0")


def test_places_are_right_whatever_filters_them(lake: Lake, writer: Any) -> None:
    for start in range(0, 40, 10):
        writer.append(ORDERS, COLUMNS, f"SELECT i, 'n' FROM range({start}, {start + 10}) t(i)")
    writer.delete(ORDERS, "id IN (0, 31)")
    with lake.session() as session:
        source = session.positions_sql(ORDERS)
        places = {row[0]: row[1:] for row in session.query(f"SELECT id, __file, __row FROM {source}")}
        assert {row for _, row in places.values()} == set(range(10))
        assert len({file for file, _ in places.values()}) == 4
        for number in (1, 15, 39):
            file, row = places[number]
            for where in (
                f"__file = {file} AND __row = {row}",
                f"id = {number}",
                f"__file = {file} AND id > {number - 1}",
            ):
                found = session.query(f"SELECT id, __file, __row FROM {source} WHERE {where} ORDER BY id LIMIT 1")
                assert found == [(number, file, row)], where


def test_an_overlay_shows_what_is_staged_to_the_session_and_its_cursors(lake: Lake, writer: Any) -> None:
    before = writer.append(ORDERS, COLUMNS, "SELECT i, 'n' || i FROM range(3) t(i)")
    state = lake.state().tables[ORDERS]
    planned = plan_schema(state, ORDERS, schema(name="varchar", id="hugeint", more="date"))
    with lake.session() as session:
        sibling = session.cursor()
        places = f"SELECT __file, __row FROM {session.positions_sql(ORDERS)} WHERE id = 1"
        change = TableChange(
            ORDERS,
            planned,
            state.head,
            added=session.stage_rows(planned, "SELECT 'new', 9, DATE '2020-01-02'").files,
            deleted=session.stage_deletes(ORDERS, places),
        )
        session.overlay(change)
        assert session.is_staged(ORDERS)
        for one in (session, sibling):
            rows = one.query(f"SELECT name, id, more::varchar FROM {one.relation_sql(ORDERS)} ORDER BY id")
            assert rows == [("n0", 0, None), ("n2", 2, None), ("new", 9, "2020-01-02")]
        assert session.query(f"SELECT count(*) FROM {session.positions_sql(ORDERS)}") == [(3,)]
        with pytest.raises(LakeError, match=r"no table gold\.others"):
            session.relation_sql(OTHERS)
        new = plan_schema(None, OTHERS, COLUMNS)
        session.overlay(TableChange(OTHERS, new, None, added=session.stage_rows(new, "SELECT 1, 'x'").files))
        assert sibling.query(f"FROM {sibling.relation_sql(OTHERS)}") == [(1, "x")]
        session.overlay(TableChange(ORDERS, state.schema, state.head, drop=True))
        with pytest.raises(LakeError, match="dropped"):
            session.relation_sql(ORDERS)
        session.overlay(TableChange(ORDERS, new, state.head, replace=True))
        assert session.query(f"FROM {session.relation_sql(ORDERS)}") == []
    assert lake.state().snapshot == before


def test_cursors_work_in_parallel(lake: Lake, writer: Any) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT i, 'n' || i FROM range(10000) t(i)")
    counts: list[int] = []
    with lake.session(reader="extension") as session:
        siblings = [session.cursor() for _ in range(4)]

        def work(sibling: Any) -> None:
            planned = plan_schema(None, OTHERS, COLUMNS)
            staged = sibling.stage_rows(planned, f"SELECT * FROM {sibling.relation_sql(ORDERS)} WHERE id % 2 = 0")
            counts.append(staged.rows)

        threads = [threading.Thread(target=work, args=[sibling]) for sibling in siblings]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert counts == [5000] * 4


def test_an_open_session_reads_its_snapshot_whatever_is_committed(lake: Lake, writer: Any) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT 1, 'a'")
    with lake.session(reader="extension") as one, lake.session(reader="files") as two:
        writer.append(ORDERS, COLUMNS, "SELECT 2, 'b'")
        writer.delete(ORDERS, "id = 1")
        for session in (one, two):
            assert session.query(f"FROM {session.relation_sql(ORDERS)}") == [(1, "a")]


def test_rows_are_fetched_as_they_are_taken(lake: Lake) -> None:
    with lake.session() as session:
        names, rows = session.fetch("SELECT i AS number, i::varchar AS text FROM range(5000) t(i) WHERE i >= ?", [10])
        assert names == ("number", "text")
        assert next(rows) == (10, "10")
        assert session.query("SELECT 1") == [(1,)]
        assert len(list(rows)) == 4989
        assert session.arrow("SELECT 1 AS a").to_pylist() == [{"a": 1}]


def test_python_values_are_registered_and_tables_are_relations(lake: Lake, writer: Any) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT i, 'n' || i FROM range(3) t(i)")
    with lake.session() as session:
        session.register("from arrow", pa.table({"id": [7], "name": ["x"]}))
        orders = session.relation(ORDERS)
        assert isinstance(orders, duckdb.DuckDBPyRelation)
        session.register("filtered", orders.filter("id > 0"))
        assert len(session.relation("filtered").fetchall()) == 2
        planned = plan_schema(None, OTHERS, COLUMNS)
        staged = session.stage_rows(planned, 'SELECT * FROM "from arrow" UNION ALL SELECT * FROM filtered')
        assert staged.rows == 3


def test_a_lake_that_was_moved_stays_readable(lake: Lake, writer: Any, tmp_path: Path) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT i, 'n' || i FROM range(3) t(i)")
    writer.delete(ORDERS, "id = 1")
    place = tmp_path / "elsewhere"
    Path(lake.settings.data).rename(place)
    moved = Lake(lake._metastore, LakeSettings(data=str(place)))
    moved.create()
    for reader in ("extension", "files"):
        with moved.session(reader=reader) as session:  # type: ignore[arg-type]
            assert session.query(f"SELECT id FROM {session.relation_sql(ORDERS)} ORDER BY id") == [(0,), (2,)]


def test_no_password_is_shown_when_the_catalog_cannot_be_attached(lake: Lake, writer: Any) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT 1, 'a'")

    class Elsewhere:
        connection = lake._metastore.connection
        conninfo = "host=/nowhere user=me password=hidden connect_timeout=1"

    session = Lake(Elsewhere(), lake.settings).session(reader="extension")  # type: ignore[arg-type]
    with pytest.raises(LakeError, match="cannot attach") as raised:
        session.relation_sql(ORDERS)
    assert "hidden" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_nothing_is_written_outside_the_lake(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    before = set(tmp_path.iterdir())
    with lake.session(reader="extension") as session:
        session.stage_rows(plan_schema(None, ORDERS, COLUMNS), "SELECT 1, 'a'")
    assert set(tmp_path.iterdir()) - before == set()


@pytest.fixture
def encrypted(lake: Lake) -> Lake:
    """A lake that writes encrypted files; where the secure writer is not installed, the engine's own one must do."""
    encrypted = Lake(lake._metastore, replace(lake.settings, encrypted=True))
    encrypted.create()
    return encrypted


def test_encrypted_files_are_read_by_both_readers_and_by_nobody_else(encrypted: Lake) -> None:
    planned = plan_schema(None, ORDERS, COLUMNS)
    with encrypted.session() as session:
        session.query("SET force_mbedtls_unsafe = true")
        first = session.stage_rows(planned, "SELECT i, 'secret' || i FROM range(3) t(i)")
        assert session.query(f"SELECT count(*) FROM {first.sql}") == [(3,)]
        second = session.stage_rows(planned, "SELECT i, 'secret' || i FROM range(3, 6) t(i)")
    change = TableChange(ORDERS, planned, None, added=(*first.files, *second.files))
    committed = encrypted.commit([change], attempt=uuid.uuid4())
    with encrypted.session() as session:
        session.query("SET force_mbedtls_unsafe = true")
        places = f"SELECT __file, __row FROM {session.positions_sql(ORDERS)} WHERE id IN (1, 4)"
        deletes = session.stage_deletes(ORDERS, places)
    encrypted.commit([TableChange(ORDERS, planned, committed.snapshot, deleted=deletes)], attempt=uuid.uuid4())
    for reader in ("extension", "files"):
        with encrypted.session(reader=reader) as session:  # type: ignore[arg-type]
            rows = session.query(f"SELECT id FROM {session.relation_sql(ORDERS)} WHERE name > 'a' ORDER BY id")
            assert rows == [(0,), (2,), (3,), (5,)]
    paths = list((Path(encrypted.settings.data) / "silver").rglob("*.parquet"))
    assert len(paths) == 4
    assert all(b"secret" not in path.read_bytes() for path in paths)
    keys = {file.key for file in (*first.files, *second.files)} | {delete.key for delete in deletes}
    assert len(keys) == 4
    with pytest.raises(LakeError, match="are encrypted, and the environment says otherwise"):
        Lake(encrypted._metastore, replace(encrypted.settings, encrypted=False)).create()


def test_encrypting_asks_for_the_secure_writer(encrypted: Lake) -> None:
    planned = plan_schema(None, ORDERS, COLUMNS)
    with encrypted.session() as session:
        if importlib.util.find_spec("duckdb_extension_httpfs"):
            assert session.stage_rows(planned, "SELECT 1, 'a'").rows == 1
            return
        with pytest.raises(LakeError) as raised:
            session.stage_rows(planned, "SELECT 1, 'a'")
        assert "pip install duckdb-extension-httpfs" in raised.value.hint


def test_binary_values_are_found_where_there_are_few_different_ones(writer: Any, read: Read) -> None:
    """The engine's own Bloom filters of binary columns do not find what is not ASCII, so none are written for them."""
    columns = schema(id="bigint", raw="blob")
    writer.append(ORDERS, columns, "SELECT i, '\\x00\\xFF'::BLOB FROM range(10000) t(i)")
    assert len(read(ORDERS, where="raw = '\\x00\\xFF'::BLOB")) == 10000
