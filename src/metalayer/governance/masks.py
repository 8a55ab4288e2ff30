"""Masks as SQL: how a column is shown to who may not see it as it is.

Hashes and tokens are keyed (HMAC-SHA256, each form with a key of its own made from the project's): equal values stay
equal, so that joins and counts go on working, and nobody without the key can try values out. NULL stays NULL.
What a mask cannot be made of, it hides altogether.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from functools import lru_cache

from metalayer.core.names import literal, quote
from metalayer.core.people import Reader
from metalayer.core.policy import Mask, MaskKind
from metalayer.core.schema import DataType, Scalar
from metalayer.core.sql import PolicyExpression, policy_expression

_BLOCK = 64
_HIDDEN = "***"
_WHOLE = frozenset({"tinyint", "smallint", "integer", "bigint", "hugeint"})
_NUMBERS = frozenset(
    {*_WHOLE, *(f"u{name}" for name in _WHOLE), "real", "double", "decimal"},
)
_TIMES = frozenset({"date", "timestamp", "timestamptz", "timestamp_s", "timestamp_ms", "timestamp_ns"})
UNITS = ("hour", "day", "week", "month", "quarter", "year")


def is_number(type_: DataType | None) -> bool:
    """Tell whether values of a type are numbers."""
    return isinstance(type_, Scalar) and type_.name in _NUMBERS


def is_time(type_: DataType | None) -> bool:
    """Tell whether values of a type are dates or moments."""
    return isinstance(type_, Scalar) and type_.name in _TIMES


def masked(mask: Mask, column: str, type_: DataType | None, key: bytes, reader: Reader, roles: Collection[str]) -> str:
    """Return the expression that a masked column is shown as.

    Args:
        mask: the mask.
        column: the column, quoted and qualified.
        type_: its type, where that is known.
        key: the project's key.
        reader: who reads, for masks in SQL.
        roles: the roles that the reader has.
    """
    nothing = "NULL" if type_ is None else f"CAST(NULL AS {type_})"
    text = f"CAST({column} AS VARCHAR)"
    match mask.show:
        case MaskKind.NULL:
            return nothing
        case MaskKind.HASH:
            return _digest(text, key, b"hash")
        case MaskKind.TOKENISE:
            return _token(text, type_, key)
        case MaskKind.SQL:
            return f"({expression(mask).expand(reader, roles, column)}\n)"
        case MaskKind.PARTIAL:
            return _partial(mask, text) if type_ is None or isinstance(type_, Scalar) else nothing
        case MaskKind.BUCKET:
            return _bucket(mask, column, type_) or nothing


@lru_cache(maxsize=1024)
def _read(text: str, where: str, *, boolean: bool) -> PolicyExpression:
    return policy_expression(text, where=where, boolean=boolean)


def expression(mask: Mask) -> PolicyExpression:
    """Return the expression of a mask in SQL."""
    return _read(mask.sql, "a mask", boolean=False)


def condition(sql: str) -> PolicyExpression:
    """Return the condition of a row filter."""
    return _read(sql, "a row filter", boolean=True)


@lru_cache(maxsize=64)
def _pads(key: bytes, purpose: bytes) -> tuple[str, str]:
    """Return the inner and outer block of HMAC as hexadecimal digits, for a key that serves one purpose only."""
    block = hmac.digest(key, purpose, "sha256").ljust(_BLOCK, b"\0")
    return bytes(byte ^ 0x36 for byte in block).hex(), bytes(byte ^ 0x5C for byte in block).hex()


def secrets(key: bytes) -> tuple[str, ...]:
    """Return what of a key stands in rewritten queries, so that messages can be cleaned of it."""
    return (*_pads(key, b"hash"), *_pads(key, b"token"))


def _digest(text: str, key: bytes, purpose: bytes) -> str:
    inner, outer = _pads(key, purpose)
    return f"sha256(from_hex('{outer}') || from_hex(sha256(from_hex('{inner}') || encode({text}))))"


def _token(text: str, type_: DataType | None, key: bytes) -> str:
    """Return a stand-in of the column's kind: a whole number for numbers, a UUID for UUIDs, a short text for others."""
    digest = _digest(text, key, b"token")
    if is_number(type_):
        return f"CAST('0x' || substr({digest}, 1, 15) AS BIGINT)"
    if isinstance(type_, Scalar) and type_.name == "uuid":
        return f"CAST(substr({digest}, 1, 32) AS UUID)"
    return f"'tok_' || substr({digest}, 1, 20)"


def _partial(mask: Mask, text: str) -> str:
    """Return the ends of a text, where at least as much of it stays hidden; how long it is, is not told."""
    shown = mask.first + mask.last
    ends = f"left({text}, {mask.first}) || '{_HIDDEN}' || right({text}, {mask.last})"
    return f"CASE WHEN {text} IS NULL THEN NULL WHEN length({text}) >= {2 * shown} THEN {ends} ELSE '{_HIDDEN}' END"


def _bucket(mask: Mask, column: str, type_: DataType | None) -> str | None:
    if mask.size is not None and is_number(type_):
        return f"CAST(floor({column} / {mask.size:.15g}) * {mask.size:.15g} AS {type_})"
    if mask.unit and is_time(type_):
        return f"CAST(date_trunc({literal(mask.unit)}, {column}) AS {type_})"
    return None


def qualified(alias: str, column: str) -> str:
    """Return a column with the alias of its relation, both quoted."""
    return f"{quote(alias)}.{quote(column)}"
