"""From a file to its shape and to the SQL that reads it, for each format: the one place that knows all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import zip_longest

from metalayer.core.errors import LakeError, ShortageError, SourceError
from metalayer.core.names import literal, quote
from metalayer.core.schema import JSON, VARCHAR, Column, DataType, ListOf, Scalar, Struct, widens
from metalayer.core.source import Engine
from metalayer.sources import columnar, delimited, documents
from metalayer.sources.dialect import JsonDialect, TextDialect, Writing
from metalayer.sources.formats import ExcelOptions, FileOptions, Format, JsonOptions, ParquetOptions, TextOptions
from metalayer.sources.header import read_header
from metalayer.sources.inference import infer
from metalayer.sources.listing import Found
from metalayer.sources.matching import Match
from metalayer.sources.naming import labels

DOUBLE = Scalar("double")
SAMPLE = 10_000
"""How many records of a JSON file are looked at before it is read, and how many texts decide a new column's type."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a look at a file told.

    Attributes:
        labels: its columns or fields, each told apart.
        passed: records before the data.
        types: the columns' own types, where the format has them; None for one the lake cannot hold.
        plain: whether all records that were looked at are objects without repeated fields.
        has_no_rows: whether a file without labels is known to hold nothing.
        records: how many records it has, where the look counted them.
    """

    labels: tuple[str, ...]
    passed: int = 0
    types: tuple[DataType | None, ...] = ()
    plain: bool = True
    has_no_rows: bool = False
    records: int = 0


@dataclass(frozen=True, slots=True)
class ShapedFile:
    """A file, its shape and how that lies to the table's columns.

    Attributes:
        found: the file.
        shape: what a look told.
        match: which column has which place.
    """

    found: Found
    shape: Shape
    match: Match

    @property
    def is_plain(self) -> bool:
        """Tell whether the quick reading of a JSON file is likely to do: all is known, nothing was out of place."""
        folded = {label.casefold() for label in self.shape.labels}
        return self.shape.plain and bool(folded) and len(folded) == len(self.shape.labels) and not self.match.unknown

    @property
    def is_empty(self) -> bool:
        """Tell whether the file has nothing to read; what only seems so in a sample is read all the same."""
        return not self.shape.labels and (self.found.size == 0 or self.shape.has_no_rows)


class Reading(Enum):
    """How a file is read, the quick way first: each is for what the one before it refuses.

    ``QUICK`` stops at the first value or record that is not plainly well, of text and JSON. ``USUAL`` keeps them apart.
    ``PATIENT`` takes delimited text without the engine's strictness.
    """

    QUICK = "quick"
    USUAL = "usual"
    PATIENT = "patient"


@dataclass(frozen=True, slots=True)
class Statements:
    """What is run around the parts' SELECTs."""

    prepare: tuple[str, ...] = ()
    rejects: str | None = None
    read: str | None = None
    shifts: str | None = None
    cleanup: tuple[str, ...] = ()


def look(
    found: Found, format_: Format, options: FileOptions, columns: Sequence[Column], engine: Engine, *, whole: bool
) -> Shape:
    """Look at a file.

    Args:
        found: the file.
        format_: how it is read.
        options: what the declaration says.
        columns: the table's columns.
        engine: runs the SQL of the look.
        whole: whether each record of a JSON file is looked at, not a sample.

    Raises:
        SourceError: the file is not of the declared format.
    """
    match options:
        case TextOptions(dialect=dialect):
            header = read_header(found.path, dialect, dialect.delimiter or format_.value, engine)
            if dialect.header:
                return Shape(labels(header.names), header.records, has_no_rows=not header.names)
            return Shape(tuple(column.name for column in columns), header.records)
        case JsonOptions(dialect=dialect):
            file = documents.JsonFile(found.path, found.size, format_ is Format.JSONL, ())
            ((names, plain),) = _asked(engine, documents.look(file, dialect, None if whole else SAMPLE))
            listed = names if isinstance(names, list) else []
            return Shape(tuple(str(name) for name in listed), plain=bool(plain))
        case ParquetOptions():
            rows = _asked(engine, columnar.look(found.path))
            return Shape(
                tuple(str(row[0]) for row in rows), types=tuple(columnar.held_type(str(row[1])) for row in rows)
            )
        case ExcelOptions():
            from metalayer.sources import workbooks  # noqa: PLC0415 - a project without workbooks does not pay for it

            known = workbooks.head(found.path)
            names = known.labels
            if not options.header:
                names = tuple(
                    column.source_name or column.name if column is not None else label
                    for column, label in zip_longest(columns[: len(names)], names)
                )
            types = (VARCHAR,) * len(names)
            return Shape(names, types=types, has_no_rows=not known.rows and not names, records=known.rows)


def _asked(engine: Engine, sql: str) -> list[tuple[object, ...]]:
    """Return an answer of the engine; what it cannot read is the file's fault, unless the machine lacks something."""
    try:
        return engine.query(sql)
    except ShortageError:
        raise
    except LakeError as error:
        raise SourceError(
            f"it cannot be read: {error.detail or error.message}", hint="Write the file again, whole."
        ) from error


def new_types(
    file: ShapedFile, places: Sequence[int], format_: Format, options: FileOptions, engine: Engine
) -> tuple[DataType, ...]:
    """Return the types of columns that the table does not have yet, told by the file's values."""
    match options:
        case TextOptions(dialect=dialect):
            texts = [delimited.text_of(place, dialect) for place in places]
            try:
                return infer(engine, _texts(file, dialect, format_), texts, dialect)
            except ShortageError:
                raise
            except LakeError:
                return (VARCHAR,) * len(texts)  # what is wrong with the file is told when its rows are read
        case JsonOptions(dialect=dialect):
            names = [file.shape.labels[place] for place in places]
            types = json_types(file.found, names, format_, dialect, engine)
            return tuple(types[name] or VARCHAR for name in names)
        case ParquetOptions():
            return tuple(file.shape.types[place] or VARCHAR for place in places)
        case ExcelOptions():
            texts = [quote(file.shape.labels[place]) for place in places]
            return infer(engine, f"(FROM {_cells(file)} LIMIT {SAMPLE})", texts, Writing())


def _cells(file: ShapedFile) -> str:
    from metalayer.sources import workbooks  # noqa: PLC0415 - as above

    return workbooks.relation(file.found.path, file.shape.labels)


def _texts(file: ShapedFile, dialect: TextDialect, format_: Format) -> str:
    text = delimited.TextFile(file.found.path, len(file.shape.labels), file.shape.passed, (), strict=False)
    scanned = delimited.scan(text, dialect, dialect.delimiter or format_.value, delimited.Misfits.PASSED)
    return f"(FROM {scanned} LIMIT {SAMPLE})"


def json_types(
    given: Found, names: Sequence[str], format_: Format, dialect: JsonDialect, engine: Engine
) -> dict[str, DataType | None]:
    """Return the types of a JSON file's fields as their values tell; None where there is no value."""
    if not names:
        return {}
    file = documents.JsonFile(given.path, given.size, format_ is Format.JSONL, ())
    ((told,),) = _asked(engine, documents.structure(file, dialect, names, SAMPLE))
    described = json.loads(str(told)) if told is not None else {}
    types = {name: described_type(described.get(name, "NULL")) for name in names}
    unsure = [name for name, type_ in types.items() if type_ in {VARCHAR, DOUBLE}]
    records = documents.records(file, dialect)
    relation = f"(SELECT line FROM {records} WHERE {documents.is_object('line')} LIMIT {SAMPLE})"
    found = infer(engine, relation, [documents.member_text("line", name) for name in unsure], dialect)
    for name, type_ in zip(unsure, found, strict=True):
        # A string of digits was written as a string: it stays one. Times have no other way to be written.
        timed = isinstance(type_, Scalar) and type_.name in {"date", "timestamp", "timestamptz"}
        if timed if types[name] == VARCHAR else type_ != VARCHAR:
            types[name] = type_
    return types


def described_type(described: object) -> DataType | None:
    """Return the type that the engine's JSON description of a structure means; None where only null was seen.

    >>> str(described_type({"id": "UBIGINT", "tags": ["VARCHAR"]}))
    'struct("id" bigint, "tags" varchar[])'
    """
    match described:
        case dict():
            fields = tuple((str(name), described_type(part) or JSON) for name, part in described.items())
            return Struct(fields) if fields else JSON
        case [element]:
            return ListOf(described_type(element) or JSON)
        case "UBIGINT" | "BIGINT":
            return Scalar("bigint")
        case "DOUBLE" | "BOOLEAN" | "VARCHAR":
            return Scalar(str(described).lower())
        case "NULL":
            return None
        case _:
            return JSON


def merged(one: DataType | None, other: DataType | None) -> DataType | None:
    """Return a type that holds the values of both, as far as they are of one kind; text holds all others.

    >>> str(merged(Scalar("bigint"), Scalar("double")))
    'double'
    """
    if one is None or other is None or one == other:
        return one or other
    match one, other:
        case Struct(), Struct():
            names = dict.fromkeys([name for name, _ in (*one.fields, *other.fields)])
            mine, yours = dict(one.fields), dict(other.fields)
            return Struct(tuple((name, merged(mine.get(name), yours.get(name)) or JSON) for name in names))
        case ListOf(element), ListOf(second):
            return ListOf(merged(element, second) or JSON)
        case Scalar(), Scalar():
            if widens(one, other):
                return other
            if widens(other, one):
                return one
            whole = {"tinyint", "smallint", "integer", "bigint"}
            if one.name == "decimal" and other.name in whole:
                return one
            if other.name == "decimal" and one.name in whole:
                return other
            return DOUBLE if {one.name, other.name} <= {*whole, "decimal", "real", "double"} else VARCHAR
        case _:
            return JSON


def rows(
    file: ShapedFile,
    columns: Sequence[Column],
    format_: Format,
    options: FileOptions,
    counter: str,
    reading: Reading = Reading.USUAL,
    *,
    example: str = "",
) -> str:
    """Return the SELECT that reads a file: the table's columns, ``_position`` and ``_rescued``.

    ``example`` is where `example_of` the file lies; the quick reading of JSON Lines needs it.
    """
    fields = delimited.columns_of(columns, file.match.places)
    shape = file.shape
    if file.is_empty:
        return delimited.nothing(fields)
    match options:
        case TextOptions(dialect=dialect):
            extras = tuple((shape.labels[place], place) for place in file.match.unknown)
            text = delimited.TextFile(
                file.found.path,
                len(shape.labels),
                shape.passed,
                fields,
                extras,
                strict=reading is not Reading.PATIENT,
                size=file.found.size,
            )
            quickly = reading is Reading.QUICK
            return delimited.select(text, dialect, dialect.delimiter or format_.value, counter, quickly=quickly)
        case JsonOptions(dialect=dialect):
            json_file = _json_file(file, format_, fields)
            if reading is Reading.QUICK:
                return documents.quick(json_file, dialect, counter, example)
            return documents.careful(json_file, dialect, counter)
        case ParquetOptions():
            return columnar.select(
                columnar.ColumnarFile(file.found.path, shape.labels, shape.types, fields, file.match.unknown)
            )
        case ExcelOptions():
            cells = columnar.ColumnarFile("", shape.labels, shape.types, fields, file.match.unknown)
            return columnar.select(replace(cells, relation=_cells(file), number="metalayer_row"))


def example_of(file: ShapedFile, columns: Sequence[Column]) -> str:
    """Return the record before a file of JSON Lines that tells the engine its fields."""
    fields = delimited.columns_of(columns, file.match.places)
    return documents.example([(file.shape.labels[f.place], f.type) for f in fields if f.place is not None])


def has_shortcuts(file: ShapedFile, columns: Sequence[Column], format_: Format, options: FileOptions) -> bool:
    """Tell whether a quick reading of a file would be quicker than the usual one."""
    if file.is_empty:
        return False
    match options:
        case TextOptions(dialect=dialect):
            fields = delimited.columns_of(columns, file.match.places)
            text = delimited.TextFile(file.found.path, len(file.shape.labels), file.shape.passed, fields)
            return bool(delimited.shortcuts(text, dialect))
        case JsonOptions():
            return file.is_plain and format_ is Format.JSONL
        case ParquetOptions() | ExcelOptions():
            return False


def _json_file(file: ShapedFile, format_: Format, fields: tuple[delimited.Field, ...] = ()) -> documents.JsonFile:
    lines = format_ is Format.JSONL
    return documents.JsonFile(file.found.path, file.found.size, lines, file.shape.labels, fields)


def statements(
    files: Sequence[tuple[ShapedFile, str]],
    format_: Format,
    options: FileOptions,
    reading: Reading = Reading.USUAL,
) -> Statements:
    """Return what is run before and after the SELECTs of files, each with its counter."""
    read = [(file, counter) for file, counter in files if not file.is_empty]
    if not read:
        return Statements()
    counters = [counter for _, counter in read]
    named = [(file.found.name, file.found.path) for file, _ in read]
    counted = [(name, path, counter) for (name, path), counter in zip(named, counters, strict=True)]
    rejected, lost = True, delimited.rejects(named)
    match options:
        case ParquetOptions():
            return Statements(read=columnar.read(named))
        case ExcelOptions():
            counts = ", ".join(f"({literal(file.found.name)}, {file.shape.records})" for file, _ in read)
            return Statements(read=f"SELECT * FROM (VALUES {counts}) AS counted(name, records)")
        case _ if reading is Reading.QUICK:
            rejected, lost = False, ""
        case TextOptions():
            large = [file.found.name for file, _ in read if file.found.size > delimited.LARGEST]
            lost = delimited.rejects(named, large)
        case JsonOptions(dialect=dialect):
            rejected = format_ is Format.JSONL
            lost = documents.rejects([(file.found.name, _json_file(file, format_)) for file, _ in read], dialect)
            if rejected:
                lost = f"{lost}\nUNION ALL\n{delimited.rejects(named)}"
    read_by = delimited.read(counted, rejected=rejected)
    shifts = delimited.shifts(named) if isinstance(options, TextOptions) and rejected else None
    return Statements(delimited.prepare(counters), lost or None, read_by, shifts, delimited.cleanup(counters))
