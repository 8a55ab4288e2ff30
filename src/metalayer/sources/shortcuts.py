"""Shortcuts: types that the engine may read from text by itself, and the values that it may not have read exactly.

A shortcut gives what `casting` gives or tells that it is in doubt; a file with a doubt is read again by `casting`.
Numbers are read as doubles, which keep what stands behind the decimal sign: the engine's own integers and decimals
round 1.7 to 2 and say nothing. Numbers with a sign of thousands or a comma have no shortcut. Nothing here runs a query.
"""

from __future__ import annotations

from dataclasses import dataclass

from metalayer.core.schema import DataType, Scalar
from metalayer.sources.dialect import TextDialect

BOTH_SIGNS = "+-"
"""A file in which this occurs must not take shortcuts: the engine reads +-5 as the double -5."""

_SMALL = frozenset({"tinyint", "smallint", "integer"})
_EXACT = 2**53 - 1
"""The largest integer of which a double knows both neighbours."""
_DIGITS = 15
"""How many digits two decimals may have so that they never have the same double."""
_SCALE = 9


@dataclass(frozen=True, slots=True)
class Shortcut:
    """How a column's text is read by the engine.

    Attributes:
        type: the type that the engine reads.
        value: the SQL of the column's value over what was read.
        doubt: the SQL condition that the value may not be the text's; empty where it always is.
    """

    type: str
    value: str
    doubt: str


def shortcut(read: str, value: str, type_: DataType, dialect: TextDialect) -> Shortcut | None:
    """Return the shortcut to a column's values, or None where there is none.

    Args:
        read: the SQL of what the engine read.
        value: the name that the value will have.
        type_: the column's type.
        dialect: how the file is written.

    >>> shortcut("c0", "v0", Scalar("integer"), TextDialect())
    Shortcut(type='DOUBLE', value='CAST(c0 AS integer)', doubt='CAST(v0 AS double) <> c0')
    """
    if not isinstance(type_, Scalar):
        return None
    if type_.name == "boolean":
        return Shortcut("BOOLEAN", read, "")
    if dialect.decimal != "." or dialect.thousands:
        return None
    back = f"CAST({value} AS double) <> {read}"
    if type_.name == "double":
        return Shortcut("DOUBLE", read, f"NOT isfinite({read})")
    if type_.name in _SMALL:
        return Shortcut("DOUBLE", f"CAST({read} AS {type_})", back)
    if type_.name == "bigint":
        return Shortcut("DOUBLE", f"CAST({read} AS {type_})", f"{back} OR abs({read}) > {_EXACT}")
    if type_.name == "decimal" and type_.scale is not None and type_.scale <= _SCALE:
        most = 10 ** (_DIGITS - type_.scale)
        return Shortcut("DOUBLE", f"CAST({read} AS {type_})", f"{back} OR abs({read}) >= {most}")
    return None
