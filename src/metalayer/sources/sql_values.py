"""Types and values as SQLAlchemy's dialects hand them over: which type of the lake holds them, and their cells.

Nothing here runs a query.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from metalayer.core.schema import DataType, Scalar
from metalayer.sources.cells import bytes_cell, text_cell

_NAMED = {
    "BIT": "boolean",
    "DATETIMEOFFSET": "timestamptz",
    "UNIQUEIDENTIFIER": "uuid",
    "UUID": "uuid",
    "ROWVERSION": "blob",
    "TIMESTAMP": "timestamp",
    "RAW": "blob",
    "TINYINT": "smallint",
    "MEDIUMINT": "integer",
    "JSON": "json",
    "JSONB": "json",
    "ARRAY": "json",
    "YEAR": "integer",
}


def held_type(type_: Any, dialect: str) -> DataType:
    """Return the type of the lake that holds a column of a type of SQLAlchemy."""
    from sqlalchemy import types  # noqa: PLC0415 - an extra

    name = str(getattr(type_, "__visit_name__", "")).upper()
    if name == "TIMESTAMP" and dialect == "mssql":
        return Scalar("blob")  # a version of a row, not a time
    match type_:
        case _ if isinstance(type_, types.Boolean):
            found = "boolean"
        case _ if isinstance(type_, types.DateTime):
            found = "timestamptz" if getattr(type_, "timezone", False) else _NAMED.get(name, "timestamp")
        case _ if name == "DATE" and dialect == "oracle":
            found = "timestamp"  # it has a time
        case _ if isinstance(type_, types.Date):
            found = "date"
        case _ if isinstance(type_, types.Time):
            found = "time"
        case _ if name in {"MONEY", "SMALLMONEY"}:
            return Scalar("decimal", 19, 4)
        case _ if isinstance(type_, types.Float):
            found = "double"
        case _ if isinstance(type_, types.Numeric):
            return _decimal(type_)
        case _ if isinstance(type_, types.Integer):
            found = _integer(type_, name, dialect)
        case _ if isinstance(type_, types._Binary):  # noqa: SLF001 - the parent of all bytes has no public name
            found = "blob"
        case _:
            found = _NAMED.get(name, "varchar")
    return Scalar(found)


def _decimal(type_: Any) -> DataType:
    precision, scale = type_.precision, type_.scale
    if precision is None or not 0 < precision <= 38 or not 0 <= (scale or 0) <= precision:
        return Scalar("varchar")  # no decimal of the lake is sure to hold it
    return Scalar("decimal", precision, scale or 0)


def _integer(type_: Any, name: str, dialect: str) -> str:
    from sqlalchemy import types  # noqa: PLC0415 - an extra

    if isinstance(type_, types.BigInteger):
        return "ubigint" if getattr(type_, "unsigned", False) else "bigint"
    if dialect == "sqlite":
        return "bigint"
    if getattr(type_, "unsigned", False):
        return "bigint"
    return "smallint" if isinstance(type_, types.SmallInteger) else _NAMED.get(name, "integer")


def cell(value: object, *, is_bytes: bool) -> str:
    """Return the cell of a value; each is marked, because a database may keep anything in any column.

    >>> cell(1.5, is_bytes=False), cell(None, is_bytes=False), cell("a", is_bytes=True)
    ('x1.5', '', 'h61')
    """
    if value is None:
        return ""
    if hasattr(value, "read"):  # a large object of Oracle
        value = value.read()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes_cell(bytes(value)) if is_bytes else text_cell(bytes(value).hex())
    text = _text(value)
    return bytes_cell(text.encode()) if is_bytes else text_cell(text)


def _text(value: object) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case Decimal():
            return format(value, "f")
        case float():
            return repr(value)
        case dict() | list() | tuple():
            return json.dumps(value, ensure_ascii=False, default=str)
        case _:
            return str(value)


def kept(value: object) -> dict[str, str]:
    """Return a cursor's value as JSON that `given` reads.

    >>> kept(5), given(kept(5))
    ({'int': '5'}, 5)
    """
    match value:
        case datetime():
            return {"datetime": value.isoformat()}
        case date():
            return {"date": value.isoformat()}
        case bytes() | bytearray() | memoryview():
            return {"bytes": bytes(value).hex()}
        case int() | float() | Decimal() | UUID() | str():
            return {type(value).__name__: str(value)}
        case _:
            return {"str": str(value)}


_GIVEN: Mapping[str, Callable[[str], object]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "bytes": bytes.fromhex,
    "int": int,
    "float": float,
    "Decimal": Decimal,
    "UUID": UUID,
}


def given(value: dict[str, str]) -> object:
    """Return a cursor's value as the driver takes it."""
    ((kind, text),) = value.items()
    return _GIVEN.get(kind, str)(text)
