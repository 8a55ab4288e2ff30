"""The one door for reads: what may pass, what may not, and how each name is read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metalayer.core.errors import AccessError, BuildError, Location, UsageError
from metalayer.core.model import Ingest, Kind, Model, SqlQuery
from metalayer.core.names import TableName
from metalayer.core.project import Project
from metalayer.core.schema import schema
from metalayer.core.sql import SqlSyntaxError
from metalayer.governance.access import OWNER, Reader, secure
from metalayer.governance.relations import Relations

ORDERS, CLEAN, BIG, NEVER = map(TableName.parse, ("bronze.orders", "silver.orders", "silver.big", "gold.never"))


def model(name: TableName, text: str, kind: Kind = Kind.FULL) -> Model:
    return Model(name, kind, SqlQuery(text), Location(f"{name}.sql"))


def relations(**superseded: tuple[tuple[str, str], ...]) -> Relations:
    source = Model(ORDERS, Kind.APPEND, Ingest("csv", None), Location("bronze/orders.yml"), columns=schema(id="bigint"))
    models = [
        source,
        model(CLEAN, "SELECT id FROM bronze.orders__current"),
        model(BIG, "SELECT id FROM silver.orders WHERE id > 5", Kind.VIEW),
        model(NEVER, "SELECT id FROM silver.big"),
    ]
    project = Project("shop", "/shop", {item.name: item for item in models}, {})
    stored = {CLEAN: schema(id="bigint")}
    return Relations(
        project,
        "dev",
        {TableName.parse(name.replace("__", ".")): pairs for name, pairs in superseded.items()},
        lambda name: f'lake."{name.name}"' if name in stored else None,
        stored,
    )


def read(text: str, reader: Reader = OWNER) -> str:
    return secure(text, reader, relations(), known=("silver.orders",))


def test_a_table_is_read_where_it_lies() -> None:
    assert read("SELECT id FROM silver.orders") == 'SELECT id FROM lake."orders" AS "orders"'


def test_a_view_is_read_through() -> None:
    assert read("SELECT id FROM silver.big") == (
        'SELECT id FROM (SELECT id FROM lake."orders" AS "orders" WHERE id > 5) AS "big"'
    )


def test_a_source_without_rows_yields_none() -> None:
    assert 'CAST(NULL AS bigint) AS "id"' in read("SELECT id FROM bronze.orders")
    assert "WHERE false" in read("SELECT id FROM bronze.orders")
    assert '"reason"' in read("SELECT reason FROM bronze.orders__rejects")


def test_a_quarantine_without_rows_has_the_tables_columns() -> None:
    text = read("SELECT * FROM silver.orders__quarantine")
    assert 'CAST(NULL AS bigint) AS "id"' in text
    assert 'CAST(NULL AS varchar[]) AS "_failed"' in text


def test_superseded_batches_leave_the_current_rows() -> None:
    found = relations(bronze__orders=(("a'b.csv", "b-1"),))
    assert "NOT IN (VALUES ('a''b.csv', 'b-1'))" in secure("FROM bronze.orders__current", OWNER, found)


def test_the_latest_row_of_a_key_wins() -> None:
    found = relations()
    keyed = replace(found.project.models[ORDERS], key=("id",), order_by=("at",))
    found = replace(found, project=replace(found.project, models={**found.project.models, ORDERS: keyed}))
    assert (
        'PARTITION BY "id" ORDER BY "at" DESC NULLS LAST, "_ingested_at" DESC NULLS LAST, "_batch_id" DESC NULLS LAST, '
        '"_position" DESC NULLS LAST'
    ) in secure("FROM bronze.orders__current", OWNER, found)


def test_what_was_never_built_says_how_to_build_it() -> None:
    with pytest.raises(BuildError) as error:
        read("SELECT * FROM gold.never")
    assert error.value.hint == "Build it first: metalayer run -s gold.never"


def test_an_unknown_table_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError) as error:
        read("SELECT * FROM silver.order")
    assert "Did you mean 'silver.orders'?" in error.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM orders",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM silver.orders, glob('*')",
        "SELECT (SELECT max(content) FROM read_text('x'))",
        "WITH x AS (SELECT * FROM read_parquet('x')) SELECT * FROM x",
    ],
)
def test_nothing_but_declared_tables_is_read(text: str) -> None:
    with pytest.raises(AccessError):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM silver.orders",
        "SELECT 1; SELECT 2",
        "COPY silver.orders TO 'x'",
        "ATTACH 'x'",
        "SET threads = 1",
        "",
    ],
)
def test_nothing_but_one_select_passes(text: str) -> None:
    with pytest.raises(SqlSyntaxError):
        read(text)


def test_series_of_numbers_are_no_tables() -> None:
    assert "range(3)" in read("SELECT * FROM range(3)")


def test_a_person_without_policies_reads_nothing() -> None:
    with pytest.raises(AccessError):
        read("SELECT 1", Reader("ana"))
