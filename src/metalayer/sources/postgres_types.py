"""PostgreSQL's types as the lake's, and the SQL that reads its texts: pure functions over the catalog's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from metalayer.core.schema import JSON, VARCHAR, DataType, ListOf, Scalar

_SCALARS: Mapping[int, str] = {
    16: "boolean",
    17: "blob",
    20: "bigint",
    21: "smallint",
    23: "integer",
    26: "bigint",
    114: "json",
    700: "real",
    701: "double",
    1082: "date",
    1083: "time",
    1114: "timestamp",
    1184: "timestamptz",
    1186: "interval",
    1266: "timetz",
    2950: "uuid",
    3802: "json",
}
_TEXTS = frozenset({18, 19, 25, 1042, 1043})
_PADDED = 1042
_NUMERIC = 1700
_LISTS: Mapping[int, int] = {
    1000: 16,
    1001: 17,
    1002: 18,
    1003: 19,
    1005: 21,
    1007: 23,
    1009: 25,
    1014: 1042,
    1015: 1043,
    1016: 20,
    1021: 700,
    1022: 701,
    1028: 26,
    1115: 1114,
    1182: 1082,
    1183: 1083,
    1185: 1184,
    1187: 1186,
    1231: _NUMERIC,
    1270: 1266,
    2951: 2950,
    199: 114,
    3807: 3802,
}
_WITHOUT_LIST = frozenset({17, 114, 3802})
"""Types whose lists are kept as JSON of texts: the engine has no cast for them that loses nothing."""


@dataclass(frozen=True, slots=True)
class OwnType:
    """A type of one server: the number of the type below its domains, that one's modifier, and what it is a list of."""

    base: int
    modifier: int
    element: int


@dataclass(frozen=True, slots=True)
class TextOf:
    """What a column's text stands for: the lake's type of it; ``is_list`` where the text is an array's."""

    type: DataType
    is_list: bool = False


def is_known(number: int) -> bool:
    """Tell whether a type is every server's, so that nobody has to be asked what it is."""
    return number in _SCALARS or number in _TEXTS or number == _NUMERIC or number in _LISTS


def is_list(number: int, own: Mapping[int, OwnType]) -> bool:
    """Tell whether a type's texts are those of arrays."""
    found = own.get(number)
    return bool(found.element) or found.base in _LISTS if found is not None else number in _LISTS


def is_padded(number: int, own: Mapping[int, OwnType]) -> bool:
    """Tell whether a type's texts are filled up with blanks that mean nothing."""
    found = own.get(number)
    return (number if found is None else found.base) == _PADDED


def text_of(number: int, modifier: int, own: Mapping[int, OwnType], depth: int = 1) -> TextOf:
    """Return what the text of a type stands for; what the lake has no type for stays text.

    ``depth`` is how many lists lie in each other where the type is an array: the type itself does not tell.

    >>> str(text_of(1700, 786438, {}).type), str(text_of(1700, -1, {}).type), str(text_of(1007, -1, {}).type)
    ('decimal(12,2)', 'varchar', 'integer[]')
    """
    found = own.get(number)
    if found is not None:
        number, modifier = found.base, found.modifier if found.modifier >= 0 else modifier
    element = _LISTS.get(number) or (found.element if found is not None else 0)
    if not element:
        return TextOf(_scalar(number, modifier))
    if element in _WITHOUT_LIST:
        return TextOf(JSON, is_list=True)
    type_ = _scalar(element, modifier)
    for _ in range(max(1, depth)):
        type_ = ListOf(type_)
    return TextOf(type_, is_list=True)


def _scalar(number: int, modifier: int) -> DataType:
    # PostgreSQL packs precision and scale into one number, four greater than they are.
    if number == _NUMERIC and modifier >= 4:
        precision, scale = (modifier - 4) >> 16, (modifier - 4) & 0x7FF
        if scale <= precision <= 38:  # beyond, the engine would round
            return Scalar("decimal", precision, scale)
    name = _SCALARS.get(number)
    return Scalar(name) if name is not None else VARCHAR


def value(text: str, type_: DataType) -> str:
    """Return SQL that reads a text expression as the type it was written from: NULL where the engine cannot hold it."""
    if isinstance(type_, ListOf):
        given = f"CAST({text} AS json)"
        read = f"TRY_CAST({given} AS {type_})"
        # An element that does not fit becomes NULL without a word: then there are fewer than there were.
        return f"CASE WHEN list_count({read}) = list_count(CAST({given} AS varchar[])) THEN {read} END"
    assert isinstance(type_, Scalar)  # noqa: S101 - `text_of` yields no others
    match type_.name:
        case "varchar":
            return text
        case "blob":
            return f"unhex(substr({text}, 3))"
        case "date":
            return f"TRY_CAST(replace({text}, ' BC', ' (BC)') AS date)"
        case _:
            return f"TRY_CAST({text} AS {type_})"
