"""Types as Delta and Iceberg know them: signed numbers, decimals, text, binary, dates, timestamps, and their nests."""

from __future__ import annotations

from typing import Final

from metalayer.core.names import quote
from metalayer.core.schema import VARCHAR, DataType, ListOf, MapOf, Scalar, Schema, Struct

_AS: Final = {
    "utinyint": Scalar("smallint"),
    "usmallint": Scalar("integer"),
    "uinteger": Scalar("bigint"),
    "ubigint": Scalar("decimal", 20, 0),
    "hugeint": Scalar("decimal", 38, 0),
    "uhugeint": Scalar("decimal", 38, 0),
    "timestamp_s": Scalar("timestamp"),
    "timestamp_ms": Scalar("timestamp"),
    "timestamp_ns": Scalar("timestamp"),
    **dict.fromkeys(("time", "timetz", "interval", "uuid", "json"), VARCHAR),
}


def portable(type_: DataType | None, *, small: bool = True) -> DataType:
    """Return the type that values of a type have there; ``small`` tells whether numbers of 8 and 16 bits are known.

    >>> str(portable(ListOf(Scalar("ubigint")))), str(portable(Scalar("smallint"), small=False))
    ('decimal(20,0)[]', 'integer')
    """
    match type_:
        case None:
            return VARCHAR
        case Scalar():
            found = _AS.get(type_.name, type_)
            return Scalar("integer") if not small and found.name in {"tinyint", "smallint"} else found
        case Struct():
            return Struct(tuple((name, portable(part, small=small)) for name, part in type_.fields))
        case ListOf():
            return ListOf(portable(type_.element, small=small))
        case MapOf():
            return MapOf(portable(type_.key, small=small), portable(type_.value, small=small))


def cast(columns: Schema, rows: str, *, small: bool = True) -> str:
    """Return a SELECT of the same rows with portable types."""
    shown = ", ".join(
        f"CAST({quote(column.name)} AS {portable(column.type, small=small)}) AS {quote(column.name)}"
        for column in columns
    )
    return f"SELECT {shown} FROM ({rows})"
