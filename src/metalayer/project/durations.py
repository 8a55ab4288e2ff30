"""Durations as declarations write them: a whole number and its unit."""

from __future__ import annotations

from datetime import timedelta

from metalayer.core.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_duration(text: str) -> timedelta:
    """Read a duration.

    Raises:
        UsageError: the text is none.

    >>> parse_duration("90m")
    datetime.timedelta(seconds=5400)
    """
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and int(number) > 0 and unit in _UNITS):
        raise UsageError(
            f"'{text}' is not a duration.", hint="Write a whole number and its unit: 30s, 15m, 2h, 7d or 1w."
        )
    try:
        return timedelta(seconds=int(number) * _UNITS[unit])
    except OverflowError:
        raise UsageError(
            f"'{text}' is longer than any duration.", hint="Write a shorter one, for example 52w."
        ) from None
