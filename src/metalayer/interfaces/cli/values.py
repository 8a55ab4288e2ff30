"""Values as JSON, CSV and text.

In JSON a decimal is a number with all its digits, a moment is ISO 8601, bytes are base64, an interval is text, and NaN
and the infinities, which JSON does not know, are null. Text is for eyes: what a terminal would obey is escaped.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from json.encoder import encode_basestring, encode_basestring_ascii

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_TO_BE_QUOTED = re.compile(r'[",\r\n]|^$|^\s|\s$')


def to_json(value: object, *, ascii_only: bool = False) -> str:
    r"""Return a value as JSON on one line.

    >>> print(to_json({"n": Decimal("10.50"), "at": date(2026, 1, 31), "raw": b"\x00", "lost": float("nan")}))
    {"n": 10.50, "at": "2026-01-31", "raw": "AA==", "lost": null}
    """
    string = encode_basestring_ascii if ascii_only else encode_basestring

    def write(item: object) -> str:
        match item:
            case None:
                return "null"
            case Enum():
                return write(item.value)
            case str():
                return string(item)
            case bool():
                return "true" if item else "false"
            case int():
                return str(item)
            case float():
                return repr(item) if math.isfinite(item) else "null"
            case Decimal():
                return format(item, "f") if item.is_finite() else "null"
            case Mapping():
                return "{" + ", ".join(f"{string(_key(key))}: {write(part)}" for key, part in item.items()) + "}"
            case list() | tuple():
                return "[" + ", ".join(map(write, item)) + "]"
            case bytes() | bytearray() | memoryview():
                return string(base64.b64encode(item).decode())
            case _:
                return string(_plain(item))

    return write(value)


def _key(key: object) -> str:
    """Return a key of a map as JSON can hold it: as text."""
    return key if isinstance(key, str) else _plain(key)


def _plain(value: object) -> str:
    match value:
        case datetime():
            text = value.isoformat()
            return text[: -len("+00:00")] + "Z" if text.endswith("+00:00") else text
        case date() | time():
            return value.isoformat()
        case timedelta():
            return _interval(value)
        case Decimal():
            return format(value, "f") if value.is_finite() else str(value)
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)


def _interval(value: timedelta) -> str:
    """Return an interval as ISO 8601 writes it.

    >>> _interval(timedelta(days=1, hours=2, seconds=3.5)), _interval(timedelta(0)), _interval(-timedelta(hours=1))
    ('P1DT2H3.5S', 'PT0S', '-PT1H')
    """
    if value < timedelta(0):
        return "-" + _interval(-value)
    minutes, seconds = divmod(Decimal(value.seconds) + Decimal(value.microseconds) / 1_000_000, 60)
    hours, minutes = divmod(minutes, 60)
    day = f"{value.days}D" if value.days else ""
    clock = "".join(
        f"{format(amount.normalize(), 'f')}{unit}"
        for amount, unit in ((hours, "H"), (minutes, "M"), (seconds, "S"))
        if amount
    )
    return f"P{day}T{clock}" if clock else f"P{day}" if day else "PT0S"


def to_text(value: object) -> str:
    r"""Return a value for eyes, on one line: NULL is `NULL`, and a text that says so, or nothing, is quoted.

    >>> to_text(None), to_text("NULL"), to_text(""), to_text("two\nlines"), to_text("\x1b[31m")
    ('NULL', '"NULL"', '""', 'two\\nlines', '\\x1b[31m')
    """
    match value:
        case None:
            return "NULL"
        case str():
            return visible(value) if value and value != "NULL" else f'"{value}"'
        case float():
            return repr(value)
        case bytes() | bytearray() | memoryview():
            return "\\x" + bytes(value).hex()
        case Mapping() | list() | tuple():
            return visible(to_json(value))
        case _:
            return visible(_plain(value))


def visible(text: str) -> str:
    """Return a text with everything that a terminal would obey as its escape sequence."""
    return _CONTROL.sub(lambda found: _NAMED.get(found[0]) or _escaped(found[0]), text)


def _escaped(character: str) -> str:
    return f"\\x{ord(character):02x}" if ord(character) < 0x100 else f"\\u{ord(character):04x}"


def to_csv(row: Iterable[object]) -> str:
    """Return one line of CSV: NULL is empty, an empty text is quoted.

    >>> to_csv([1, None, "", "a,b"])
    '1,,"","a,b"'
    """
    return ",".join(map(_csv, row))


def _csv(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            text = value
        case float():
            return repr(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case Mapping() | list() | tuple():
            text = to_json(value)
        case _:
            text = _plain(value)
    return '"' + text.replace('"', '""') + '"' if _TO_BE_QUOTED.search(text) else text


def records(columns: Sequence[str], rows: Iterable[Sequence[object]], *, ascii_only: bool = False) -> Iterable[str]:
    """Yield one JSON array of objects in pieces, an object a line; columns of one name are told apart by a number."""
    names = [to_json(name, ascii_only=ascii_only) for name in _distinct(columns)]
    yield "["
    for number, row in enumerate(rows):
        fields = ", ".join(
            f"{name}: {to_json(item, ascii_only=ascii_only)}" for name, item in zip(names, row, strict=True)
        )
        yield (",\n " if number else "") + "{" + fields + "}"
    yield "]\n"


def _distinct(names: Iterable[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        free, number = name, 2
        while free in found:
            free, number = f"{name}_{number}", number + 1
        found.append(free)
    return found
