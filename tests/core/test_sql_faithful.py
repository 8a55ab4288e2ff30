"""Queries that are written again still say the same to the engine, and only then count as such."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from metalayer.core.sql.faithful import says_the_same, written_again


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT TIMESTAMP '2026-01-31 10:00:00' AS a, 3 AS x")
        yield connection


def readings(engine: duckdb.DuckDBPyConnection, one: str, two: str) -> bool:
    asked = "SELECT json_serialize_sql(CAST(? AS VARCHAR)), json_serialize_sql(CAST(? AS VARCHAR))"
    ((left, right),) = engine.execute(asked, [one, two]).fetchall()
    return says_the_same(str(left), str(right))


@pytest.mark.parametrize(
    "interval",
    [
        "INTERVAL '1 day'", "INTERVAL '2 hours'", "INTERVAL '90 minutes'", "INTERVAL '-3 weeks'", "INTERVAL '1 month'",
        "INTERVAL '2 quarters'", "INTERVAL '1year'", "INTERVAL 1 DAY", "INTERVAL '1' DAY", "INTERVAL '3' days",
        "INTERVAL (x) DAY", "INTERVAL '1 month 2 days'", "'1 day'::INTERVAL", "INTERVAL '0 seconds'",
    ],
)  # fmt: skip
def test_an_interval_is_followed_however_it_is_written(engine: duckdb.DuckDBPyConnection, interval: str) -> None:
    text = f"SELECT a + {interval} AS b, x FROM t WHERE a - {interval} < TIMESTAMP '2027-01-01'"
    assert readings(engine, text, written_again(text))
    assert engine.execute(text).fetchall() == engine.execute(written_again(text)).fetchall()


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("INTERVAL '1 day'", "INTERVAL '2 days'"),
        ("INTERVAL '1 day'", "INTERVAL '1 hour'"),
        ("INTERVAL '1 day'", "INTERVAL '-1 day'"),
        ("INTERVAL '1 month'", "INTERVAL '1 minute'"),
        ("INTERVAL (x) DAY", "INTERVAL 1 DAY"),
        ("INTERVAL '1 day'", "to_days(x)"),
        ("INTERVAL '1 day'", "'1 day'"),
    ],
)
def test_other_intervals_are_not_the_same(engine: duckdb.DuckDBPyConnection, one: str, two: str) -> None:
    assert not readings(engine, f"SELECT a + {one} AS b FROM t", f"SELECT a + {two} AS b FROM t")
