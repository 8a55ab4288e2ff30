"""The catalog is DuckLake's: its own extension accepts it, would have written the same, and can go on after us."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from lake.model import NESTED, SAMPLES
from metalayer.core.names import Layer, TableName, literal, quote
from metalayer.core.schema import Column, Schema, parse_type, schema
from metalayer.lake import Lake, TableChange, ViewChange, engine, outside_sql, plan_schema

ORDERS = TableName(Layer.SILVER, "orders")


@pytest.fixture
def outside(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckLake's extension, attached to our catalog by hand and free to write."""
    connection = engine.start(lake.settings)
    for extension in ("ducklake", "postgres_scanner"):
        engine.load(connection, extension)
    target = literal(f"ducklake:postgres:{lake._metastore.conninfo}")
    connection.execute(f"ATTACH {target} AS outside (METADATA_SCHEMA 'lake', DATA_INLINING_ROW_LIMIT 0)")
    yield connection
    connection.close()


def typed() -> tuple[Schema, str]:
    """Return a column of each type that both write alike, and a SELECT of rows with all sample values."""
    types = [name for name in SAMPLES if name not in {"hugeint", "uhugeint", "real"}]
    longest = max(len(SAMPLES[name]) for name in types)
    rows = []
    for number in range(longest + 1):
        values = [
            f"CAST({SAMPLES[name][number] if number < len(SAMPLES[name]) else 'NULL'} AS {name})" for name in types
        ]
        rows.append(f"SELECT {', '.join(values)}".replace("'a' || chr(0) || 'b'", "'ab'"))
    columns = tuple(Column(f"of {name}", parse_type(name)) for name in types)
    return columns, " UNION ALL ".join(rows)


def statistics(lake: Lake, table: str) -> list[tuple[Any, ...]]:
    query = """SELECT c.column_name, value_count, null_count, s.min_value, s.max_value, s.contains_nan, x.contains_null,
            x.contains_nan, x.min_value, x.max_value
        FROM lake.ducklake_table t JOIN lake.ducklake_column c USING (table_id)
        LEFT JOIN lake.ducklake_file_column_stats s USING (table_id, column_id)
        LEFT JOIN lake.ducklake_table_column_stats x USING (table_id, column_id)
        WHERE t.table_name = %s ORDER BY c.column_order"""
    return lake._metastore.connection.execute(query, [table]).fetchall()


def test_statistics_are_those_the_extension_writes(writer: Any, lake: Lake, outside: duckdb.DuckDBPyConnection) -> None:
    columns, select = typed()
    writer.append(ORDERS, columns, select)
    listed = ", ".join(f"{quote(column.name)} {column.type}" for column in columns)
    outside.execute(f"CREATE TABLE outside.silver.theirs({listed})")
    outside.execute(f"INSERT INTO outside.silver.theirs {select}")
    ours, theirs = statistics(lake, "orders"), statistics(lake, "theirs")
    assert len(ours) == len(columns)
    assert ours == theirs


def test_reals_are_found_though_the_extension_misses_its_own(
    writer: Any, lake: Lake, outside: duckdb.DuckDBPyConnection
) -> None:
    for value in ("1e30", "3.4e38", "1e-40", "0.1", "-0.0"):
        writer.append(ORDERS, schema(id="varchar", r="real"), f"SELECT '{value}', {value}")
    for value in ("1e30", "3.4e38", "1e-40", "0.1", "-0.0"):
        where = f"r = {value}::REAL AND r BETWEEN {value}::REAL AND {value}::REAL"
        found = outside.execute(f"SELECT id FROM outside.silver.orders WHERE {where}").fetchall()
        assert found == [(value,)]
    assert lake.state().tables[ORDERS].rows == 5


def test_columns_are_those_the_extension_writes(writer: Any, lake: Lake, outside: duckdb.DuckDBPyConnection) -> None:
    columns = tuple(
        Column(f"c{number}", parse_type(name), nullable=number != 3) for number, name in enumerate([*SAMPLES, *NESTED])
    )
    writer.append(ORDERS, columns, f"SELECT {', '.join('NULL' for _ in columns)} WHERE false")
    listed = ", ".join(
        f"{quote(column.name)} {column.type}{'' if column.nullable else ' NOT NULL'}" for column in columns
    )
    outside.execute(f"CREATE TABLE outside.silver.theirs({listed})")
    query = """SELECT column_id, column_order, column_name, column_type, initial_default, default_value, nulls_allowed,
            parent_column, default_value_type, default_value_dialect
        FROM lake.ducklake_table t JOIN lake.ducklake_column c USING (table_id)
        WHERE t.table_name = %s ORDER BY column_order"""
    connection = lake._metastore.connection
    ours, theirs = (connection.execute(query, [name]).fetchall() for name in ("orders", "theirs"))
    assert ours == theirs


def test_the_extension_goes_on_after_us_and_we_after_it(
    writer: Any, lake: Lake, outside: duckdb.DuckDBPyConnection
) -> None:
    columns = schema(id="bigint", name="varchar")
    writer.append(ORDERS, columns, "SELECT i, 'n' || i FROM range(5) t(i)")
    writer.delete(ORDERS, "id = 1")
    outside.execute("INSERT INTO outside.silver.orders VALUES (10, 'theirs')")
    outside.execute("DELETE FROM outside.silver.orders WHERE id IN (2, 10)")
    outside.execute("ALTER TABLE outside.silver.orders ADD COLUMN more INTEGER DEFAULT 7")
    state = lake.state().tables[ORDERS]
    assert state.schema.names == ("id", "name", "more")
    with lake.session(reader="files") as session:
        rows = session.query(f"SELECT * FROM {session.relation_sql(ORDERS)} ORDER BY id")
        staged = session.stage_rows(state.schema, "SELECT 20, 'ours', 1")
    assert rows == [(0, "n0", 7), (3, "n3", 7), (4, "n4", 7)]
    writer.commit(TableChange(ORDERS, state.schema, state.head, added=staged.files))
    assert outside.execute("FROM outside.silver.orders ORDER BY id").fetchall() == [*rows, (20, "ours", 1)]
    outside.execute("DELETE FROM outside.silver.orders WHERE id IN (0, 20)")
    with lake.session(reader="files") as session:
        assert session.query(f"FROM {session.relation_sql(ORDERS)} ORDER BY id") == rows[1:]


def test_the_extension_tells_our_history(writer: Any, outside: duckdb.DuckDBPyConnection) -> None:
    columns = schema(id="bigint", name="varchar")
    first = writer.append(ORDERS, columns, "SELECT i, 'n' || i FROM range(5) t(i)")
    writer.delete(ORDERS, "id = 1")
    renamed = writer.reshape(ORDERS, schema(id="bigint", called="varchar"), {"name": "called"})
    told = outside.execute("SELECT snapshot_id, author, commit_message, changes FROM ducklake_snapshots('outside')")
    history = {row[0]: row[1:] for row in told.fetchall()}
    assert history[first] == ("test", "a test", {"tables_created": ["silver.orders"], "tables_inserted_into": ["4"]})
    assert history[renamed][2] == {"tables_altered": ["4"]}
    [info] = outside.execute("FROM ducklake_table_info('outside')").fetchall()
    assert info[0] == "orders"
    changes = f"ducklake_table_changes('outside', 'silver', 'orders', {first}, {renamed})"
    kinds = outside.execute(f"SELECT change_type, count(*) FROM {changes} GROUP BY 1 ORDER BY 1").fetchall()
    assert kinds == [("delete", 1), ("insert", 5)]


def test_comments_and_views_are_seen_outside(lake: Lake, outside: duckdb.DuckDBPyConnection) -> None:
    planned = plan_schema(None, ORDERS, schema(id="bigint", name="varchar"))
    with lake.session() as session:
        staged = session.stage_rows(planned, "SELECT 1, 'a' UNION ALL SELECT 2, 'b'")
    change = TableChange(
        ORDERS, planned, None, added=staged.files, description="it's orders", column_words={"id": "a number"}
    )
    view = ViewChange(ORDERS.current, f"SELECT * FROM {outside_sql(ORDERS)} WHERE id > 1")
    done = lake.commit([change, view], attempt=uuid.uuid4())
    assert outside.execute("FROM outside.silver.orders__current").fetchall() == [(2, "b")]
    tables = "SELECT comment FROM duckdb_tables() WHERE database_name = 'outside' AND table_name = 'orders'"
    assert outside.execute(tables).fetchall() == [("it's orders",)]
    columns = "SELECT comment FROM duckdb_columns() WHERE database_name = 'outside' AND table_name = 'orders'"
    assert sorted(outside.execute(columns).fetchall(), key=str) == [("a number",), (None,)]
    assert lake.state().views == {ORDERS.current: view.sql}
    assert lake.state().tables[ORDERS].description == "it's orders"
    again = lake.commit([view], attempt=uuid.uuid4())
    changed = lake.commit(
        [ViewChange(ORDERS.current, f"SELECT 1 AS one FROM {outside_sql(ORDERS)}")], attempt=uuid.uuid4()
    )
    assert outside.execute("FROM outside.silver.orders__current").fetchall() == [(1,), (1,)]
    lake.commit([ViewChange(ORDERS.current, None)], attempt=uuid.uuid4())
    assert lake.state().views == {}
    assert lake.state(changed.snapshot).views.keys() == {ORDERS.current}
    assert done.snapshot < again.snapshot < changed.snapshot
    with pytest.raises(duckdb.CatalogException):
        outside.execute("FROM outside.silver.orders__current")
