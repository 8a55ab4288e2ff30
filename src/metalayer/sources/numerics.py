"""Numbers of other databases that the engine's reader would round: read as text there, so that each digit arrives.

The reader knows decimals of 38 digits at most; any other (a ``numeric`` without precision, with more digits, with a
negative scale) it takes as a double, and NaN as 0. Nothing here runs a query.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from metalayer.core.names import literal, quote
from metalayer.core.schema import DataType, ListOf, Scalar

_NUMERIC = re.compile(r"(?:numeric|decimal)(?:\((\d+),(-?\d+)\))?(?: unsigned| zerofill)*((?:\[\])*)")


def look(kind: str, catalog: str, schema: str, table: str) -> str:
    """Return the statement that tells how the database itself calls the types of a table's columns."""
    if kind == "postgres":
        path = literal(f"{quote(schema)}.{quote(table)}")
        asked = (
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute "
            f"WHERE attrelid = {path}::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        )
    else:
        asked = (
            "SELECT column_name, column_type FROM information_schema.columns "
            f"WHERE table_schema = {literal(schema)} AND table_name = {literal(table)} ORDER BY ordinal_position"
        )
    return _asked(kind, catalog, asked)


def rounded(described: Mapping[str, str]) -> dict[str, str]:
    """Return the columns whose numbers the engine's reader would round, with the type of text that holds them.

    >>> rounded({"id": "integer", "a": "numeric", "b": "numeric(12,2)", "c": "numeric(50,10)[]"})
    {'a': 'text', 'c': 'text[]'}
    """
    found = {}
    for name, type_ in described.items():
        if (match := _NUMERIC.fullmatch(type_)) is None:
            continue
        precision, scale, lists = match.groups()
        fits = precision is not None and int(precision) <= 38 and 0 <= int(scale) <= int(precision)
        if not fits:
            found[name] = f"text{lists}"
    return found


def held(types: Sequence[tuple[str, DataType | None]], texts: Mapping[str, str]) -> list[DataType | None]:
    """Return the types of columns where those that are read as text are."""
    return [_text(type_) if name in texts and type_ is not None else type_ for name, type_ in types]


def _text(type_: DataType) -> DataType:
    return ListOf(_text(type_.element)) if isinstance(type_, ListOf) else Scalar("varchar")


def relation(
    kind: str,
    catalog: str,
    path: tuple[str, str],
    types: Sequence[tuple[str, DataType | None]],
    texts: Mapping[str, str],
    condition: str,
) -> str:
    """Return the FROM item of a table some of whose columns the database hands over as text, others as they were."""

    def field(name: str) -> str:
        own = quoted(kind, name)
        if name not in texts:
            return own
        return f"{own}::{texts[name]} AS {own}" if kind == "postgres" else f"CAST({own} AS char) AS {own}"

    table = ".".join(quoted(kind, name) for name in path)
    asked = f"SELECT {', '.join(field(name) for name, _ in types)} FROM {table}{condition}"
    casts = ", ".join(
        quote(name) if type_ is None or name in texts else f"CAST({quote(name)} AS {type_}) AS {quote(name)}"
        for name, type_ in types
    )
    return f"(SELECT {casts} FROM ({_asked(kind, catalog, asked)}))"


def quoted(kind: str, name: str) -> str:
    """Return an identifier as the database itself writes it."""
    return quote(name) if kind == "postgres" else "`" + name.replace("`", "``") + "`"


def _asked(kind: str, catalog: str, statement: str) -> str:
    return f"SELECT * FROM {kind}_query({literal(catalog)}, {literal(statement)})"
