"""Columns, mistakes and rewriting of queries, each compared with what DuckDB itself makes of the query."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.warehouse import Warehouse, as_path, as_subquery
from metalayer.core.errors import UsageError
from metalayer.core.schema import parse_type
from metalayer.core.sql import parse_query

QUERIES = Path(__file__).parent / "queries"

# One query a line. All are right: none may be called a mistake, and each keeps its rows when its tables move.
RIGHT = (QUERIES / "right.sql").read_text().splitlines()

# One query a line. Each names a column that is not there, or that could be either of two.
WRONG = (QUERIES / "wrong.sql").read_text().splitlines()

# One expression over silver.orders a line.
EXPRESSIONS = (QUERIES / "expressions.sql").read_text().splitlines()


def canonical_type(text: str) -> str:
    try:
        return str(parse_type(text))
    except UsageError:
        return text


@pytest.mark.parametrize("sql", RIGHT)
def test_columns_are_those_of_the_table_that_the_query_becomes(warehouse: Warehouse, sql: str) -> None:
    found = parse_query(sql).resolve(warehouse.schemas)
    assert found.problems == ()
    if found.columns is None:
        assert found.unknown
        return
    made = warehouse.columns(sql)
    assert len(found.columns) == len(made)
    for column, (name, kind) in zip(found.columns, made, strict=True):
        if column.named:
            assert column.name == name
        if column.type is not None:
            assert canonical_type(column.type) == canonical_type(kind)


def test_most_columns_of_right_queries_are_known_with_their_types(warehouse: Warehouse) -> None:
    found = [parse_query(sql).columns(warehouse.schemas) for sql in RIGHT]
    known = [column for columns in found if columns is not None for column in columns]
    assert sum(columns is not None for columns in found) >= 0.9 * len(RIGHT)
    assert sum(column.type is not None for column in known) >= 0.75 * len(known)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_type_is_duckdbs_or_not_told(warehouse: Warehouse, expression: str) -> None:
    sql = f"SELECT {expression} FROM silver.orders"
    (column,) = parse_query(sql).columns(warehouse.schemas) or ()
    ((name, kind),) = warehouse.columns(sql)
    assert column.name == name
    assert column.type is None or canonical_type(column.type) == canonical_type(kind)


@pytest.mark.parametrize("sql", RIGHT)
def test_a_rewritten_query_yields_the_same_rows(warehouse: Warehouse, sql: str) -> None:
    query = parse_query(sql)
    expected = warehouse.rows(sql)
    assert warehouse.rows(query.rewrite(as_subquery)) == expected
    assert warehouse.rows(f"SELECT * FROM ({query.rewrite(as_path)})") == expected


@pytest.mark.parametrize("sql", RIGHT)
def test_the_canonical_form_is_the_same_query(warehouse: Warehouse, sql: str) -> None:
    form = parse_query(sql).canonical()
    assert parse_query(form).canonical() == form
    assert warehouse.rows(form) == warehouse.rows(sql)


@pytest.mark.parametrize("sql", WRONG)
def test_a_mistake_of_a_column_is_told_where_duckdb_fails(warehouse: Warehouse, sql: str) -> None:
    assert warehouse.fails(sql)
    problems = parse_query(sql).problems(warehouse.schemas)
    assert problems
    for problem in problems:
        assert problem.message
        assert problem.hint
        assert sql.splitlines()[problem.line - 1][problem.column - 1 :].strip()


@pytest.mark.parametrize("sql", RIGHT)
def test_a_right_query_has_no_mistake_where_no_schema_is_known(sql: str) -> None:
    assert parse_query(sql).problems({}) == ()


def test_an_unknown_table_makes_its_columns_unknown_and_no_others(warehouse: Warehouse) -> None:
    query = parse_query("SELECT id, nope FROM silver.orders JOIN bronze.unknown USING (id)")
    assert query.problems(warehouse.schemas) == ()
    (problem,) = parse_query("SELECT o.nope, u.any FROM silver.orders o JOIN bronze.unknown u ON true").problems(
        warehouse.schemas
    )
    assert problem.message == "There is no column 'nope'."
    assert problem.hint.startswith("Did you mean 'note'? The columns of o are: id, customer_id, amount")
