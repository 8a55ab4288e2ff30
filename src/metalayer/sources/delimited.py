"""Delimited text (CSV, TSV) as SQL: one scan reads every value as text, casts it, and keeps what does not fit.

Lines that are no record of the file's shape go to the engine's rejects tables; `rejects` and `read` say what was there.
Nothing here runs a query.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from metalayer.core.names import literal, quote
from metalayer.core.schema import VARCHAR, Column, DataType
from metalayer.sources.casting import engine_cast, exact, is_text
from metalayer.sources.dialect import TextDialect, engine_encoding
from metalayer.sources.header import compression_of
from metalayer.sources.listing import engine_path
from metalayer.sources.shortcuts import Shortcut, shortcut

REJECTS = "metalayer_rejects"
SCANS = "metalayer_scans"
_THREADS = "metalayer_threads"
_SMALL = 1 << 24
LARGEST = 1 << 28
"""How large a file may be, in bytes, so that the engine can hold all of it, whatever an open quote swallows."""
_NEVER = "\x01\x02"
"""Stands where a dialect has no text that means NULL: the engine needs one, and this occurs in no file of text."""


@dataclass(frozen=True, slots=True)
class Field:
    """One column of the table, and where a file has it.

    Attributes:
        name: the column.
        type: its type.
        place: its place in the file, from 0; None where the file has no such column.
    """

    name: str
    type: DataType
    place: int | None


@dataclass(frozen=True, slots=True)
class TextFile:
    """A delimited file whose shape is known.

    Attributes:
        path: where it lies.
        width: how many columns it has.
        passed: how many records stand before its data.
        fields: the table's columns.
        extras: headers and places of columns whose values are rescued as they are.
        strict: whether quotes and line ends must be as the standard has them.
        size: how many bytes it has, as far as known.
    """

    path: str
    width: int
    passed: int
    fields: tuple[Field, ...]
    extras: tuple[tuple[str, int], ...] = ()
    strict: bool = True
    size: int = 0


class Misfits(Enum):
    """What becomes of a line that is no record of the file's shape: it is kept apart, passed over, or ends the scan."""

    KEPT = "kept"
    PASSED = "passed"
    REFUSED = "refused"


def scan(
    file: TextFile,
    dialect: TextDialect,
    delimiter: str,
    misfits: Misfits = Misfits.KEPT,
    types: Mapping[int, str] = MappingProxyType({}),
) -> str:
    """Return the table function that reads a file's values as ``c0``, ``c1`` and so on.

    They are texts, but where ``types`` gives a place another type.
    """
    columns = ", ".join(f"'c{place}': '{types.get(place, 'VARCHAR')}'" for place in range(file.width))
    options = {
        "auto_detect": "false",
        "header": "false",
        "skip": str(file.passed),
        "columns": "{" + columns + "}",
        "delim": literal(delimiter),
        "quote": literal(dialect.quote),
        "escape": literal(dialect.escape if dialect.quote else ""),
        "encoding": literal(engine_encoding(dialect.encoding)),
        "compression": literal(compression_of(file.path, dialect.compression)),
        "nullstr": "[" + ", ".join(literal(text) for text in dialect.nulls or (_NEVER,)) + "]",
    }
    if not file.strict:
        options["strict_mode"] = "false"
    if dialect.comment:
        options["comment"] = literal(dialect.comment)
    match misfits:
        case Misfits.KEPT:
            options |= {
                "store_rejects": "true",
                "rejects_table": literal(REJECTS),
                "rejects_scan": literal(SCANS),
                "rejects_limit": "0",
            }
            if file.size > _SMALL:
                # Of a record longer than its buffer the engine keeps nothing, and what an open quote swallows is one.
                options["buffer_size"] = str(min(file.size + _SMALL, LARGEST))
        case Misfits.PASSED:
            options["ignore_errors"] = "true"
        case Misfits.REFUSED:
            pass
    settings = ", ".join(f"{name} = {value}" for name, value in options.items())
    return f"read_csv({literal(engine_path(file.path))}, {settings})"


def text_of(place: int, dialect: TextDialect, type_: DataType | None = None) -> str:
    """Return the text at a place; where an empty text is a value, it is none for a type that is not text."""
    column = quote(f"c{place}")
    empty_is_value = "" not in dialect.nulls and type_ is not None and not is_text(type_)
    return f"nullif({column}, '')" if empty_is_value else column


def select(file: TextFile, dialect: TextDialect, delimiter: str, counter: str, *, quickly: bool = False) -> str:
    """Return one SELECT with the table's columns, ``_position`` and ``_rescued``.

    ``_position`` is the record's number in the file, the header and what stands before it counted: its line, where no
    value spans lines. Blank lines and comments are no records. Rejected lines are, but are not seen here: `shifts`
    tells how far they move what follows.

    ``counter`` is a sequence that counts the records as they leave the reader, apart from all that comes after.

    Read ``quickly``, what has a shortcut takes it, and the first line that is no record and the first value in doubt
    end the statement with an error: what it yields to its end is what the usual reading yields.
    """
    casts, tests, names, rescued, doubts = [], [], [], [], []
    quick = shortcuts(file, dialect) if quickly else {}
    for number, item in enumerate(file.fields):
        if item.place is None:
            names.append(f"CAST(NULL AS {item.type}) AS {quote(item.name)}")
            continue
        if number in quick:
            casts.append(f"{quick[number].value} AS v{number}")
            names.append(f"v{number} AS {quote(item.name)}")
            doubts.append(quick[number].doubt)
            continue
        text = text_of(item.place, dialect, item.type)
        if is_text(item.type):
            names.append(f"{text} AS {quote(item.name)}")
            continue
        casts.append(f"{engine_cast(text, item.type, dialect)} AS v{number}")
        tests.append(f"{exact(f'v{number}', text, item.type, dialect)} AS t{number}")
        names.append(f"t{number} AS {quote(item.name)}")
        rescued.append(unread(item.name, text, f"t{number}"))
    rescued += [Kept(label, quote(f"c{place}"), f"{quote(f'c{place}')} IS NOT NULL") for label, place in file.extras]
    position = f"row_number() OVER () + ({file.passed} + 0 * nextval({literal(counter)})) AS _position"
    kept = rescue(rescued, doubts=[doubt for doubt in doubts if doubt])
    types = {file.fields[number].place or 0: item.type for number, item in quick.items()}
    misfits = Misfits.REFUSED if quickly else Misfits.KEPT
    # Three steps, because the engine would cast twice what stands twice in one of them.
    return (
        f"SELECT {', '.join([*names, '_position', kept])}\n"
        f"FROM (SELECT {', '.join(['*', *tests, position])}\n"
        f"FROM (SELECT {', '.join(['*', *casts])}\n"
        f"FROM {scan(file, dialect, delimiter, misfits, types)}))"
    )


def shortcuts(file: TextFile, dialect: TextDialect) -> dict[int, Shortcut]:
    """Return the shortcuts that a file's columns have, by the columns' numbers."""
    found = {
        number: shortcut(quote(f"c{item.place}"), f"v{number}", item.type, dialect)
        for number, item in enumerate(file.fields)
        if item.place is not None
    }
    return {number: item for number, item in found.items() if item is not None}


def nothing(fields: Sequence[Field]) -> str:
    """Return the SELECT of a file without a record: no rows, of the same shape."""
    nulls = [f"CAST(NULL AS {item.type}) AS {quote(item.name)}" for item in fields]
    return f"SELECT {', '.join([*nulls, 'CAST(NULL AS bigint) AS _position', rescue(())])} WHERE false"


@dataclass(frozen=True, slots=True)
class Kept:
    """What goes to ``_rescued`` of one column: its name, its text, and the condition under which it does.

    ``hint`` is a condition that is cheaper and holds wherever the other does: most rows are told by it to be well.
    """

    name: str
    text: str
    condition: str
    hint: str = ""


def unread(name: str, text: str, value: str) -> Kept:
    """Return that a text is kept where there is one, but no value was read from it."""
    return Kept(name, text, f"({text} IS NOT NULL AND {value} IS NULL)", f"{value} IS NULL")


def rescue(items: Sequence[Kept], extra: tuple[str, str] | None = None, doubts: Sequence[str] = ()) -> str:
    """Return ``_rescued``: a JSON object of what did not fit.

    ``extra`` are members that are JSON already, and when there are such. ``doubts`` are conditions that end the
    statement with an error.
    """
    doubted = f"WHEN {' OR '.join(doubts)} THEN error('a value is in doubt') " if doubts else ""
    if not items and extra is None:
        return f"CAST({f'CASE {doubted}END' if doubted else 'NULL'} AS json) AS _rescued"
    conditions = [item.condition for item in items]
    hints = [item.hint or item.condition for item in items]
    members = [
        f"CASE WHEN {item.condition} THEN {literal(json.dumps(item.name, ensure_ascii=False) + ':')} "
        f"|| to_json({item.text}) END"
        for item in items
    ]
    if extra is not None:
        members.append(extra[0])
        conditions.append(extra[1])
        hints.append(extra[1])
    kept = f"CAST('{{' || concat_ws(',', {', '.join(members)}) || '}}' AS json)"
    # One in the other, because the engine changes the order of what AND joins to try what is quicker.
    sure = f"CASE WHEN {' OR '.join(conditions)} THEN {kept} END"
    return f"CASE {doubted}WHEN {' OR '.join(hints)} THEN {sure} END AS _rescued"


def prepare(counters: Sequence[str]) -> tuple[str, ...]:
    """Return the statements that make room for rejects and counts, and let one thread read.

    Rows are numbered in their order, so one thread reads them; others beside it would only turn in circles.
    """
    return (
        *_emptied(),
        *(f"CREATE OR REPLACE TEMP SEQUENCE {quote(counter)}" for counter in counters),
        f"SET VARIABLE {_THREADS} = current_setting('threads')",
        "SET threads = 1",
    )


def cleanup(counters: Sequence[str]) -> tuple[str, ...]:
    """Return the statements that undo what `prepare` and the scans did."""
    return (
        f"SET threads = getvariable({literal(_THREADS)})",
        *_emptied(),
        *(f"DROP SEQUENCE IF EXISTS {quote(counter)}" for counter in counters),
    )


def _emptied() -> tuple[str, ...]:
    return f"DROP TABLE IF EXISTS {quote(REJECTS)}", f"DROP TABLE IF EXISTS {quote(SCANS)}"


def rejects(parts: Sequence[tuple[str, str]], large: Sequence[str] = ()) -> str:
    """Return the SELECT of lines that were no records; ``parts`` are pairs of a part's name and its file's path.

    It ends with an error where a quote is wrong in one of the ``large`` parts: what it swallows may be lost there.
    """
    values = ", ".join(f"({literal(name)}, {literal(path)})" for name, path in parts)
    found = "TRY_CAST(regexp_extract(error_message, 'Found: (\\d+)', 1) AS bigint)"
    wanted = "max(regexp_extract(error_message, 'Columns: (\\d+)', 1))"
    reasons = (
        ("INVALID ENCODING", "'bytes that are not valid in the pinned encoding'"),
        ("UNQUOTED VALUE", "'a quote that is not closed, or text behind a closing quote'"),
        ("LINE SIZE OVER MAXIMUM", "'the record is longer than 2 MB'"),
        ("MISSING COLUMNS", f"'too few values: ' || min({found}) || ' instead of ' || {wanted}"),
        ("TOO MANY COLUMNS", f"'too many values: ' || max({found}) || ' instead of ' || {wanted}"),
    )
    words = ", ".join(f"CASE WHEN bool_or(error_type = '{kind}') THEN {text} END" for kind, text in reasons)
    reason = f"coalesce(nullif(concat_ws('; ', {words}), ''), any_value(error_message))"
    if large:
        names = ", ".join(literal(name) for name in large)
        told = "error('a quote is not closed, in a file too large to tell what is behind it')"
        swallowed = f"parts.name IN ({names}) AND bool_or(error_type = 'UNQUOTED VALUE')"
        reason = f"CASE WHEN {swallowed} THEN {told} ELSE {reason} END"
    return (
        "SELECT parts.name AS _source, CAST(line AS bigint) AS line, any_value(csv_line) AS text,\n"
        f"{reason} AS reason\n"
        f"FROM {quote(REJECTS)} JOIN {quote(SCANS)} USING (scan_id, file_id)\n"
        f"JOIN (VALUES {values}) AS parts(name, path) ON parts.path = file_path\n"
        "GROUP BY parts.name, line"
    )


def shifts(parts: Sequence[tuple[str, str]]) -> str:
    """Return the SELECT of how far rows stand behind the position they were counted at, for each rejected line."""
    return (
        "SELECT _source, line - number + 1 AS first, number AS shift FROM "
        "(SELECT _source, line, row_number() OVER (PARTITION BY _source ORDER BY line) AS number "
        f"FROM ({rejects(parts)}))"
    )


def read(parts: Sequence[tuple[str, str, str]], *, rejected: bool) -> str:
    """Return the SELECT of what the reader counted.

    Args:
        parts: a part's name, its file's path and its counter.
        rejected: whether the engine kept lines that it rejected; they passed no counter.
    """
    values = ", ".join(f"({literal(name)}, {literal(counter)})" for name, _, counter in parts)
    counted = (
        f"SELECT parts.name, coalesce(last_value, 0) AS records FROM (VALUES {values}) AS parts(name, counter)\n"
        "LEFT JOIN duckdb_sequences() AS counted ON counted.sequence_name = parts.counter AND counted.temporary"
    )
    if not rejected:
        return counted
    lost = rejects([(name, path) for name, path, _ in parts])
    kept = f"SELECT _source, count(*) AS records FROM ({lost}) GROUP BY _source"
    return f"SELECT name, CAST(sum(records) AS bigint) FROM ({counted}\nUNION ALL\n{kept}) GROUP BY name"


def columns_of(fields: Sequence[Column], places: Sequence[int | None]) -> tuple[Field, ...]:
    """Return the table's columns with their places; a column without a declared type is read as text."""
    return tuple(
        Field(column.name, column.type or VARCHAR, place) for column, place in zip(fields, places, strict=True)
    )
