from __future__ import annotations

import uuid

import pytest

from metalayer.core.errors import LakeError
from metalayer.core.names import Layer, TableName
from metalayer.core.schema import Column, Schema, parse_type, schema
from metalayer.lake import LakeColumn, NotEvolvableError, TableSchema, TableState, plan_schema

ORDERS = TableName(Layer.SILVER, "orders")


def state(columns: Schema, rows: int = 1) -> TableState:
    planned = plan_schema(None, ORDERS, columns)
    return TableState(ORDERS, 1, uuid.UUID(int=1), planned, rows, 1, 1, 1, 1, 1)


def ids(planned: TableSchema) -> dict[str, int]:
    """Return the ids of all columns and parts by their paths."""

    def walk(prefix: str, column: LakeColumn) -> dict[str, int]:
        path = f"{prefix}{column.name}"
        found = {path: column.id}
        for child in column.children:
            found |= walk(f"{path}.", child)
        return found

    return {path: number for column in planned.columns for path, number in walk("", column).items()}


def types(planned: TableSchema) -> dict[str, str]:
    return {column.name: str(column.type) for column in planned.columns}


def test_a_new_table_counts_its_columns_and_their_parts() -> None:
    planned = plan_schema(None, ORDERS, schema(a="bigint", s="struct(x int, l varchar[])", m="map(int, double)"))
    assert ids(planned) == {
        "a": 1, "s": 2, "s.x": 3, "s.l": 4, "s.l.element": 5, "m": 6, "m.key": 7, "m.value": 8,
    }  # fmt: skip
    assert planned.next_column_id == 9
    assert planned.public == schema(a="bigint", s="struct(x int, l varchar[])", m="map(int, double)")


def test_ids_follow_names_through_moving_adding_and_dropping() -> None:
    before = state(schema(a="bigint", b="varchar", c="date"))
    planned = plan_schema(before, ORDERS, schema(c="date", d="time", a="bigint"))
    assert ids(planned) == {"c": 3, "d": 4, "a": 1}
    assert planned.next_column_id == 5


def test_missing_columns_stay_in_place_where_they_are_not_to_be_dropped() -> None:
    before = state(schema(a="bigint", b="varchar", s="struct(x int, y int)"))
    planned = plan_schema(before, ORDERS, schema(new="date", s="struct(z int, y int)", a="bigint"), drop_missing=False)
    assert types(planned) == {
        "a": "bigint",
        "b": "varchar",
        "s": 'struct("x" integer, "y" integer, "z" integer)',
        "new": "date",
    }


def test_a_dropped_column_that_comes_again_is_another() -> None:
    before = state(schema(a="bigint", b="varchar"))
    dropped = plan_schema(before, ORDERS, schema(a="bigint"))
    again = plan_schema(
        TableState(ORDERS, 1, uuid.UUID(int=1), dropped, 1, 1, 1, 2, 2, 1), ORDERS, schema(a="bigint", b="varchar")
    )
    assert ids(again) == {"a": 1, "b": 3}


def test_columns_and_parts_are_renamed() -> None:
    before = state(schema(a="bigint", s="struct(x int, y struct(z int))[]"))
    planned = plan_schema(
        before,
        ORDERS,
        schema(b="bigint", t="struct(x int, y struct(q int))[]"),
        renames={"a": "b", "s": "t", "s.element.y.z": "q"},
    )
    assert ids(planned) == {
        "b": 1, "t": 2, "t.element": 3, "t.element.x": 4, "t.element.y": 5, "t.element.y.q": 6,
    }  # fmt: skip
    with pytest.raises(LakeError, match=r"no column 's.element.w'"):
        plan_schema(before, ORDERS, schema(a="bigint"), renames={"s.element.w": "q"})


def test_names_are_recognised_whatever_their_case() -> None:
    planned = plan_schema(state(schema(a="bigint")), ORDERS, schema(A="bigint"))
    assert ids(planned) == {"A": 1}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("integer", "bigint"),
        ("tinyint", "hugeint"),
        ("utinyint", "smallint"),
        ("decimal(4,1)", "decimal(12,1)"),
        ("integer[]", "bigint[]"),
        ("struct(x integer)", "struct(x bigint, y varchar)"),
        ("map(varchar, integer)", "map(varchar, bigint)"),
    ],
)
def test_types_widen(old: str, new: str) -> None:
    planned = plan_schema(state(schema(a=old)), ORDERS, schema(a=new))
    assert types(planned) == {"a": str(parse_type(new))}
    assert planned.columns[0].id == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("bigint", "integer"),
        ("varchar", "bigint"),
        ("bigint", "varchar"),
        ("decimal(12,2)", "decimal(12,3)"),
        ("decimal(4,1)", "decimal(12,2)"),
        ("integer", "double"),
        ("real", "double"),
        ("integer[]", "integer"),
        ("struct(x integer)", "struct(y integer)"),
        ("struct(x bigint)", "struct(x integer)"),
        ("map(integer, integer)", "map(bigint, integer)"),
    ],
)
def test_other_changes_are_refused_with_both_types(old: str, new: str) -> None:
    with pytest.raises(NotEvolvableError, match="Column 'a") as refused:
        plan_schema(state(schema(a=old)), ORDERS, schema(a=new))
    assert "Rebuild" in refused.value.hint


def test_what_may_be_null_stays_so_and_new_columns_of_rows_may_be() -> None:
    strict = (Column("a", parse_type("bigint"), nullable=False), Column("b", parse_type("bigint"), nullable=False))
    assert [column.nullable for column in plan_schema(None, ORDERS, strict).columns] == [False, False]
    assert [column.nullable for column in plan_schema(state(schema(a="bigint")), ORDERS, strict).columns] == [
        True,
        True,
    ]
    assert [column.nullable for column in plan_schema(state(strict[:1], rows=0), ORDERS, strict).columns] == [
        False,
        False,
    ]
    loose = schema(a="bigint")
    assert [column.nullable for column in plan_schema(state(strict[:1]), ORDERS, loose).columns] == [True]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ((Column("a", None),), "has no type"),
        ((Column("a", parse_type("date")), Column("A", parse_type("date"))), "two columns"),
        ((Column("file_index", parse_type("date")),), "used inside"),
        ((Column("__row", parse_type("date")),), "used inside"),
        ((), "no columns"),
    ],
)
def test_columns_that_no_table_can_have(columns: Schema, words: str) -> None:
    with pytest.raises(LakeError, match=words):
        plan_schema(None, ORDERS, columns)
