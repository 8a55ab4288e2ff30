"""How a text file is written: what its declaration pins, so that no file is ever guessed at again.

These are values with their rules; nothing here reads a file.
"""

from __future__ import annotations

import codecs
import zoneinfo
from dataclasses import dataclass, field
from typing import Literal

from metalayer.core.errors import UsageError, did_you_mean

Compression = Literal["auto", "none", "gzip", "zstd"]

_ENCODINGS = {"utf-8": "utf-8", "utf-8-sig": "utf-8", "ascii": "utf-8", "iso8859-1": "latin-1", "utf-16": "utf-16"}
"""Python's names of the encodings that the engine reads, and the engine's own."""


@dataclass(frozen=True, slots=True)
class Writing:
    """How values are written as text, whatever the file's format.

    Attributes:
        date: the form of dates, for example ``%d.%m.%Y``; empty means ISO 8601.
        timestamp: the form of timestamps, for example ``%d.%m.%Y %H:%M``; empty means ISO 8601.
        timezone: where timestamps without an offset were written, for columns of type timestamptz.
    """

    date: str = ""
    timestamp: str = ""
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class JsonDialect(Writing):
    """How JSON files are written.

    Attributes:
        compression: ``auto`` goes by the file's name (``.gz``, ``.zst``).
    """

    compression: Compression = "auto"

    def __post_init__(self) -> None:
        """Refuse a time zone that does not exist."""
        _refuse_unknown_zone(self.timezone)


@dataclass(frozen=True, slots=True)
class TextDialect(Writing):
    """How delimited files are written.

    Attributes:
        delimiter: what stands between two values; None is the type's own (a comma, or a tab for tsv).
        quote: what encloses values that hold the delimiter or a line's end; empty where nothing does.
        escape: what stands before a quote inside a quoted value.
        header: whether the first record names the columns; without it the declared columns stand in order.
        skip: records before the header that are no data.
        comment: what begins a comment; empty where there are none.
        encoding: utf-8, utf-16 or latin-1, which the engine reads itself, or any other that Python knows.
        decimal: the decimal sign.
        thousands: the sign between groups of digits; empty where there is none.
        nulls: texts that mean "no value", quoted or not.
        compression: ``auto`` goes by the file's name (``.gz``, ``.zst``).
    """

    delimiter: str | None = None
    quote: str = '"'
    escape: str = '"'
    header: bool = True
    skip: int = 0
    comment: str = ""
    encoding: str = "utf-8"
    decimal: str = "."
    thousands: str = ""
    nulls: tuple[str, ...] = field(default=("",))
    compression: Compression = "auto"

    def __post_init__(self) -> None:
        """Refuse what the engine could not read."""
        _refuse_unknown_zone(self.timezone)
        engine_encoding(self.encoding)
        _one("quote", self.quote, empty=True)
        _one("escape", self.escape, empty=True)
        _one("comment", self.comment, empty=True)
        _one("decimal", self.decimal)
        _one("thousands", self.thousands, empty=True)
        if self.delimiter is not None and not 1 <= len(self.delimiter.encode()) <= 4:
            raise UsageError(
                f"The delimiter '{self.delimiter}' is not of 1 to 4 bytes.",
                hint="Write the sign between values, for example ';' or \"\\t\".",
            )
        if self.decimal == self.thousands:
            raise UsageError(
                "The decimal sign and the thousands sign are the same.", hint="Correct `decimal` or `thousands`."
            )
        signs = [sign for sign in (self.quote, self.escape, self.delimiter) if sign]
        if wrong := next((text for text in self.nulls if any(sign in text for sign in signs)), None):
            raise UsageError(
                f"'{wrong}' cannot mean that there is no value: it holds the quote, the escape or the delimiter.",
                hint="Take it out of `nulls`.",
            )
        if self.skip < 0:
            raise UsageError("`skip` is negative.", hint="Write how many records stand before the header.")


def _refuse_unknown_zone(timezone: str) -> None:
    known = zoneinfo.available_timezones() if timezone != "UTC" else set()
    if known and timezone not in known:
        raise UsageError(
            f"There is no time zone '{timezone}'.",
            hint=f"{did_you_mean(timezone, known)}Write a name such as Europe/Berlin or UTC.",
        )


def _one(key: str, value: str, *, empty: bool = False) -> None:
    """Refuse what is not one character."""
    if len(value) == 1 or (empty and not value):
        return
    raise UsageError(
        f"`{key}` should be one character, not '{value}'.", hint=f"Write one sign, for example {key}: ','."
    )


def engine_encoding(encoding: str) -> str:
    """Return the engine's name of the encoding in which it reads a file, which may be that of its copy.

    Raises:
        UsageError: there is no such encoding.

    >>> engine_encoding("ISO-8859-1"), engine_encoding("windows-1252")
    ('latin-1', 'utf-8')
    """
    return _ENCODINGS.get(_codec(encoding), "utf-8")


def is_copied(encoding: str) -> bool:
    """Tell whether the engine does not read an encoding, so that it is given a copy in utf-8."""
    return _codec(encoding) not in _ENCODINGS


def _codec(encoding: str) -> str:
    try:
        found = codecs.lookup(encoding)
        "".encode(encoding)  # an encoding of bytes to bytes is none
    except LookupError as error:
        raise UsageError(
            f"There is no encoding '{encoding}'.",
            hint=f"{did_you_mean(encoding, _ENCODINGS.values())}Use utf-8, utf-16, latin-1, windows-1252 or another "
            "that Python knows.",
        ) from error
    return found.name
