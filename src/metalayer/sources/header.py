"""The first records of a delimited file: which columns it has, and where its data begins.

Only a file's beginning is read, never its rows.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from metalayer.core.errors import SourceError
from metalayer.core.names import literal
from metalayer.core.source import Engine
from metalayer.sources.dialect import TextDialect, engine_encoding
from metalayer.sources.listing import engine_path

_BEGINNING = 1 << 16
_LONGEST = 1 << 22
_BIG_ENDIAN = b"\xfe\xff"


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before a file's data.

    Attributes:
        names: the columns' headers as written; empty where the file has no header.
        records: how many records to pass over to reach the data, comments not counted.
    """

    names: tuple[str, ...]
    records: int


def read_header(path: str, dialect: TextDialect, delimiter: str, engine: Engine) -> Header:
    """Return a file's header.

    Raises:
        SourceError: the beginning of the file cannot be read in the pinned dialect.
    """
    if not dialect.header:
        return Header((), dialect.skip)
    size = _BEGINNING
    while True:
        text, whole = _beginning(path, dialect, engine, size)
        found = _header(text, dialect, delimiter, whole=whole)
        if found is not None:
            return found
        if size >= _LONGEST:
            raise SourceError(
                "its header does not end within the first 4 MB",
                hint="Check the quote sign and the line ends of the file.",
            )
        size *= 8


def compression_of(path: str, dialect_compression: str) -> str:
    """Return how a file is compressed: as declared, or by its name."""
    if dialect_compression != "auto":
        return dialect_compression
    return {"gz": "gzip", "gzip": "gzip", "zst": "zstd", "zstd": "zstd"}.get(path.rsplit(".", 1)[-1].lower(), "none")


def _beginning(path: str, dialect: TextDialect, engine: Engine, size: int) -> tuple[str, bool]:
    """Return the first characters of a file, and whether that is all of it."""
    compression = compression_of(path, dialect.compression)
    if compression == "zstd":
        return beginning_by_engine(path, engine, size)
    try:
        with gzip.open(path) if compression == "gzip" else Path(path).open("rb") as file:
            data = file.read(size)
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the fault is not what is in the file
        raise SourceError(f"it cannot be read: {error}", hint="Write the file again, whole.") from error
    whole = len(data) < size
    if data.startswith(_BIG_ENDIAN) and engine_encoding(dialect.encoding) == "utf-16":
        raise SourceError("it is written in big-endian UTF-16, which cannot be read", hint="Pin `encoding: utf-16-be`.")
    encoding = "utf-8-sig" if dialect.encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else dialect.encoding
    if not whole and encoding.startswith("utf-16"):
        data = data[: len(data) - len(data) % 2]
    return data.decode(encoding, "replace"), whole


def beginning_by_engine(path: str, engine: Engine, size: int) -> tuple[str, bool]:
    """Return the first lines of a file that only the engine can decompress."""
    lines = size >> 10
    options = "auto_detect = false, header = false, delim = '\x01', quote = '', escape = '', strict_mode = false"
    file = f"read_csv({literal(engine_path(path))}, {options}, compression = 'zstd', columns = {{'line': 'VARCHAR'}})"
    rows = engine.query(f"SELECT line FROM {file} LIMIT {lines}")
    text = "".join(f"{line or ''}\n" for (line,) in rows)
    return text.removeprefix("\ufeff"), len(rows) < lines


def _header(text: str, dialect: TextDialect, delimiter: str, *, whole: bool) -> Header | None:
    """Return the header at the beginning of a text, or None where the text ends too soon to tell."""
    passed = 0
    for values, ended in records(text, dialect, delimiter):
        if not ended and not whole:
            return None
        if dialect.comment and values[0].startswith(dialect.comment):
            continue
        passed += 1
        if passed > dialect.skip and any(value.strip() for value in values):
            _refuse_garbled(values, dialect)
            return Header(tuple(values), passed)
    return Header((), passed) if whole else None


def _refuse_garbled(values: list[str], dialect: TextDialect) -> None:
    """Raise where a header was decoded into signs that no header holds: names must not be guessed from the rest."""
    if any("\ufffd" in value or "\0" in value for value in values):
        raise SourceError(
            f"its header is not written in {dialect.encoding}", hint="Convert the file, or correct `encoding`."
        )


def records(
    text: str, dialect: TextDialect, delimiter: str, *, limit: int | None = None
) -> Iterator[tuple[list[str], bool]]:
    """Yield each record of a text, or the first ``limit``, as its values, and whether its end was seen."""
    place, end = 0, len(text)
    stop = re.compile(f"[\r\n]|{re.escape(delimiter)}")
    inside = re.compile(f"[{re.escape(dialect.quote + dialect.escape)}]") if dialect.quote else None
    number = 0
    while place < end and number != limit:
        number += 1
        values: list[str] = []
        closed = False
        while True:
            value, place = _value(text, place, dialect, stop, inside)
            values.append(value)
            if text.startswith(delimiter, place):
                place += len(delimiter)
                continue
            if place < end:
                closed = True
                place += 2 if text.startswith("\r\n", place) else 1
            break
        yield values, closed


def _value(
    text: str, place: int, dialect: TextDialect, stop: re.Pattern[str], inside: re.Pattern[str] | None
) -> tuple[str, int]:
    """Return the value that begins at a place, and the place behind it."""
    found: list[str] = []
    if inside is not None and text.startswith(dialect.quote, place):
        place += 1
        while (sign := inside.search(text, place)) is not None:
            found.append(text[place : sign.start()])
            place = sign.start()
            if text[place : place + 2] == dialect.escape + dialect.quote:
                found.append(dialect.quote)
                place += 2
            elif text[place] == dialect.quote:
                place += 1
                break
            else:
                found.append(text[place])
                place += 1
        else:
            found.append(text[place:])
            place = len(text)
    ending = stop.search(text, place)
    behind = ending.start() if ending is not None else len(text)
    return "".join(found) + text[place:behind], behind
