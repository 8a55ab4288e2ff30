"""Values as JSON, CSV and text: nothing is lost, nothing commands the terminal, nothing is wider than the screen."""

from __future__ import annotations

import csv
import io
import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalayer.interfaces.cli.tables import Label, cells, cut, is_number, table
from metalayer.interfaces.cli.values import records, to_csv, to_json, to_text, visible

TEXT = st.text(st.characters(codec="utf-8"))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8)


@given(value=VALUES, ascii_only=st.booleans())
def test_json_is_read_back_as_it_was(value: object, *, ascii_only: bool) -> None:
    text = to_json(value, ascii_only=ascii_only)
    assert json.loads(text) == value
    assert "\n" not in text
    assert not ascii_only or text.isascii()


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_decimals_keep_all_their_digits(value: Decimal) -> None:
    assert json.loads(to_json(value), parse_float=Decimal, parse_int=Decimal) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 1, 31, 12, 0, tzinfo=UTC), '"2026-01-31T12:00:00Z"'),
        (
            datetime(2026, 1, 31, 12, 0, 0, 5),  # noqa: DTZ001 - a timestamp without a zone
            '"2026-01-31T12:00:00.000005"',
        ),
        (date(2026, 1, 31), '"2026-01-31"'),
        (time(23, 59), '"23:59:00"'),
        (timedelta(days=2, minutes=90), '"P2DT1H30M"'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (b"\xff\x00", '"/wA="'),
        (math.nan, "null"),
        (-math.inf, "null"),
        (Decimal("NaN"), "null"),
        (Decimal("1E+3"), "1000"),
        (2**80, "1208925819614629174706176"),
        ({1: True, date(2026, 1, 1): (None,)}, '{"1": true, "2026-01-01": [null]}'),
    ],
)
def test_json_of_what_json_does_not_know(value: object, text: str) -> None:
    assert to_json(value) == text


@given(st.lists(st.fixed_dictionaries({"a": SCALARS, 'b "c"': SCALARS}), max_size=3))
def test_records_are_one_array_of_objects(rows: list[dict[str, object]]) -> None:
    columns = ["a", 'b "c"']
    assert json.loads("".join(records(columns, [[row[name] for name in columns] for row in rows]))) == rows


def test_columns_of_one_name_are_told_apart() -> None:
    assert "".join(records(["a", "a", "b", "a_2"], [[1, 2, 3, 4]])) == '[{"a": 1, "a_2": 2, "b": 3, "a_2_2": 4}]\n'


@given(st.lists(TEXT, min_size=2, max_size=4))
def test_csv_is_read_back_as_it_was(row: list[str]) -> None:
    assert next(csv.reader(io.StringIO(to_csv(row) + "\n", newline=""))) == row


def test_csv_tells_null_from_empty() -> None:
    assert to_csv([None, ""]) == ',""'


@given(TEXT)
def test_text_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    shown = to_text(text)
    assert not any(letter < " " or "\x7f" <= letter <= "\x9f" for letter in shown)
    assert visible(shown) == shown


@given(st.lists(st.lists(TEXT | st.none() | st.integers(), min_size=3, max_size=3), max_size=4), st.integers(10, 60))
def test_a_table_is_no_wider_than_the_screen(rows: list[list[object]], width: int) -> None:
    lines = table(("first", "second", "third"), rows, width=width)
    told = [line for line in lines if not line.startswith("… and ")]
    assert len(told) == len(rows) + 2
    assert all(cells(click.unstyle(line)) <= width for line in told)


def test_numbers_stand_to_the_right_and_null_is_told_from_its_name() -> None:
    lines = [
        click.unstyle(line) for line in table(("n", "text"), [(5, "NULL"), (1234, None), (None, "")], right=(True,))
    ]
    assert lines == ["   n  text", "────  ──────", '   5  "NULL"', "1234  NULL", 'NULL  ""']


def test_a_label_shows_just_what_it_says() -> None:
    assert [click.unstyle(line) for line in table(("a",), [[Label("")], [Label("NULL")]])][2:] == ["", "NULL"]


@pytest.mark.parametrize(
    ("type_", "number"),
    [
        ("bigint", True),
        ("decimal(12,2)", True),
        ("double", True),
        ("bigint[]", False),
        ("varchar", False),
        ("interval", False),
    ],
)
def test_which_types_are_numbers(type_: str, *, number: bool) -> None:
    assert is_number(type_) is number


def test_cutting_counts_cells() -> None:
    assert cut("データベース", 5) == "デー…"
