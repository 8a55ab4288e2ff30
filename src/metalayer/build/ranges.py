"""Ranges (kind `time_range`): rows by intervals of time, each a day in the project's timezone. Pure: it writes SQL.

The rule: an interval that the query yields rows of holds exactly these; all others keep theirs. With a lookback, an
interval that the table holds and that lies further back than the lookback from the table's newest keeps its rows too,
whatever the query yields for it.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from metalayer.build.history import time_of
from metalayer.core.interval import Days
from metalayer.core.model import Model
from metalayer.core.names import literal, quote
from metalayer.core.schema import Scalar, Schema


def interval_of(model: Model, columns: Schema, timezone: str, row: str = "") -> str:
    """Return the SQL of the interval that a row lies in; a moment is looked at in the project's timezone.

    Raises:
        BuildError: the time column is not there, or holds no time.
    """
    name = time_of(model, columns)
    (type_,) = [column.type for column in columns if column.name == name]
    value = f"{row}.{quote(name)}" if row else quote(name)
    if isinstance(type_, Scalar) and type_.name == "timestamptz":
        value = f"{value} AT TIME ZONE {literal(timezone)}"
    return f"CAST({value} AS DATE)"


def of_days(model: Model, select: str, columns: Schema, timezone: str, days: Days) -> str:
    """Return the query's rows of some days; rows that have no time are of none.

    The bare time column is bounded as well, so that files and row groups of other days need not be read; a moment by a
    day more on both sides, since no timezone is further from UTC.
    """
    time = quote(time_of(model, columns))
    (type_,) = [column.type for column in columns if column.name == model.time]
    if isinstance(type_, Scalar) and type_.name == "timestamptz":
        first, after = days.first - timedelta(days=1), days.last + timedelta(days=2)
        bounds = [f"TIMESTAMPTZ {literal(f'{day.isoformat()} 00:00:00+00')}" for day in (first, after)]
    else:
        bounds = [f"DATE {literal(day.isoformat())}" for day in (days.first, days.last + timedelta(days=1))]
    interval = interval_of(model, columns, timezone)
    return (
        f"SELECT * FROM ({select}) WHERE {time} >= {bounds[0]} AND {time} < {bounds[1]} "
        f"AND {interval} BETWEEN DATE {literal(days.first.isoformat())} AND DATE {literal(days.last.isoformat())}"
    )


def open_since(newest: date, lookback: timedelta) -> date:
    """Return the first interval that a lookback reaches into.

    >>> open_since(date(2026, 3, 10), timedelta(hours=36))
    datetime.date(2026, 3, 8)
    """
    try:
        return (datetime.combine(newest, datetime.min.time()) - lookback).date()
    except OverflowError:
        return date.min


def within(select: str, interval: str, held: str, newest: date | None, lookback: timedelta | None) -> str:
    """Return the query's rows that may be restated: those of open intervals, and of intervals the table lacks.

    ``held`` is the SELECT of the intervals that the table holds.
    """
    if newest is None or lookback is None:
        return select
    since = open_since(newest, lookback)
    return (
        f"SELECT * FROM ({select}) WHERE ({interval} >= DATE {literal(since.isoformat())}) IS NOT FALSE "
        f"OR {interval} NOT IN ({held})"
    )
