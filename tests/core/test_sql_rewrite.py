"""Putting a query's tables elsewhere, and the form that fingerprints are made of: on queries that Hypothesis makes."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.warehouse import Warehouse, as_path, as_subquery
from metalayer.core.names import TableName
from metalayer.core.sql import SqlSyntaxError, parse_query


def moved(table: TableName) -> str:
    return f"<{table}>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT * FROM silver.t", 'SELECT * FROM <silver.t> AS "t"'),
        ("SELECT * FROM silver.t AS x", "SELECT * FROM <silver.t> AS x"),
        ("SELECT * FROM silver.t x -- why\n;", "SELECT * FROM <silver.t> x"),
        ("SELECT  1.10 , T.A\nFROM Silver.T", 'SELECT  1.10 , T.A\nFROM <silver.t> AS "T"'),
        ("SELECT silver.t.a.b, t.c FROM silver.t", 'SELECT "t".a.b, t.c FROM <silver.t> AS "t"'),
        ("SELECT silver.t.* FROM silver.t", 'SELECT "t".* FROM <silver.t> AS "t"'),
        ("TABLE silver.t", 'FROM <silver.t> AS "t"'),
        ("FROM x: silver.t", "FROM x: <silver.t>"),
        ("FROM (PIVOT silver.t ON a USING sum(b))", 'FROM (PIVOT <silver.t> AS "t" ON a USING sum(b))'),
        ("SELECT silver.t.n.trim() FROM silver.t", 'SELECT "t".n.trim() FROM <silver.t> AS "t"'),
        (
            "SELECT silver.t.a, gold.t.a AS b FROM silver.t, gold.t",
            'SELECT "silver.t".a, "gold.t".a AS b FROM <silver.t> AS "silver.t", <gold.t> AS "gold.t"',
        ),
        (
            "FROM silver.t WHERE EXISTS (FROM gold.t WHERE silver.t.a = t.a)",
            'FROM <silver.t> AS "silver.t" WHERE EXISTS (FROM <gold.t> AS "gold.t" WHERE "silver.t".a = "gold.t".a)',
        ),
        (
            "WITH x AS (SELECT t.a FROM silver.t), y AS (SELECT t.a FROM gold.t) FROM x, y",
            'WITH x AS (SELECT t.a FROM <silver.t> AS "t"), y AS (SELECT t.a FROM <gold.t> AS "t") FROM x, y',
        ),
        (
            "SELECT t.a FROM (SELECT 1) t, (SELECT silver.t.b FROM silver.t, gold.t) u",
            'SELECT t.a FROM (SELECT 1) t, (SELECT "silver.t".b FROM <silver.t> AS "silver.t", <gold.t> AS "gold.t") u',
        ),
        (
            "SELECT 'silver.t', \"silver.t\" /* silver.t */ FROM silver.t AS q",
            "SELECT 'silver.t', \"silver.t\" /* silver.t */ FROM <silver.t> AS q",
        ),
        ('SELECT "silver"."t"."a" FROM "silver"."t"', 'SELECT "t"."a" FROM <silver.t> AS "t"'),
        ("SELECT é.ü FROM silver.t AS é -- ö\n, gold.t", 'SELECT é.ü FROM <silver.t> AS é -- ö\n, <gold.t> AS "t"'),
        ("SELECT (SELECT 1)", "SELECT (SELECT 1)"),
    ],
)
def test_only_the_tables_change(text: str, expected: str) -> None:
    assert parse_query(text).rewrite(moved) == expected


def test_a_name_that_could_be_either_of_two_tables_is_refused() -> None:
    with pytest.raises(SqlSyntaxError, match=r"'t' could be gold\.t or silver\.t\.") as caught:
        parse_query("SELECT\n  t.a FROM silver.t, gold.t").rewrite(moved)
    assert (caught.value.line, caught.value.column) == (2, 3)


# Queries of any shape -------------------------------------------------------------------------------------------------

COLUMNS = {
    "silver.orders": ("id", "customer_id", "amount", "note"),
    "silver.customers": ("customer_id", "name", "country"),
    "gold.orders": ("id", "total"),
}
NUMBERS = ("id", "customer_id", "amount", "total")


@st.composite
def expressions(draw: st.DrawFn, columns: list[str]) -> str:
    """Return an expression over columns, each of which is qualified already."""
    column = draw(st.sampled_from(columns))
    number = column if column.split(".")[-1] in NUMBERS else f"length(CAST({column} AS varchar))"
    return draw(
        st.sampled_from(
            [
                column,
                f"({column})",
                f"({number} + 1)",
                f"{number} * ({number} - 2)",
                f"coalesce({column}, {column})",
                f"CASE WHEN {number} > 1 THEN {number} ELSE (0) END",
                f"(SELECT max(g.total) FROM gold.orders AS g WHERE g.id = {number})",
                f"row_number() OVER (ORDER BY {column})",
                f"list_transform([{number}], x -> x + {number})",
                f"CAST({column} AS varchar)",
            ]
        )
    )


@st.composite
def conditions(draw: st.DrawFn, columns: list[str]) -> str:
    column = draw(st.sampled_from(columns))
    number = column if column.split(".")[-1] in NUMBERS else f"length(CAST({column} AS varchar))"
    parts = [
        f"{number} > 1",
        f"({number} BETWEEN 0 AND (3 + 4))",
        f"{column} IS NOT NULL",
        f"(({number} = 1) OR ({number} = 2))",
        f"NOT ({number} < 0)",
        f"{number} IN (SELECT id FROM gold.orders)",
        f"EXISTS (SELECT 1 FROM silver.customers WHERE silver.customers.customer_id = {number})",
    ]
    chosen = draw(st.lists(st.sampled_from(parts), min_size=1, max_size=3))
    return draw(st.sampled_from([" AND ", " OR "])).join(chosen)


@st.composite
def selects(draw: st.DrawFn, depth: int = 0) -> tuple[str, tuple[str, ...]]:
    """Return a SELECT and the names of its columns."""
    table = draw(st.sampled_from(sorted(COLUMNS)))
    source, names, qualifiers = table, COLUMNS[table], [table, table.split(".")[1], "", ""]
    shape = draw(st.sampled_from(["bare", "alias", "subquery", "cte"])) if depth < 2 else "bare"
    before = ""
    match shape:
        case "alias":
            source, qualifiers = f"{table} AS q", ["q", ""]
        case "subquery":
            inner, names = draw(selects(depth + 1))
            source, qualifiers = f"({inner}) AS s", ["s", ""]
        case "cte":
            inner, names = draw(selects(depth + 1))
            name = draw(st.sampled_from(["orders", "c"]))
            before, source, qualifiers = f"WITH {name} AS ({inner}) ", name, [name, ""]
        case _:
            pass
    qualified = [f"{q}.{n}" if (q := draw(st.sampled_from(qualifiers))) else n for n in names]
    where = f" WHERE {draw(conditions(qualified))}" if draw(st.booleans()) else ""
    if draw(st.booleans()):
        star = f"{draw(st.sampled_from(qualifiers[1:]))}".strip(".")
        return f"{before}SELECT {f'{star}.*' if star else '*'} FROM {source}{where}", names
    items = draw(st.lists(expressions(qualified), min_size=1, max_size=3))
    aliases = draw(st.lists(st.sampled_from(["id", "note", "total", "a1"]), min_size=3, max_size=3, unique=True))
    made = tuple(f"{alias}_{depth}" for alias in aliases[: len(items)])
    listed = ", ".join(f"{item} AS {alias}" for item, alias in zip(items, made, strict=True))
    return f"{before}SELECT {listed} FROM {source}{where}", made


@st.composite
def queries(draw: st.DrawFn) -> str:
    text, _ = draw(selects())
    if draw(st.booleans()):
        text = f"({text}) UNION ALL ({text})"
    return text


SPACES = ("\n", "  ", "\t", " -- words; 'and' (more\n", " /* a, (b) */ ")


def respelled(text: str, spaces: list[str]) -> str:
    """Return the query with other white space, with comments, and in the other case of letters outside quotes."""
    pieces = re.split(r"('[^']*')", text)
    made = [piece if index % 2 else piece.swapcase() for index, piece in enumerate(pieces)]
    words = "".join(made).split(" ")
    return "".join(word + spaces[index % len(spaces)] for index, word in enumerate(words))


CALM = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@CALM
@given(text=queries())
def test_moved_tables_give_the_same_rows(warehouse: Warehouse, text: str) -> None:
    query = parse_query(text)
    expected = warehouse.rows(text)
    assert warehouse.rows(query.rewrite(as_subquery)) == expected
    assert warehouse.rows(f"SELECT * FROM ({query.rewrite(as_path)})") == expected


@CALM
@given(text=queries())
def test_the_columns_of_any_query_are_duckdbs(warehouse: Warehouse, text: str) -> None:
    found = parse_query(text).resolve(warehouse.schemas)
    assert found.problems == ()
    assert found.columns is not None
    assert [column.name for column in found.columns] == [name for name, _ in warehouse.columns(text)]


@CALM
@given(text=queries(), spaces=st.lists(st.sampled_from(SPACES), min_size=1, max_size=5))
def test_the_canonical_form_does_not_see_spelling(warehouse: Warehouse, text: str, spaces: list[str]) -> None:
    query = parse_query(text)
    other = parse_query(respelled(text, spaces))
    assert other.canonical() == query.canonical()
    assert other.inputs == query.inputs
    assert warehouse.rows(query.canonical()) == warehouse.rows(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT (a) FROM silver.t", "SELECT a FROM silver.t"),
        ("SELECT ((a + b)) AS c FROM silver.t", "SELECT a + b AS c FROM silver.t"),
        ("SELECT a FROM silver.t WHERE (a = 1) AND (b = 2)", "SELECT a FROM silver.t WHERE a = 1 AND b = 2"),
        ("SELECT a FROM silver.t WHERE ((a = 1) AND b)", "SELECT a FROM silver.t WHERE a = 1 AND b"),
        ("SELECT sum((a * b)) FROM silver.t", "SELECT sum(a * b) FROM silver.t"),
        ("SELECT CASE WHEN (a AND b) THEN (c) ELSE (d + 1) END FROM silver.t",
         "SELECT CASE WHEN a AND b THEN c ELSE d + 1 END FROM silver.t"),
        ("FROM silver.t JOIN silver.u ON (t.x = u.x) WHERE b", "FROM silver.t JOIN silver.u ON t.x = u.x WHERE b"),
        ("select A from SILVER.T;", "SELECT a FROM silver.t"),
    ],
)  # fmt: skip
def test_idle_parentheses_are_not_seen(one: str, other: str) -> None:
    assert parse_query(one).canonical() == parse_query(other).canonical()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT (a + b) * c FROM silver.t", "SELECT a + b * c FROM silver.t"),
        ("SELECT a FROM silver.t WHERE (a OR b) AND c", "SELECT a FROM silver.t WHERE a OR b AND c"),
        ("SELECT a FROM silver.t WHERE NOT (a AND b)", "SELECT a FROM silver.t WHERE NOT a AND b"),
        ("SELECT a FROM silver.t WHERE a BETWEEN 1 AND (b = c)", "SELECT a FROM silver.t WHERE a BETWEEN 1 AND b = c"),
        ("SELECT DISTINCT ON (a) b FROM silver.t", "SELECT DISTINCT a, b FROM silver.t"),
        ("SELECT (a, b) FROM silver.t", "SELECT a, b FROM silver.t"),
        ("SELECT a IN ((1, 2)) FROM silver.t", "SELECT a IN (1, 2) FROM silver.t"),
        ("SELECT f((a, b)) FROM silver.t", "SELECT f(a, b) FROM silver.t"),
        ("SELECT (a).b FROM silver.t", "SELECT a.b FROM silver.t"),
        ('SELECT "A" FROM silver.t', "SELECT a FROM silver.t"),
        ("SELECT 'A' FROM silver.t", "SELECT 'a' FROM silver.t"),
        ("SELECT a FROM silver.t", "SELECT a FROM silver.u"),
        ("SELECT 1.10", "SELECT 1.1"),
    ],
)
def test_what_may_matter_is_seen(one: str, other: str) -> None:
    assert parse_query(one).canonical() != parse_query(other).canonical()
