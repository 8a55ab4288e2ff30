"""How delimited files that nobody has declared are written, told by their first characters.

Nothing but beginnings is looked at, and nothing is asked of the engine that the text itself tells.
"""

from __future__ import annotations

import gzip
import itertools
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
from metalayer.sources.sniff_encoding import guessed

Common = TypeVar("Common", bound=Hashable)

_BEGINNING = 1 << 18
_DELIMITERS = (",", ";", "\t", "|")
_LONG = ("~|~", "|~|", "^|^", "#|#", "||", ";;", "::", ",,", "\t\t", "~~", "^^", "##", "<>")
"""Delimiters of several signs: taken where none of these signs stands alone."""
_RARE = ("\x1f", "\x01", "^", "~", "¬", "¦", "§", "!", "#", ":", "&", "@", "$", "*", "/", " ")
"""Delimiters that are tried where the usual ones make no table, the least frequent in texts first."""
_TABLE = 0.9
"""Which part of the records must be of one width for them to be a table."""
_CERTAIN = 0.97
"""Which part must be for a sign that is otherwise part of texts."""
_WORDS = 3
"""How many columns blanks must make: two words are a name."""
_HAIR = 1e-6
_NARROW = 2
_RECORDS = 200


def decoded(file: Found, engine: Engine) -> tuple[str, str]:
    """Return a file's first characters and its encoding.

    Raises:
        SourceError: the file cannot be read.
    """
    compression = compression_of(file.path, "auto")
    if compression == "zstd":
        return beginning_by_engine(file.path, engine, _BEGINNING)[0], "utf-8"
    try:
        with gzip.open(file.path) if compression == "gzip" else Path(file.path).open("rb") as handle:
            data = handle.read(_BEGINNING)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{file.name} cannot be read: {error}.", hint="Write the file again, whole.") from error
    encoding = guessed(data, whole=len(data) < _BEGINNING)
    size = {"utf-16": 2, "utf-16-be": 2, "utf-16-le": 2, "utf-32": 4}.get(encoding, 1)
    text = data[: len(data) - len(data) % size].decode(encoding, "replace")
    return text.removeprefix("\ufeff"), encoding


def common(values: Iterable[Common]) -> Common:
    """Return the most frequent value, the first of equals."""
    listed = list(values)
    return max(dict.fromkeys(listed), key=listed.count)


def written(texts: Sequence[str], encoding: str) -> TextDialect:
    """Return the dialect that gives the most regular table: what counts is records of one width, and many values."""
    best, chosen = (0.0, 0), TextDialect(delimiter=",", encoding=encoding)
    for delimiters in (_long(texts), _DELIMITERS, _RARE):
        for quote in ('"', "'", ""):
            for delimiter in delimiters:
                dialect = _candidate(texts, delimiter, quote, encoding)
                if dialect is None:
                    continue
                score = _score(texts, dialect, rare=delimiters is _RARE)
                if score > best:
                    best, chosen = score, dialect
        if best[0] >= _TABLE:
            break
    if not best[0]:
        _refuse_wrapped(texts, encoding)
    return _with_header(chosen, [first_records(text, chosen) for text in texts])


def _refuse_wrapped(texts: Sequence[str], encoding: str) -> None:
    """Raise where a single column holds a table: each line was quoted as a whole.

    Raises:
        SourceError: it does.
    """
    outer = TextDialect(delimiter=",", encoding=encoding)
    inner = ["\n".join(values[0] for values in first_records(text, outer) if values) for text in texts]
    if inner == ["\n".join(text.splitlines()[:_RECORDS]) for text in texts]:
        return
    for delimiter in _DELIMITERS:
        part, width = _score(inner, replace(outer, delimiter=delimiter), rare=True)
        if part and width > _NARROW:
            raise SourceError(
                f"Each line of the file stands in quotes as a whole, so that {width} values are one.",
                hint=f"Write the file again without the outer quotes; inside, values are separated by '{delimiter}'.",
            )


def _long(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the delimiters of several signs that occur, and whose signs never occur otherwise."""
    return tuple(
        sign
        for sign in _LONG
        if any(sign in text for text in texts)
        and not any(letter in text.replace(sign, "") for text in texts for letter in sign)
    )


def _candidate(texts: Sequence[str], delimiter: str, quote: str, encoding: str) -> TextDialect | None:
    """Return a dialect that texts may be written in, None where nothing speaks for it."""
    if not any(delimiter in text for text in texts):
        return None
    if quote == '"':
        # Where quotes are doubled, a single one behind a backslash closes its value: only an end can follow it.
        inner = re.compile(rf"\\{quote}[^{quote},;\t|\r\n]")
        escape = "\\" if any(inner.search(text) for text in texts) else quote
        return TextDialect(delimiter=delimiter, quote=quote, escape=escape, encoding=encoding)
    if quote == "'":
        # An apostrophe is a quote only where values stand side by side in them, and in no other.
        between = sum(text.count(f"'{delimiter}'") for text in texts)
        if not between or any(f'"{delimiter}"' in text for text in texts):
            return None
        inner = re.compile(r"\\'[^',;\t|\r\n]")
        escape = "\\" if any(inner.search(text) for text in texts) else quote
        return TextDialect(delimiter=delimiter, quote=quote, escape=escape, encoding=encoding)
    lines = [line for text in texts for line in text.splitlines()[:_RECORDS] if line.strip()]
    enclosed = sum(line.startswith('"') and line.endswith('"') for line in lines)
    if not any('"' in line for line in lines) or enclosed > len(lines) // 2:
        return None
    return TextDialect(delimiter=delimiter, quote="", escape="", encoding=encoding)


def _score(texts: Sequence[str], dialect: TextDialect, *, rare: bool) -> tuple[float, int]:
    """Return which part of the records has the usual width, and that width; zero where they make no table.

    A hair more where every value stands in apostrophes, a hair less where a quote is no quote: ties are theirs to lose.
    """
    widths: list[int] = []
    enclosed = 0
    for text in texts:
        whole = len(text) < _BEGINNING
        for values, ended in records(text, dialect, dialect.delimiter or ",", limit=_RECORDS):
            if ended or whole or not widths:
                spread = not ended and any("\n" in value or "\r" in value for value in values)
                widths.append(0 if spread else len(values))  # a quote that nothing closes makes no record
        if dialect.quote == "'":
            enclosed += text.count(f"'{dialect.delimiter}'")
    usual = common(widths) if widths else 0
    if usual <= 1:
        return 0.0, 0
    part = widths.count(usual) / len(widths)
    if rare and (part < _CERTAIN or (dialect.delimiter == " " and usual < _WORDS)):
        return 0.0, 0
    if dialect.quote == "'" and enclosed * 2 >= sum(widths) - len(widths):
        part += _HAIR
    return part - (_HAIR if not dialect.quote else 0), usual


def first_records(text: str, dialect: TextDialect) -> list[list[str]]:
    """Return the first records of a text, a last one that may be cut off not among them."""
    found: list[list[str]] = []
    for values, ended in records(text, dialect, dialect.delimiter or ",", limit=_RECORDS):
        if ended or not found:
            found.append(values)
    return found


def _with_header(dialect: TextDialect, files: Sequence[list[list[str]]]) -> TextDialect:
    """Return the dialect with what stands before the data: comments, lines that are none, and whether names do."""
    rows = next((rows for rows in files if rows), [])
    usual = common([len(row) for row in rows]) if rows else 0
    if rows and len(rows[0]) != usual and rows[0][0].startswith("#"):
        others = [row for row in rows if not row[0].startswith("#")]
        # The engine takes the sign for a comment's in the middle of a line too.
        if not any("#" in value for row in others for value in row):
            dialect, rows = replace(dialect, comment="#"), others
    skip = next((place for place, row in enumerate(rows) if _begins(row, rows[place + 1 :], usual)), 0)
    rows = [row for row in rows[skip:] if len(row) == usual]
    return replace(dialect, skip=skip, header=not rows or _is_header(rows[0], rows[1:]))


def _begins(row: list[str], rest: list[list[str]], usual: int) -> bool:
    """Tell whether a table may begin with a record: it is as wide, and no title with nothing beside it."""
    if len(row) != usual or not any(row):
        return False
    filled = sum(bool(value.strip()) for value in row)
    below = [sum(bool(value.strip()) for value in other) for other in rest if len(other) == usual]
    return filled > 1 or usual <= _NARROW or not below or common(below) <= _NARROW


def _is_header(first: list[str], rest: list[list[str]]) -> bool:
    """Tell whether a first record holds names: it does if a column is of numbers or times below it, but not in it.

    So it does if it holds years in a row beside names, and so it does not if its values come again below it or have the
    length that all values of their column have.
    """
    if len(set(first)) == len(first) and sum(re.fullmatch(r"(19|20)\d\d", value) is not None for value in first) > 1:
        numbers = [int(value) for value in first if re.fullmatch(r"(19|20)\d\d", value)]
        if all(later - earlier == 1 for earlier, later in itertools.pairwise(numbers)):
            return True
    for place, value in enumerate(first):
        below = [row[place] for row in rest if row[place].strip()]
        if below and not _measured(value) and value.strip() and all(_measured(text) for text in below):
            return True
    if any(_measured(value) for value in first) or len(set(first)) != len(first):
        return False
    return not any(_is_code(value) for value in first)


def _is_code(value: str) -> bool:
    """Tell whether a text is an identifier of the kind that machines make: no name of a column."""
    return re.fullmatch(r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[^@\s]+@[^@\s]+\.\w+", value) is not None


def _measured(value: str) -> bool:
    """Tell whether a text is a number or begins like a date."""
    return re.fullmatch(r"\s*[+-]?[\d.,]*\d[\d.,]*%?\s*|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.*", value) is not None
