"""Casts of text: what is read is what was written, or nothing is."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal, InvalidOperation

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metalayer.core.names import literal
from metalayer.core.schema import parse_type
from metalayer.sources.casting import cast
from metalayer.sources.dialect import TextDialect, Writing
from sources.loading import DuckEngine

PLAIN = TextDialect()
GERMAN = TextDialect(decimal=",", thousands=".")


@pytest.fixture(scope="module")
def engine() -> DuckEngine:
    return DuckEngine()


def read(engine: DuckEngine, text: str, type_: str, writing: Writing = PLAIN) -> object:
    value = cast("given", parse_type(type_), writing)
    ((found,),) = engine.query(f"SELECT {value} FROM (SELECT {literal(text)} AS given)")
    return found


NUMBER_LIKE = st.text(alphabet="0123456789+-.,eE_xX ", min_size=1, max_size=24)


@settings(max_examples=300, deadline=None)
@given(text=NUMBER_LIKE, type_=st.sampled_from(["integer", "bigint", "hugeint", "decimal(18,2)", "decimal(38,10)"]))
def test_a_number_is_what_was_written_or_nothing(engine: DuckEngine, text: str, type_: str) -> None:
    found = read(engine, text, type_)
    if found is None:
        return
    try:
        written = Decimal(text.strip().replace("_", ""))
    except InvalidOperation:
        pytest.fail(f"{text!r} is no number, but {found} was read")
    assert math.isclose(written, Decimal(str(found)), rel_tol=1e-15)


@settings(max_examples=200, deadline=None)
@given(number=st.integers(-(10**18), 10**18))
def test_whole_numbers_are_read(engine: DuckEngine, number: int) -> None:
    assert read(engine, str(number), "bigint") == number
    assert read(engine, f"{number:,}".replace(",", "."), "bigint", GERMAN) == number


@settings(max_examples=200, deadline=None)
@given(number=st.decimals(-(10**13), 10**13, places=2))
def test_decimals_are_read(engine: DuckEngine, number: Decimal) -> None:
    assert read(engine, f"{number:f}", "decimal(18,2)") == number
    grouped = f"{number:,.2f}".translate(str.maketrans(",.", ".,"))
    assert read(engine, grouped, "decimal(18,2)", GERMAN) == number


@settings(max_examples=200, deadline=None)
@given(moment=st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9998, 12, 31)))  # noqa: DTZ001 - written without a zone
def test_dates_and_times_are_read(engine: DuckEngine, moment: dt.datetime) -> None:
    assert read(engine, moment.isoformat(), "timestamp") == moment
    assert read(engine, moment.isoformat(sep=" "), "timestamp") == moment
    assert read(engine, moment.date().isoformat(), "date") == moment.date()


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("1.7", "bigint"),
        ("1e-1", "bigint"),
        ("0x1F", "bigint"),
        ("9223372036854775808", "bigint"),
        ("300", "tinyint"),
        ("-1", "uinteger"),
        ("1,5", "double"),
        ("1e999", "double"),
        ("1.239", "decimal(12,2)"),
        ("12345678901.5", "decimal(12,2)"),
        ("2", "boolean"),
        ("2024-01-01 10:00:00", "date"),
        ("2024-01-01x", "date"),
        ("2024-02-30", "date"),
        ("2024-01-01 10:00:00+02", "timestamp"),
        ("2024-1-1 1:00:00+02", "timestamp"),
        ("10:00:00+02", "time"),
        ("x", "uuid"),
        ("{", "json"),
    ],
)
def test_what_would_lose_something_is_not_read(engine: DuckEngine, text: str, type_: str) -> None:
    assert read(engine, text, type_) is None


@pytest.mark.parametrize(
    ("text", "type_", "value"),
    [
        ("12.0", "bigint", 12),
        (" 12 ", "bigint", 12),
        ("1e3", "bigint", 1000),
        ("1.20000", "decimal(12,2)", Decimal("1.20")),
        (".5", "double", 0.5),
        ("yes", "boolean", True),
        ("2024-1-1", "date", dt.date(2024, 1, 1)),
        ("2024-01-01T00:00:00", "date", dt.date(2024, 1, 1)),
        ("2024-01-01T10:00:00Z", "timestamp", dt.datetime(2024, 1, 1, 10)),  # noqa: DTZ001 - written without a zone
        ("2024-01-01 10:00:00+02", "timestamptz", dt.datetime(2024, 1, 1, 8, tzinfo=dt.UTC)),
        ("[1,2]", "integer[]", [1, 2]),
    ],
)
def test_usual_other_forms_are_read(engine: DuckEngine, text: str, type_: str, value: object) -> None:
    assert read(engine, text, type_) == value


@pytest.mark.parametrize("text", ["1.5", "1,234.5", "1.23", "12.34", "1,2,3", ".123"])
def test_signs_of_another_dialect_have_no_meaning(engine: DuckEngine, text: str) -> None:
    assert read(engine, text, "decimal(18,3)", GERMAN) is None


def test_a_time_without_an_offset_is_local(engine: DuckEngine) -> None:
    berlin = TextDialect(timezone="Europe/Berlin")
    assert read(engine, "2024-07-01 10:00:00", "timestamptz", berlin) == dt.datetime(2024, 7, 1, 8, tzinfo=dt.UTC)
    assert read(engine, "2024-07-01 10:00:00+00", "timestamptz", berlin) == dt.datetime(2024, 7, 1, 10, tzinfo=dt.UTC)
