from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalayer.core.schema import parse_type
from metalayer.lake import LakeColumn, Statistics
from metalayer.lake.statistics import TableStatistics, _next_real, merge


def column(type_: str) -> LakeColumn:
    return LakeColumn(1, "a", parse_type(type_))


def found(least: str | None, most: str | None, values: int = 3, nulls: int = 0, nan: bool | None = None) -> Statistics:  # noqa: FBT001 - a field of a row
    return Statistics(1, 10, values, nulls, least, most, nan)


@pytest.mark.parametrize(
    ("type_", "files", "bounds"),
    [
        ("bigint", [("9", "10"), ("-2", "100")], ("-2", "100")),
        ("decimal(12,2)", [("9.50", "10.00"), ("-2.00", "9.99")], ("-2.00", "10.00")),
        ("double", [("-inf", "1e+300"), ("-5.0", "inf")], ("-inf", "inf")),
        ("varchar", [("B", "a"), ("", "ä")], ("", "ä")),
        ("date", [("2020-01-02", "2021-01-01"), ("0001-01-01", "2020-06-01")], ("0001-01-01", "2021-01-01")),
        ("timestamptz", [("2020-01-01 00:00:00.5+00", "2020-01-02 00:00:00.5+00"),
          ("2020-01-01 00:00:00+00", "2020-01-02 00:00:00+00")],
         ("2020-01-01 00:00:00+00", "2020-01-02 00:00:00.5+00")),
        ("date", [("2020-01-02", "12000-01-01"), ("2020-01-01", "2020-06-01")], ("2020-01-01", None)),
        ("date", [("0044-03-15 (BC)", "2020-01-01"), ("2020-01-01", "2020-06-01")], (None, "2020-06-01")),
        ("blob", [("00", "FF"), ("00", "FF")], (None, None)),
        ("bigint", [("1", "2"), (None, None)], (None, None)),
    ],
)  # fmt: skip
def test_bounds_hold_for_all_files_or_are_unknown(
    type_: str, files: list[tuple[str, str]], bounds: tuple[str | None, str | None]
) -> None:
    merged = merge(column(type_), None, [found(*file) for file in files])
    assert merged is not None
    assert (merged.minimum, merged.maximum) == bounds


def test_a_file_without_statistics_leaves_nothing_known() -> None:
    assert merge(column("bigint"), None, [found("1", "2"), None]) is None
    known = TableStatistics(1, contains_null=False, contains_nan=None, minimum="1", maximum="2")
    assert merge(column("bigint"), known, [None]) is None


def test_a_file_of_nulls_keeps_the_bounds() -> None:
    known = TableStatistics(1, contains_null=False, contains_nan=False, minimum="1", maximum="2")
    merged = merge(column("bigint"), known, [found(None, None, values=0, nulls=3, nan=False)])
    assert merged == TableStatistics(1, contains_null=True, contains_nan=False, minimum="1", maximum="2")


@given(st.floats(width=32, allow_nan=False))
def test_the_next_real_is_the_next_one(value: float) -> None:
    above, below = _next_real(value, math.inf), _next_real(value, -math.inf)
    assert below <= value <= above
    if not math.isinf(value):
        assert below < value < above
        assert _next_real(above, -math.inf) == value or math.isinf(above)
        assert _next_real(below, math.inf) == value or math.isinf(below)
