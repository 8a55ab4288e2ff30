"""PIVOT and UNPIVOT: the columns that DuckDB makes are ours, each from where its values come; else we say unknown."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from metalayer.core.names import TableName
from metalayer.core.sql import parse_query

COLUMNS = ("id", "cid", "st", "amt", "q1", "q2")
SCHEMAS = {TableName.parse("silver.o"): {name: "varchar" if name == "st" else "integer" for name in COLUMNS}}
FEW = "(SELECT cid, st, amt FROM silver.o)"


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA silver")
        connection.execute("CREATE TABLE silver.o (id int, cid int, st varchar, amt int, q1 int, q2 int)")
        yield connection


def traced(text: str) -> dict[str, str]:
    return {
        column.name: " ".join(s.column for s in column.sources) for column in parse_query(text).lineage(SCHEMAS).columns
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"FROM (PIVOT {FEW} ON st IN ('x', 'Y') USING sum(amt))", {"cid": "cid", "x": "amt st", "Y": "amt st"}),
        (
            f"FROM (PIVOT {FEW} ON st IN ('x') USING sum(amt) AS s, count(*) AS n)",
            {"cid": "cid", "x_s": "amt st", "x_n": "st"},
        ),
        (
            "FROM (PIVOT silver.o ON st IN ('x') USING sum(amt) GROUP BY q1, cid)",
            {"q1": "q1", "cid": "cid", "x": "amt st"},
        ),
        (
            "FROM (PIVOT silver.o ON cid IN (1, 2) USING sum(amt) GROUP BY st)",
            {"st": "st", "1": "amt cid", "2": "amt cid"},
        ),
        ("SELECT * FROM silver.o PIVOT (max(amt) AS m FOR st IN ('a') GROUP BY cid)", {"cid": "cid", "a_m": "amt st"}),
        ("SELECT k FROM silver.o PIVOT (sum(amt) FOR st IN ('a' AS k, 'b')) AS p", {"k": "amt st"}),
        ("SELECT p.y FROM silver.o PIVOT (sum(amt) FOR st IN ('a') GROUP BY cid) AS p(x, y)", {"y": "amt st"}),
        (
            "SELECT p.id, x FROM silver.o JOIN (PIVOT silver.o ON st IN ('x') USING max(q1) GROUP BY id) p USING (id)",
            {"id": "id", "x": "q1 st"},
        ),
        (
            "FROM (UNPIVOT silver.o ON q1, q2 INTO NAME quarter VALUE v)",
            {"id": "id", "cid": "cid", "st": "st", "amt": "amt", "quarter": "", "v": "q1 q2"},
        ),
        ("SELECT name, value FROM (UNPIVOT silver.o ON q2, q1)", {"name": "", "value": "q1 q2"}),
        ("SELECT quarter, p.v FROM silver.o UNPIVOT (v FOR quarter IN (q2, q1)) AS p", {"quarter": "", "v": "q1 q2"}),
    ],
)
def test_columns_that_stand_in_the_query(
    engine: duckdb.DuckDBPyConnection, text: str, expected: dict[str, str]
) -> None:
    assert [column[0] for column in engine.execute(text).description or ()] == list(expected)
    assert traced(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        f"FROM (PIVOT {FEW} ON st USING sum(amt))",
        f"FROM (PIVOT {FEW} ON st IN ('x') USING sum(amt), count(*) AS n)",
        f"FROM (PIVOT {FEW} ON st IN ('x'))",
        "SELECT * FROM silver.o PIVOT (sum(amt) FOR st IN ('a', 'b') cid IN (1, 2) GROUP BY id)",
        "FROM (PIVOT silver.o ON upper(st) IN ('X') USING sum(amt) GROUP BY cid)",
        "FROM (UNPIVOT silver.o ON COLUMNS(* EXCLUDE (id, st)) INTO NAME n VALUE v)",
        "FROM (UNPIVOT silver.o ON q1, (q2 + 1) AS z INTO NAME n VALUE v)",
        "FROM (PIVOT silver.nobody_knows ON st IN ('x') USING sum(amt))",
    ],
)
def test_what_only_the_engine_can_tell_may_come_from_everywhere(text: str) -> None:
    [column] = parse_query(text).lineage(SCHEMAS).columns
    assert (column.name, bool(column.unknown)) == ("*", True)
