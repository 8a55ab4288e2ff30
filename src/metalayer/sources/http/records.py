"""Finds the records in a page of JSON: each as its own text, exactly as it came, and decoded beside it.

A page has to be decoded anyway, to know that it is whole and what comes next; while that is done, the places where
records begin and end are noted. The text between goes to the engine unchanged: digits and the order of fields stay.
"""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from metalayer.core.errors import UsageError

_SCAN = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # the C scanner: a value and where it ends
_SPACE = re.compile(r"[ \t\n\r]*").match
_STEP = re.compile(r'\.?(?:([^.\[\]"]+)|"([^"]+)"|\[(\d+|\*)\])')

Path = tuple[str | int, ...]
EVERY = "*"


class BrokenPageError(Exception):
    """A page is not what it should be; it may be whole when it is asked for again."""


class MissingRecordsError(Exception):
    """A page is whole, but has no records where they should be. The message says what it has."""


@dataclass(frozen=True, slots=True)
class Found:
    """A page.

    Attributes:
        records: the text of each record and its decoded value.
        rest: the page without its records.
    """

    records: Sequence[tuple[str, Any]]
    rest: Any


@cache
def parse_path(text: str) -> Path:
    """Return the steps of a path: names with dots between, ``[0]`` or ``[*]`` for elements of lists.

    Raises:
        UsageError: it is none.

    >>> parse_path("data.items"), parse_path('$.results[0]."a.b"'), parse_path("days[*].hours"), parse_path("")
    (('data', 'items'), ('results', 0, 'a.b'), ('days', '*', 'hours'), ())
    """
    rest = text.removeprefix("$").removeprefix(".")
    steps: list[str | int] = []
    place = 0
    while place < len(rest):
        step = _STEP.match(rest, place)
        if step is None:
            raise UsageError(
                f"'{text}' is no path into a response.",
                hint="Write names with dots between: data.items, results[0].rows.",
            )
        name, quoted, number = step.groups()
        steps.append(name or quoted or (int(number) if number != EVERY else EVERY))
        place = step.end()
    return tuple(steps)


def value_at(value: Any, path: Path) -> Any:
    """Return what lies at a path, None where nothing does.

    >>> value_at({"meta": {"next": [1, 2]}}, ("meta", "next", 1))
    2
    """
    for step in path:
        if isinstance(step, int):
            value = (
                value[step]
                if isinstance(value, Sequence) and not isinstance(value, str) and step < len(value)
                else None
            )
        else:
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is None:
            return None
    return value


def split(text: str, path: Path) -> Found:
    """Return the records of a page of JSON.

    Raises:
        BrokenPageError: it is no JSON, or ends too soon.
        MissingRecordsError: there is nothing at the path.
    """
    if "\n" in text or "\r" in text:  # only ever between values: inside texts they are escaped
        text = text.replace("\n", " ").replace("\r", " ")
    records: list[tuple[str, Any]] = []
    collects = gc.isenabled()
    gc.disable()  # decoded values refer to nothing above them: to look for circles costs as much as to decode them
    try:
        rest, end = _walk(text, _SPACE(text, 0).end(), path, records)  # type: ignore[union-attr]
    except (StopIteration, IndexError, ValueError, RecursionError):
        raise BrokenPageError("it is not valid JSON, or ends too soon") from None
    finally:
        if collects:
            gc.enable()
    if _SPACE(text, end).end() != len(text):  # type: ignore[union-attr]
        raise BrokenPageError("something stands behind its JSON")
    return Found(records, rest)


def _walk(text: str, at: int, path: Path, records: list[tuple[str, Any]]) -> tuple[Any, int]:
    """Decode the value at a place, noting the records at a path below it; return it less these, and where it ends."""
    if not path:
        return _take(text, at, records)
    step, sign = path[0], text[at]
    if isinstance(step, str) and step != EVERY and sign == "{":
        return _object(text, at, path, records)
    if (isinstance(step, int) or step == EVERY) and sign == "[":
        return _list(text, at, path, records)
    value, _ = _SCAN(text, at)
    if value is None:
        return _SCAN(text, at)  # type: ignore[no-any-return]
    raise MissingRecordsError(f"there is no '{step}': it is {_kind(value)}")


def _object(text: str, at: int, path: Path, records: list[tuple[str, Any]]) -> tuple[Any, int]:
    rest: dict[str, Any] = {}
    found = False
    at = _skip(text, at + 1)
    while text[at] != "}":
        if text[at] != '"':
            raise ValueError(at)
        name, at = _SCAN(text, at)
        at = _expect(text, at, ":")
        if name == path[0]:
            found = True
            rest[name], at = _walk(text, at, path[1:], records)
        else:
            rest[name], at = _SCAN(text, at)
        at = _next(text, at, "}")
    if not found:
        has = ", ".join(list(rest)[:8]) or "nothing"
        raise MissingRecordsError(f"there is no '{path[0]}'; it has: {has}")
    return rest, at + 1


def _list(text: str, at: int, path: Path, records: list[tuple[str, Any]]) -> tuple[Any, int]:
    rest: list[Any] = []
    at = _skip(text, at + 1)
    while text[at] != "]":
        if path[0] in {EVERY, len(rest)}:
            value, at = _walk(text, at, path[1:], records)
        else:
            value, at = _SCAN(text, at)
        rest.append(value)
        at = _next(text, at, "]")
    if isinstance(path[0], int) and path[0] >= len(rest):
        raise MissingRecordsError(f"there is no element {path[0]}")
    return rest, at + 1


def _take(text: str, at: int, records: list[tuple[str, Any]]) -> tuple[Any, int]:
    """Note what lies at the end of the path: each element of a list, an object alone, nothing for null."""
    if text[at] != "[":
        value, end = _SCAN(text, at)
        if value is None:
            return None, end
        if not isinstance(value, dict):
            raise MissingRecordsError(f"where records should be there is {_kind(value)}")
        records.append((text[at:end], value))
        return {}, end
    at = _skip(text, at + 1)
    scan, note, follows = _SCAN, records.append, text.startswith
    while text[at] != "]":
        value, end = scan(text, at)
        note((text[at:end], value))
        # Most writers put a comma and at most one space between records.
        at = end + 1 if follows(",{", end) else end + 2 if follows(", {", end) else _next(text, end, "]")
    return [], at + 1


def _skip(text: str, at: int) -> int:
    return _SPACE(text, at).end()  # type: ignore[union-attr]


def _expect(text: str, at: int, sign: str) -> int:
    at = _skip(text, at)
    if text[at] != sign:
        raise ValueError(at)
    return _skip(text, at + 1)


def _next(text: str, at: int, close: str) -> int:
    """Return where the next member or element begins, or the sign that closes."""
    at = _skip(text, at)
    if text[at] == ",":
        at = _skip(text, at + 1)
        if text[at] == close:
            raise ValueError(at)
        return at
    if text[at] != close:
        raise ValueError(at)
    return at


def _kind(value: object) -> str:
    match value:
        case bool():
            return "a truth value"
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"
