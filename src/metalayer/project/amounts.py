"""Durations, amounts of memory and other settings with a grammar of their own, as files and variables write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from metalayer.core.errors import UsageError, did_you_mean

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


def parse_moment(text: str) -> datetime:
    """Read a moment; one without a zone is in UTC.

    Raises:
        UsageError: the text is none.

    >>> parse_moment("2026-03-01T09:00:00Z")
    datetime.datetime(2026, 3, 1, 9, 0, tzinfo=datetime.timezone.utc)
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"'{text}' is not a moment.", hint="Write date and time, for example 2026-03-01T09:00:00Z."
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def parse_keep(text: str) -> str:
    """Return a text that is a duration.

    Raises:
        UsageError: the text is none.
    """
    parse_duration(text)
    return text


def parse_memory(text: str) -> str:
    """Return a text that is an amount of memory.

    Raises:
        UsageError: the text is none.
    """
    if not re.fullmatch(r"[1-9][0-9]*(?:\.[0-9]+)?\s?[KMGT]i?B", text):
        raise UsageError(f"'{text}' is not an amount of memory.", hint="Write a number and its unit: 512MB or 4GB.")
    return text


Compression = Literal["zstd", "snappy", "gzip", "lz4", "uncompressed"]
"""The codecs in which data files can be written."""


def parse_compression(text: str) -> str:
    """Return a text that is a codec of data files.

    Raises:
        UsageError: the text is none.
    """
    known = get_args(Compression)
    if text not in known:
        raise UsageError(
            f"'{text}' is not a compression.", hint=f"{did_you_mean(text, known)}Write one of: {', '.join(known)}."
        )
    return text


def bytes_of(text: str) -> int:
    """Return an amount of memory in bytes, as the engine counts them.

    >>> bytes_of("1.5 GB"), bytes_of("2GiB")
    (1500000000, 2147483648)
    """
    number, unit = text.rstrip("KMGTiB "), text.lstrip("0123456789. ")
    factor: int = (1024 if "i" in unit else 1000) ** ("KMGT".index(unit[0]) + 1)
    return round(float(number) * factor)
