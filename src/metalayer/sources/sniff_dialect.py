"""How delimited files that nobody has declared are written, told by their first characters.

Nothing but beginnings is looked at, and nothing is asked of the engine that the text itself tells.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from metalayer.core.errors import SourceError
from metalayer.core.source import Engine
from metalayer.sources.dialect import TextDialect
from metalayer.sources.header import beginning_by_engine, compression_of, records
from metalayer.sources.listing import Found

Common = TypeVar("Common", bound=Hashable)

_BEGINNING = 1 << 18
_DELIMITERS = (",", ";", "\t", "|")


def decoded(file: Found, engine: Engine) -> tuple[str, str]:
    """Return a file's first characters and its encoding.

    Raises:
        SourceError: the file cannot be read, or is in an encoding that the engine does not know.
    """
    compression = compression_of(file.path, "auto")
    if compression == "zstd":
        return beginning_by_engine(file.path, engine, _BEGINNING)[0], "utf-8"
    try:
        with gzip.open(file.path) if compression == "gzip" else Path(file.path).open("rb") as handle:
            data = handle.read(_BEGINNING)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{file.name} cannot be read: {error}.", hint="Write the file again, whole.") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data[: len(data) & ~1].decode("utf-16", "replace"), "utf-16"
    whole = data if len(data) < _BEGINNING else data[: data.rfind(b"\n") + 1] or data
    try:
        return whole.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError as error:
        if any(0x80 <= byte < 0xA0 for byte in data):
            raise SourceError(
                f"{file.name} is written in neither utf-8, utf-16 nor latin-1 (windows-1252, perhaps).",
                hint=f"Convert it first: iconv -f windows-1252 -t utf-8 {file.name} > OUT",
            ) from error
    return whole.decode("latin-1"), "latin-1"


def common(values: Iterable[Common]) -> Common:
    """Return the most frequent value, the first of equals."""
    listed = list(values)
    return max(dict.fromkeys(listed), key=listed.count)


def written(texts: Sequence[str], encoding: str) -> TextDialect:
    """Return the dialect that gives the most regular table: what counts is records of one width, and many values."""
    best, chosen = (0.0, 0), TextDialect(delimiter=",", encoding=encoding)
    for quote in ('"', "'"):
        # Where quotes are doubled, a single one behind a backslash closes its value: only an end can follow it.
        inner = re.compile(rf"\\{quote}[^{quote},;\t|\r\n]")
        escape = "\\" if any(inner.search(text) for text in texts) else quote
        if quote == "'" and not any(f"{quote}{sign}{quote}" in text for text in texts for sign in _DELIMITERS):
            continue  # an apostrophe is a quote only where values stand side by side in them
        for delimiter in _DELIMITERS:
            dialect = TextDialect(delimiter=delimiter, quote=quote, escape=escape, encoding=encoding)
            widths = [len(record) for text in texts for record in first_records(text, dialect)]
            usual = common(widths) if widths else 0
            score = (widths.count(usual) / len(widths) if usual > 1 else 0.0, usual)
            if score > best:
                best, chosen = score, dialect
    return _with_header(chosen, [first_records(text, chosen) for text in texts])


def first_records(text: str, dialect: TextDialect) -> list[list[str]]:
    """Return the first records of a text, a last one that may be cut off not among them."""
    found: list[list[str]] = []
    for values, ended in records(text, dialect, dialect.delimiter or ","):
        if ended or not found:
            found.append(values)
        if len(found) == 200:
            break
    return found


def _with_header(dialect: TextDialect, files: Sequence[list[list[str]]]) -> TextDialect:
    """Return the dialect with what stands before the data: comments, lines that are none, and whether names do."""
    rows = next((rows for rows in files if rows), [])
    usual = common([len(row) for row in rows]) if rows else 0
    if rows and len(rows[0]) != usual and rows[0][0].startswith("#"):
        dialect = replace(dialect, comment="#")
        rows = [row for row in rows if not row[0].startswith("#")]
    skip = next((place for place, row in enumerate(rows) if len(row) == usual and any(row)), 0)
    rows = [row for row in rows[skip:] if len(row) == usual]
    return replace(dialect, skip=skip, header=not rows or _is_header(rows[0], rows[1:]))


def _is_header(first: list[str], rest: list[list[str]]) -> bool:
    """Tell whether a first record holds names: it does if a column is of numbers or times below it, but not in it."""
    for place, value in enumerate(first):
        below = [row[place] for row in rest if row[place].strip()]
        if below and not _measured(value) and all(_measured(text) for text in below):
            return True
    return not any(_measured(value) for value in first) and len(set(first)) == len(first)


def _measured(value: str) -> bool:
    """Tell whether a text is a number or begins like a date."""
    return re.fullmatch(r"\s*[+-]?[\d.,]*\d[\d.,]*%?\s*|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.*", value) is not None
