"""Statistics of columns: taken from what the engine reports, and merged so that a reader never skips a row.

Rule: nothing known is always allowed; a bound that does not bound is a lost row. What cannot be compared with certainty
becomes unknown.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from metalayer.core.schema import DataType, Scalar
from metalayer.lake.values import LakeColumn, Statistics, TableSchema

_INTEGERS = frozenset(
    [
        "tinyint",
        "smallint",
        "integer",
        "bigint",
        "hugeint",
        "utinyint",
        "usmallint",
        "uinteger",
        "ubigint",
        "uhugeint",
        "boolean",
    ]
)
_FLOATS = frozenset({"real", "double"})
_TEXTS = frozenset({"varchar", "json", "uuid"})
_TIMES = frozenset(["date", "time", "timestamp", "timestamptz", "timestamp_s", "timestamp_ms", "timestamp_ns"])
# Texts of this form sort as the times they mean; years before 1 or of more digits do not, and are left unknown.
_SORTABLE_TIME = re.compile(r"(\d{4}-\d\d-\d\d)?( ?\d\d:\d\d:\d\d(\.\d+)?(\+00)?)?")


def file_statistics(
    schema: TableSchema, reported: Mapping[str, Mapping[str, str]], without: frozenset[str]
) -> tuple[Statistics, ...]:
    """Return the statistics that a written file's columns have, but of the top-level columns in ``without``.

    ``reported`` is the engine's own report: by quoted path of names, texts by kind.
    """
    leaves = schema.leaves()
    kept = []
    for path, values in reported.items():
        names = _split(path)
        column = leaves.get(names)
        if column is None or names[0] in without:
            continue
        nulls = int(values.get("null_count", 0))
        kept.append(
            Statistics(
                column_id=column.id,
                size=int(values.get("column_size_bytes", 0)),
                values=max(int(values.get("num_values", 0)) - nulls, 0),
                nulls=nulls,
                minimum=_bound(column.type, values.get("min"), -math.inf),
                maximum=_bound(column.type, values.get("max"), math.inf),
                has_nan=values["has_nan"] == "true" if "has_nan" in values else None,
            )
        )
    return tuple(kept)


def _bound(type_: DataType, text: str | None, outward: float) -> str | None:
    """Return a bound as the catalog can keep it and readers compare it; None where that is not certain.

    PostgreSQL's texts hold no NUL. The shortest text of a real is not its value, and DuckLake's extension compares a
    filter's text with it: it was seen to miss 1e30 in files of its own. So a real's bound is one step further out.
    """
    if text is None or "\0" in text:
        return None
    return repr(_next_real(float(text), outward)) if type_ == Scalar("real") else text


def _next_real(value: float, towards: float) -> float:
    """Return the next 32-bit floating point number in a direction."""
    if math.isinf(value):
        return value
    bits: int
    (bits,) = struct.unpack("<i", struct.pack("<f", value))
    # Read as integers, the numbers of one sign are in order of their size.
    if value == 0:
        bits = 1 if towards > 0 else -0x7FFFFFFF
    else:
        bits += 1 if (towards > 0) == (value > 0) else -1
    (found,) = struct.unpack("<f", struct.pack("<i", bits))
    return float(found)


def _split(path: str) -> tuple[str, ...]:
    """Return the names of a path of quoted names with dots between."""
    return tuple(name.replace('""', '"') for name in re.findall(r'"((?:[^"]|"")*)"', path))


@dataclass(frozen=True, slots=True)
class TableStatistics:
    """What is known of one column's values in every file a table ever had."""

    column_id: int
    contains_null: bool
    contains_nan: bool | None
    minimum: str | None
    maximum: str | None


def merge(
    column: LakeColumn, known: TableStatistics | None, files: Iterable[Statistics | None]
) -> TableStatistics | None:
    """Return what is known after files were added; None where nothing may be said of the column any more.

    Args:
        column: the column.
        known: what was known before; None where these are the table's first files.
        files: of each added file its statistics of the column, None where it has none.
    """
    merged = known
    for file in files:
        if file is None:
            return None
        found = TableStatistics(file.column_id, file.nulls > 0, file.has_nan, file.minimum, file.maximum)
        bounds = file.values > 0 or file.nulls == 0
        merged = found if merged is None else _joined(column.type, merged, found, bounds=bounds)
    return merged


def _joined(type_: DataType, one: TableStatistics, two: TableStatistics, *, bounds: bool) -> TableStatistics:
    """Return what holds of both; a file of NULLs alone (not ``bounds``) has no bounds to join."""
    contains_nan = (
        None if one.contains_nan is None or two.contains_nan is None else one.contains_nan or two.contains_nan
    )
    minimum, maximum = one.minimum, one.maximum
    if bounds:
        order = _order(type_)
        minimum, maximum = _chosen(min, minimum, two.minimum, order), _chosen(max, maximum, two.maximum, order)
    return TableStatistics(one.column_id, one.contains_null or two.contains_null, contains_nan, minimum, maximum)


_Order = Callable[[str], Any]


def _chosen(choose: Callable[..., str], one: str | None, two: str | None, order: _Order | None) -> str | None:
    if one is None or two is None or order is None:
        return None
    try:
        return choose(one, two, key=order)
    except ValueError:  # a text that does not sort as the value it means
        return None


def _order(type_: DataType) -> _Order | None:
    """Return what makes texts of a type comparable; None where nothing does."""
    if not isinstance(type_, Scalar):
        return None
    name = type_.name
    if name in _INTEGERS:
        return int
    if name == "decimal":
        return _decimal
    if name in _FLOATS:
        return _finite
    if name in _TEXTS:
        return str.encode
    return _time if name in _TIMES else None


def _decimal(text: str) -> Decimal:
    if not re.fullmatch(r"-?\d+(\.\d+)?", text):
        raise ValueError(text)
    return Decimal(text)


def _finite(text: str) -> float:
    value = float(text)
    if value != value:  # noqa: PLR0124 - NaN is what is looked for
        raise ValueError(text)
    return value


def _time(text: str) -> str:
    if not _SORTABLE_TIME.fullmatch(text):
        raise ValueError(text)
    return text
