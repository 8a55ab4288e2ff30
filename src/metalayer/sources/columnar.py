"""Parquet as SQL: typed columns are taken as they are, others are cast and tested like text.

Nothing here runs a query.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from metalayer.core.errors import UsageError
from metalayer.core.names import literal, quote
from metalayer.core.schema import DataType, Scalar, parse_type, widens
from metalayer.sources.casting import all_digits, engine_cast, exact, is_text
from metalayer.sources.delimited import Field, Kept, rescue, unread
from metalayer.sources.dialect import Writing
from metalayer.sources.listing import engine_path

NUMBER = Scalar("bigint")
"""The type of a row's position."""
_FIXED = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class ColumnarFile:
    """A Parquet file whose columns are known.

    Attributes:
        path: where it lies.
        labels: the names of its columns.
        types: their types; None for one that the lake cannot hold, which is read as text.
        fields: the table's columns, with the places of their labels.
        extras: places of columns whose values are rescued as they are.
        relation: what is read, where that is no file.
        number: the SQL of a row's position within it.
    """

    path: str
    labels: tuple[str, ...]
    types: tuple[DataType | None, ...]
    fields: tuple[Field, ...] = ()
    extras: tuple[int, ...] = ()
    relation: str = ""
    number: str = "file_row_number + 1"


def scan(path: str) -> str:
    """Return the table function that reads a file."""
    return f"read_parquet({literal(engine_path(path))}, hive_partitioning = false)"


def look(path: str) -> str:
    """Return the statement that tells a file's columns and types."""
    return f"DESCRIBE SELECT * FROM {scan(path)}"


def held_type(described: str) -> DataType | None:
    """Return the type of the lake that holds a type of the engine, or None where only text does.

    >>> str(held_type("DOUBLE[3]")), held_type("ENUM('a', 'b')")
    ('double[]', None)
    """
    try:
        return parse_type(_FIXED.sub("[]", described))
    except UsageError:
        return None


def select(file: ColumnarFile) -> str:
    """Return one SELECT with the table's columns, ``_position`` and ``_rescued``."""
    writing = Writing()
    casts, tests, names, rescued = [], [], [], []
    for number, item in enumerate(file.fields):
        if item.place is None:
            names.append(f"CAST(NULL AS {item.type}) AS {quote(item.name)}")
            continue
        column = quote(file.labels[item.place])
        given = file.types[item.place]
        if given is not None and (given == item.type or widens(given, item.type)):
            names.append(f"CAST({column} AS {item.type}) AS {quote(item.name)}")
            continue
        text = f"CAST({column} AS varchar)"
        if is_text(item.type):
            names.append(f"{text} AS {quote(item.name)}")
            continue
        direct = not isinstance(item.type, Scalar) or (isinstance(given, Scalar) and _is_instant(given, item.type))
        value = f"TRY_CAST({column} AS {item.type})" if direct else engine_cast(text, item.type, writing)
        if is_text(given) and isinstance(item.type, Scalar) and item.type.name == "decimal":
            value = f"CASE WHEN {all_digits(text, item.type)} THEN {value} END"
        held, tested = f"metalayer_v{number}", f"metalayer_t{number}"
        casts.append(f"{value} AS {held}")
        tests.append(f"{held if direct else exact(held, text, item.type, writing)} AS {tested}")
        names.append(f"{tested} AS {quote(item.name)}")
        rescued.append(unread(item.name, column, tested))
    for place in file.extras:
        column = quote(file.labels[place])
        value = f"CAST({column} AS varchar)" if file.types[place] is None else column
        rescued.append(Kept(file.labels[place], value, f"{column} IS NOT NULL"))
    steps = f"SELECT *, {file.number} AS metalayer_position FROM {file.relation or scan(file.path)}"
    if casts:
        steps = f"SELECT *, {', '.join(tests)}\nFROM (SELECT *, {', '.join(casts)}\nFROM ({steps}))"
    return f"SELECT {', '.join([*names, 'metalayer_position AS _position', rescue(rescued)])}\nFROM ({steps})"


def _is_instant(given: Scalar, wanted: Scalar) -> bool:
    """Tell whether both are points in time, so that a cast between them is the engine's to make."""
    return given.name.startswith("timestamp") and wanted.name.startswith("timestamp")


def read(parts: Sequence[tuple[str, str]]) -> str:
    """Return the SELECT of what the files' footers count; ``parts`` are a part's name and its file's path."""
    return "\nUNION ALL\n".join(
        f"SELECT {literal(name)}, CAST(num_rows AS bigint) FROM parquet_file_metadata({literal(engine_path(path))})"
        for name, path in parts
    )
