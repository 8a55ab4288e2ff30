"""Reading one query: what is refused and where, and which tables are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from metalayer.core.errors import UsageError
from metalayer.core.sql import ReferenceKind, SqlSyntaxError, parse_query, single_expression


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "mend"),
    [
        ("", 1, 1, "There is no SQL here.", "Write one SELECT"),
        ("-- only words\n", 1, 1, "There is no SQL here.", "Write one SELECT"),
        ("selec 1", 1, 1, "'selec' does not begin a query.", "Did you mean 'select'?"),
        ("DROP TABLE silver.orders", 1, 1, "DROP changes something, and a query only reads.", "Write one SELECT"),
        ("COPY silver.orders TO 'x.csv'", 1, 1, "COPY changes something, and a query only reads.", "Write one SELECT"),
        ("PRAGMA version", 1, 1, "'PRAGMA' does not begin a query.", "Write one SELECT"),
        ("SUMMARIZE silver.orders", 1, 1, "'SUMMARIZE' does not begin a query.", "Write one SELECT"),
        ("pivot a on b using sum(c)", 1, 1, "'pivot' does not begin a query.", "Write FROM (PIVOT …) instead."),
        ("SELECT 1;\nSELECT 2", 1, 9, "There is more than one statement.", "Keep one SELECT"),
        ("SELECT a\nFROM {{ ref('orders') }}", 2, 6, "Templates are not used here.", "FROM silver.orders"),
        ("{% if x %} SELECT 1", 1, 1, "Templates are not used here.", "dependencies come from the SQL"),
        ("SELECT a,\n  b c d\nFROM silver.t", 2, 7, "The SQL does not parse at 'd'.", "missing comma"),
        ("SELECT * FROM", 1, 10, "The SQL ends too early, at 'FROM'.", "Complete the clause"),
        ("SELECT (a", 1, 9, "The SQL ends too early, at 'a': ) expected after it.", "close the open parenthesis"),
        ("SELECT 'it''s\nFROM x", 1, 8, "A quoted text, name or comment is opened here and never closed.", "twice"),
        ('SELECT a, "b FROM x', 1, 11, "A quoted text, name or comment is opened here", "Close it"),
        ("SELECT 'a' /* why\n FROM x", 1, 12, "A quoted text, name or comment is opened here", "Close it"),
        ("SELECT * INTO a FROM b", 1, 8, "SELECT … INTO cannot stand in a query.", "Write one SELECT"),
        ("SELECT * FROM a FOR UPDATE", 1, 8, "FOR UPDATE cannot stand in a query.", "Write one SELECT"),
        ("WITH x AS (INSERT INTO y VALUES (1)) SELECT 1", 1, 24, "A statement that changes something", "Write one"),
        ("SELECT * FROM (SUMMARIZE silver.t)", 1, 26, "SUMMARIZE cannot stand in a query.", "Write one SELECT"),
        ("SELECT " + "(" * 3000 + "1" + ")" * 3000, 1, 1, "The SQL is nested too deeply.", "WITH"),
    ],
)
def test_what_is_no_query_is_refused_at_its_place(text: str, line: int, column: int, message: str, mend: str) -> None:
    with pytest.raises(SqlSyntaxError) as caught:
        parse_query(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert caught.value.message.startswith(message)
    assert mend in caught.value.hint
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize(
    "text",
    [
        "FROM silver.orders",
        "TABLE silver.orders",
        "VALUES (1, 2)",
        "(SELECT 1)",
        "WITH a AS (SELECT 1) FROM a",
        "SELECT 1 UNION SELECT 2;",
        "SELECT 1 -- words ; {{ not a template }}\n;;\n",
        "SELECT '{{ x }}; DROP' AS text",
        "FROM (PIVOT silver.orders ON a USING sum(b))",
        "SELECT " + "1 + " * 3000 + "1",
        "SELECT 1" + " UNION ALL SELECT 1" * 300,
    ],
)
def test_what_is_a_query_is_read(text: str) -> None:
    query = parse_query(text)
    assert query.text == text
    query.resolve({})
    query.canonical()
    query.rewrite(str)


def test_a_union_of_a_thousand_parts_and_a_long_chain_are_followed() -> None:
    union = parse_query("SELECT a FROM silver.t" + " UNION ALL SELECT a FROM silver.t" * 150)
    assert [source.column for source in union.lineage({}).columns[0].sources] == ["a"]
    chain = parse_query("SELECT " + "a + " * 2000 + "b AS c FROM silver.t")
    assert [source.column for source in chain.lineage({}).columns[0].sources] == ["a", "b"]


def test_inputs_are_the_layers_tables_once_sorted_without_ctes() -> None:
    query = parse_query(
        """
        WITH orders AS (SELECT * FROM silver.orders), again AS (FROM orders)
        SELECT * FROM again JOIN orders USING (id) JOIN SILVER."Customers" c USING (id)
        WHERE id IN (SELECT id FROM bronze.crm_orders__current) AND EXISTS (FROM silver.orders)
        """
    )
    assert [str(table) for table in query.inputs] == [
        "bronze.crm_orders__current",
        "silver.customers",
        "silver.orders",
    ]
    assert not any(reference.message for reference in query.references)


def test_a_cte_is_seen_in_its_query_and_not_beside_it() -> None:
    query = parse_query("SELECT * FROM (WITH inner_ AS (SELECT 1) FROM inner_) a, inner_")
    (reference,) = query.references
    assert (reference.name, reference.table, reference.line, reference.column) == ("inner_", None, 1, 58)
    assert reference.hint == "Write the layer too, for example silver.inner_."


def test_a_cte_that_is_not_recursive_does_not_see_itself() -> None:
    assert [r.name for r in parse_query("WITH t AS (SELECT * FROM t) FROM t").references] == ["t"]
    assert parse_query("WITH RECURSIVE t AS (SELECT 1 AS n UNION SELECT n FROM t) FROM t").references == ()
    keyed = "WITH RECURSIVE t USING KEY (n) AS (SELECT 1 AS n UNION SELECT t.n FROM t, recurring.t AS u) FROM t"
    assert parse_query(keyed).references == ()


@pytest.mark.parametrize(
    ("item", "kind", "message"),
    [
        ("orders", ReferenceKind.UNQUALIFIED, "orders names no table."),
        ("main.orders", ReferenceKind.FOREIGN, "main.orders is not a table of a layer."),
        ("lake.silver.orders", ReferenceKind.FOREIGN, "lake.silver.orders is not a table of a layer."),
        ("'data/orders.csv'", ReferenceKind.FILE, "The file 'data/orders.csv' is read directly."),
        ('"orders.parquet"', ReferenceKind.UNQUALIFIED, 'The file "orders.parquet" is read directly.'),
        ("read_csv('orders.csv')", ReferenceKind.FUNCTION, "The function read_csv reads from outside the lake."),
        ("read_parquet(['a', 'b'])", ReferenceKind.FUNCTION, "The function read_parquet reads from outside the lake."),
        ("glob('*')", ReferenceKind.FUNCTION, "The function glob reads from outside the lake."),
        (
            "postgres_scan('', '', '')",
            ReferenceKind.FUNCTION,
            "The function postgres_scan reads from outside the lake.",
        ),
        ("query('SELECT 1')", ReferenceKind.FUNCTION, "The function query reads from outside the lake."),
        ("duckdb_secrets()", ReferenceKind.FUNCTION, "The function duckdb_secrets reads from outside the lake."),
        ("silver.orders AT (VERSION => 3)", ReferenceKind.TABLE, "silver.orders is read at a version of its own."),
    ],
)
def test_what_a_model_may_not_read_is_named_with_its_mend(item: str, kind: ReferenceKind, message: str) -> None:
    (reference,) = parse_query(f"SELECT *\nFROM {item}").references
    assert (reference.line, reference.column) == (2, 6)
    assert reference.kind is kind
    assert reference.message == message
    assert reference.hint


@pytest.mark.parametrize("item", ["range(3)", "generate_series(1, 2) g(i)", "unnest([1])", "(VALUES (1)) v(a)"])
def test_what_computes_its_rows_from_its_arguments_is_no_mistake(item: str) -> None:
    query = parse_query(f"SELECT * FROM {item}")
    assert query.inputs == ()
    assert not any(reference.message for reference in query.references)


@pytest.mark.parametrize("sql", (Path(__file__).parent / "queries" / "right.sql").read_text().splitlines())
def test_asking_changes_nothing(sql: str) -> None:
    asked, fresh = parse_query(sql), parse_query(sql)
    asked.resolve({})
    asked.flow()
    assert asked.rewrite(str) == fresh.rewrite(str)
    assert asked.resolve({}) == fresh.resolve({})
    assert asked == fresh
    assert hash(asked) == hash(fresh)
    # Names tell where they stand by their parents. (SQLGlot shares a few literals between all trees.)
    for name in asked._statement.tree.find_all(exp.Identifier):
        assert name in list(name.parent.iter_expressions())
        assert name.root() is asked._statement.tree


def answers(text: str) -> bool:
    """Ask a query all there is to ask: only our own error may come of it, and that one with a place and a mend."""
    try:
        query = parse_query(text)
        query.canonical()
        query.resolve({})
        query.flow()
        query.rewrite(lambda table: f'"{table}"')
    except SqlSyntaxError as error:
        return error.line >= 1 and error.column >= 1 and bool(error.hint)
    return True


@settings(deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="select from()'\"*,.a1;-/{}[]$\n", max_size=80))
def test_no_text_raises_anything_but_our_error(text: str) -> None:
    for candidate in (text, f"SELECT {text}", f"SELECT a FROM silver.t WHERE {text}"):
        assert answers(candidate)


WORDS = """
select from where group by order limit join left using on ( ) , * . = + silver.t silver.u a b c 1 'x' as with recursive
union all case when then else end in exists not null over partition unnest [ ] { } : :: int lambda -> exclude replace
columns pivot for values qualify distinct between and or is like
"""


@settings(deadline=None)
@given(st.lists(st.sampled_from(WORDS.split()), max_size=14))
def test_no_order_of_words_raises_anything_but_our_error(words: list[str]) -> None:
    assert answers("select " + " ".join(words))


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("", 1, 1, "There is no expression."),
        ("amount >", 1, 8, "The SQL ends too early, at '>'."),
        ("amount > 0; true", 1, 1, "This is not one expression."),
        ("SELECT true", 1, 1, "The SQL does not parse at 'SELECT'."),
        ("amount >\n  (SELECT 1)", 2, 11, "A subquery cannot stand in a check of a row."),
        ("amount > 0 AND sum(amount) > 1", 1, 16, "An aggregate cannot stand in a check of a row."),
        ("row_number() OVER () = 1", 1, 1, "A window function cannot stand in a check of a row."),
        ("COLUMNS(*) > 0", 1, 1, "A star cannot stand in a check of a row."),
        ("amount > $1", 1, 10, "A parameter cannot stand in a check of a row."),
        ("'text'", 1, 1, "This is a varchar, not a condition."),
        ("amount = '", 1, 10, "A quoted text, name or comment is opened here and never closed."),
        ("{{ x }}", 1, 1, "Templates are not used here."),
    ],
)
def test_what_is_no_condition_over_a_row_is_refused_at_its_place(
    text: str, line: int, column: int, message: str
) -> None:
    with pytest.raises(SqlSyntaxError) as caught:
        single_expression(text)
    assert caught.value.message.startswith(message)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_a_condition_knows_its_columns_and_tells_of_unknown_ones() -> None:
    condition = single_expression("Amount > 0 AND\n lower(county) <> 'x' AND len(list_filter(tags, t -> t = note)) > 0")
    assert condition.columns == ("amount", "county", "note", "tags")
    (problem,) = condition.problems(["amount", "country", "tags", "note"])
    assert (problem.line, problem.column) == (2, 8)
    assert problem.message == "There is no column 'county'."
    assert problem.hint == "Did you mean 'country'? The columns here are: amount, country, tags, note."
