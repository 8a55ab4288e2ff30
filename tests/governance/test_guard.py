"""The guard by itself: what passes is written anew, and what does not is told with its place."""

from __future__ import annotations

import pytest

from metalayer.core.errors import AccessError, MetaLayerError
from metalayer.core.names import TableName
from metalayer.core.sql import SqlSyntaxError
from metalayer.governance.guard import Limits, check
from metalayer.governance.witness import shape

ORDERS = TableName.parse("silver.orders")


def test_what_passes_is_written_anew_with_every_name_quoted_and_every_text_a_literal() -> None:
    found = check("select a, 'it''s' as b -- why\nfrom SILVER.Orders /* x */ where lower(c) = 'x' or d = ?")
    assert found.sql == ('SELECT "a", \'it\'\'s\' AS "b" FROM "silver"."orders" WHERE lower("c") = \'x\' OR "d" = ?')
    assert (found.tables, found.functions, found.parameters) == ((ORDERS,), {"lower"}, ("1",))


def test_the_same_question_in_other_letters_is_the_same_text() -> None:
    one = check("SELECT COUNT(*) FROM silver.orders WHERE a IS NOT NULL")
    assert check("select\tcount( * )\nfrom silver.ORDERS where a is not null").sql.lower() == one.sql.lower()


def test_parameters_are_counted_by_name_or_by_place() -> None:
    assert check("SELECT ?, ? FROM silver.orders").parameters == ("1", "2")
    assert check("SELECT $a, $b, $a FROM silver.orders").parameters == ("a", "b")


def test_what_changes_by_itself_is_known() -> None:
    assert check("SELECT sum(a) FROM silver.orders").is_stable
    for text in ("now()", "current_date", "random()", "uuid()", "today()"):
        assert not check(f"SELECT {text} FROM silver.orders").is_stable


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("SELECT " + "1 + " * 50 + "1", Limits(characters=100)),
        ("SELECT " + "1 + " * 50 + "1", Limits(tokens=50)),
        ("SELECT " + "1 + " * 50 + "1", Limits(nodes=50)),
        ("SELECT " + "(" * 61 + "1" + ")" * 61, Limits()),
        ("SELECT " + "[" * 61 + "1" + "]" * 61, Limits()),
        ("SELECT " + "CASE WHEN a THEN " * 61 + "1" + " END" * 61, Limits()),
        ("SELECT 1 FROM " + ", ".join(f"silver.orders AS t{number}" for number in range(65)), Limits()),
        ("SELECT * FROM range(10000001)", Limits()),
        ("SELECT * FROM generate_series(-9999999, 9999999999)", Limits()),
        ("SELECT " + "NOT " * 5000 + "a FROM silver.orders", Limits()),
        ("SELECT a" + " || a" * 9000 + " FROM silver.orders", Limits(tokens=100_000)),
        ("SELECT " + "-" + " -" * 3000 + "1", Limits()),
        ("SELECT " + "a." * 3000 + "a FROM silver.orders", Limits()),
    ],
)
def test_what_is_too_large_is_refused_without_a_fault(text: str, limits: Limits) -> None:
    with pytest.raises((AccessError, SqlSyntaxError)):
        check(text, limits)


@pytest.mark.parametrize("letter", ["\u00a0", "\u200b", "\u2028", "\ufeff", "\u202e", "\x7f", "\x00", "\ud800"])
def test_letters_that_nobody_sees_are_refused_outside_of_texts(letter: str) -> None:
    with pytest.raises(MetaLayerError):
        check(f"SELECT a{letter}b FROM silver.orders")


def test_texts_and_names_may_hold_any_language() -> None:
    found = check("SELECT \"größe\", 'a\u00a0b 東京 🙂' FROM silver.orders")
    assert found.sql == 'SELECT "größe", \'a\u00a0b 東京 🙂\' FROM "silver"."orders"'


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("SELECT\n  getenv('x')", "The function 'getenv' cannot be called here (line 2, column 3).", "Use functions"),
        ("SELECT uper(a)", "The function 'uper' cannot be called here (line 1, column 8).", "Did you mean 'upper'?"),
        ("SELECT * FROM orders", "The query reads 'orders', which is not a table", "Write layer.table"),
        ("SELECT * FROM lake.orders", "'lake' is not a layer (line 1, column 15).", "Write layer.table"),
        ("SELECT COLUMNS('a') FROM silver.orders", "COLUMNS(…) cannot be used here", "Name the columns"),
        ("SELECT a <=> b FROM silver.orders", "'<=>' cannot be used here.", "IS NOT DISTINCT FROM"),
        ("SELECT CAST(a AS regclass)", "The type '", "Use a plain type."),
    ],
)
def test_a_refusal_says_what_where_and_what_instead(text: str, message: str, hint: str) -> None:
    with pytest.raises(AccessError) as caught:
        check(text)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("text", ["SELECT 1; SELECT 2", "EXPLAIN SELECT 1", "DROP TABLE silver.orders", "", "SELECT ("])
def test_what_is_no_query_is_told_as_such(text: str) -> None:
    with pytest.raises(SqlSyntaxError):
        check(text)


def test_the_shape_of_a_query_holds_no_value() -> None:
    sql = check("SELECT a1, 'x' FROM silver.orders WHERE b = 'O''Hara' AND c IN (1, 2.5) AND \"d 7\" = 7").sql
    assert shape(sql) == ('SELECT "a1", ? FROM "silver"."orders" WHERE "b" = ? AND "c" IN (?, ?) AND "d 7" = ?')
