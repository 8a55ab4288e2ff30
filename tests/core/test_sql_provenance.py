"""Each output row carries the rows that made it: from those rows alone the query makes that row again."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from metalayer.core.sql import parse_query
from metalayer.core.sql.provenance import UntraceableError, traced

QUERIES = [
    "SELECT id, amount * 2 AS double FROM silver.orders WHERE amount > 3",
    "SELECT day, sum(amount) AS total, count(*) AS n FROM silver.orders GROUP BY day",
    "SELECT max(amount) AS most FROM silver.orders",
    (
        "SELECT o.day, c.country, sum(amount) AS s FROM silver.orders o"
        " LEFT JOIN silver.customers c ON c.id = o.customer GROUP BY ALL ORDER BY 1, 2"
    ),
    (
        "WITH large AS (SELECT * FROM silver.orders WHERE id > 2)"
        " SELECT x.id, y.id AS other FROM large x JOIN large y ON x.customer = y.customer AND x.id < y.id"
    ),
    (
        "WITH RECURRING AS (SELECT customer, count(*) AS n FROM silver.orders GROUP BY 1 HAVING count(*) > 2)"
        " SELECT c.country, r.n FROM recurring r JOIN silver.customers c ON c.id = r.customer"
    ),
    "SELECT DISTINCT customer FROM silver.orders",
    "SELECT customer FROM silver.orders UNION SELECT id FROM silver.customers",
    "SELECT customer AS k, 'order' AS what FROM silver.orders UNION ALL SELECT id, country FROM silver.customers",
    (
        "SELECT orders.*, customers.* EXCLUDE (id) FROM silver.orders, silver.customers"
        " WHERE silver.orders.customer = silver.customers.id"
    ),
    (
        "SELECT customer, list(x ORDER BY x) AS xs"
        " FROM (SELECT customer, unnest([id, id + 10]) AS x FROM silver.orders) GROUP BY 1"
    ),
    (
        "SELECT o.id, l.most FROM silver.orders o, LATERAL (SELECT max(id) AS most FROM silver.customers c"
        " WHERE c.id <= o.id) l"
    ),
    "FROM silver.orders SELECT id, day",
    (
        "SELECT * FROM silver.customers FULL JOIN (SELECT customer AS id, min(amount) AS least FROM silver.orders"
        " GROUP BY customer) USING (id)"
    ),
    (
        "SELECT coalesce(day, DATE '2000-01-01') AS day, customer, count(*) AS n FROM silver.orders"
        " GROUP BY GROUPING SETS ((day), (customer))"
    ),
    "SELECT DISTINCT ON (customer) customer, amount FROM silver.orders ORDER BY customer, amount DESC",
]


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA silver")
        connection.execute(
            "CREATE TABLE silver.orders AS SELECT i AS id, nullif(i % 4, 3) AS customer, (i * 7 % 5)::DECIMAL(9,2) "
            "AS amount, DATE '2026-01-01' + (i % 2)::INTEGER AS day FROM range(12) AS t(i)"
        )
        connection.execute("CREATE TABLE silver.customers AS SELECT i AS id, 'c' || i AS country FROM range(2) t(i)")
        yield connection


@pytest.mark.parametrize("text", QUERIES)
def test_the_rows_that_made_a_row_make_it_again(engine: duckdb.DuckDBPyConnection, text: str) -> None:
    expected = engine.execute(text).fetchall()
    found = traced(parse_query(text))
    rows = engine.execute(found.sql).fetchall()
    width = len(expected[0])
    assert sorted(map(repr, expected)) == sorted(repr(row[:width]) for row in rows)
    for row in rows:
        made_of: dict[str, list[dict[str, object]]] = {"silver.orders": [], "silver.customers": []}
        for (_, table), listed in zip(found.made_of, row[width:], strict=True):
            for item in listed or ():
                if item not in made_of[str(table)]:
                    made_of[str(table)].append(item)
        again = engine.execute(_over(text, made_of, engine)).fetchall()
        assert row[:width] in again


def _over(text: str, made_of: dict[str, list[dict[str, object]]], engine: duckdb.DuckDBPyConnection) -> str:
    """Return the query over nothing but the listed rows."""
    places = {}
    for name, rows in made_of.items():
        place = f"only_{name.partition('.')[2]}"
        engine.execute(f"CREATE OR REPLACE TEMP TABLE {place} AS SELECT * FROM {name} LIMIT 0")
        for row in rows:
            engine.execute(f"INSERT INTO {place} VALUES ({', '.join('?' * len(row))})", list(row.values()))
        places[name] = place
    return parse_query(text).rewrite(lambda table: places[str(table)])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM t WHERE a < 3) SELECT * FROM t", "recursive"),
        ("SELECT id FROM silver.orders EXCEPT SELECT id FROM silver.customers", "EXCEPT"),
        ("SELECT * FROM (PIVOT silver.orders ON day USING sum(amount))", "PIVOT"),
        ("SELECT * FROM silver.orders USING SAMPLE 3", "sample"),
        ("SELECT COLUMNS('a.*') FROM silver.orders", "COLUMNS"),
    ],
)
def test_what_cannot_be_traced_says_why(text: str, why: str) -> None:
    with pytest.raises(UntraceableError, match=why):
        traced(parse_query(text))


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("SELECT id FROM silver.orders WHERE customer IN (SELECT id FROM silver.customers)", "IN, EXISTS"),
        ("SELECT id FROM silver.orders o SEMI JOIN silver.customers c ON c.id = o.customer", "semi or anti"),
        ("SELECT id, row_number() OVER (ORDER BY id) AS r FROM silver.orders", "window"),
    ],
)
def test_what_is_not_listed_is_said(engine: duckdb.DuckDBPyConnection, text: str, note: str) -> None:
    found = traced(parse_query(text))
    assert note in found.notes[0]
    assert len(engine.execute(found.sql).fetchall()) == len(engine.execute(text).fetchall())
