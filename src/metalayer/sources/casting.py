"""From text to typed values, as SQL: what does not fit exactly becomes NULL here and is kept as text elsewhere.

The engine's own casts are too kind for raw data: they round 1.7 to 2, drop the time of a date and the offset of a
timestamp, and read 0x1F as 31. Each cast here is the engine's, followed by a test that nothing was lost; the tests are
chosen so that a value written in the usual form passes by the cheapest comparison.
"""

from __future__ import annotations

from metalayer.core.names import literal
from metalayer.core.schema import DataType, Scalar
from metalayer.sources.dialect import TextDialect, Writing

_INTEGERS = frozenset(
    {f"{sign}{size}int" for sign in ("", "u") for size in ("tiny", "small", "big", "huge")} | {"integer", "uinteger"}
)
_FRACTIONS = frozenset({"real", "double"})
_NUMBERS = _INTEGERS | _FRACTIONS | {"decimal"}
_NAIVE = frozenset({"timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"})
_MIDNIGHT = r"\s*[+-]?\d{1,6}[-/ \\]\d{1,2}[-/ \\]\d{1,2}([ T]00:00(:00(\.0+)?)?)?\s*"
_SHIFTED = r":\d\d(?:[.,]\d+)?\s*[+-](?:0[1-9]|[1-9]\d|00:?(?:0[1-9]|[1-9]\d))"
_OFFSET = r":\d\d(?:[.,]\d+)?\s*(?:[Zz]|[+-]\d\d(?::?\d\d)?)\s*$"


def all_digits(text: str, type_: Scalar) -> str:
    """Return the SQL condition that a decimal keeps every digit after the point; a double's comparison sees 15."""
    return f"length(rtrim(split_part({text}, '.', 2), '0')) <= {type_.scale or 0} OR regexp_matches({text}, '[eE]')"


def is_text(type_: DataType | None) -> bool:
    """Tell whether every text is a value of the type."""
    return isinstance(type_, Scalar) and type_.name == "varchar"


def cast(text: str, type_: DataType, writing: Writing) -> str:
    """Return SQL that reads the text expression ``text`` as a type: NULL where it does not fit, or not exactly."""
    value = engine_cast(text, type_, writing)
    return exact(value, text, type_, writing)


def engine_cast(text: str, type_: DataType, writing: Writing) -> str:
    """Return the engine's own cast of a text, NULL where there is none."""
    if is_text(type_):
        return text
    name = type_.name if isinstance(type_, Scalar) else ""
    if name == "decimal":
        # The engine reads 9e-900 as the decimal 0.01.
        plain = plain_number(text, writing)
        return f"CASE WHEN TRY_CAST({plain} AS double) = 0 THEN 0 ELSE TRY_CAST({plain} AS {type_}) END"
    if name in _NUMBERS:
        return f"TRY_CAST({plain_number(text, writing)} AS {type_})"
    if name == "date" and writing.date:
        return f"CAST(try_strptime({text}, {literal(writing.date)}) AS date)"
    if name in _NAIVE and writing.timestamp:
        # A form with an offset yields an instant: its UTC time is what a type without an offset can hold of it.
        return f"TRY_CAST(try_strptime({text}, {literal(writing.timestamp)}) AS {type_})"
    if name == "timestamptz":
        return _instant(text, writing)
    return f"TRY_CAST({text} AS {type_})"


def exact(value: str, text: str, type_: DataType, writing: Writing) -> str:
    """Return ``value``, which is `engine_cast` of ``text``, where nothing was lost on the way, and NULL elsewhere."""
    name = type_.name if isinstance(type_, Scalar) else ""
    test = ""
    if name in _FRACTIONS:
        # The engine reads +-5 as -5.
        test = f"(isfinite({value}) OR regexp_matches({text}, '(?i)(inf|nan)')) AND NOT contains({text}, '+-')"
    elif name in _NUMBERS:
        # 12.0 is 12, but 1.7 is not 2, and 0x1F is no number.
        test = f"CAST({value} AS double) = TRY_CAST({plain_number(text, writing)} AS double)"
    elif name == "date" and not writing.date:
        test = f"{text} LIKE '____-__-__' OR regexp_full_match({text}, {literal(_MIDNIGHT)})"
    elif name in _NAIVE and not writing.timestamp:
        # An offset of zero is the UTC that a type without an offset means; any other would be lost without a word.
        test = f"{text} LIKE '____-__-_____:__:__' OR NOT regexp_matches({text}, {literal(_SHIFTED)})"
    elif name == "time":
        test = f"regexp_full_match({text}, '[^+Zz-]*')"
    return f"CASE WHEN {test} THEN {value} END" if test else value


def plain_number(text: str, writing: Writing) -> str:
    """Return the text with a point as its decimal sign and nothing between its digits."""
    if not isinstance(writing, TextDialect):
        return text
    decimal, thousands = writing.decimal, writing.thousands
    if decimal == "." and not thousands:
        return text
    # A sign that has no meaning in this dialect must not get one: "1.5" is no number where the decimal sign is a comma.
    source, target = (decimal, ".") if decimal == "." else (decimal + ("." if thousands != "." else ""), ".!")
    if not thousands:
        return f"translate({text}, {literal(source)}, {literal(target)})"
    group, point = _escaped(thousands), _escaped(decimal)
    grouped = rf"\s*[+-]?\d{{1,3}}({group}\d{{2,3}})*{group}\d{{3}}({point}\d*)?\s*"
    plain = f"translate({text}, {literal(source + thousands)}, {literal(target[: len(source)])})"
    return (
        f"CASE WHEN NOT contains({text}, {literal(thousands)}) OR regexp_full_match({text}, {literal(grouped)}) "
        f"THEN {plain} END"
    )


def _escaped(sign: str) -> str:
    return "\\" + sign if not sign.isalnum() and sign.isascii() else sign


def _instant(text: str, writing: Writing) -> str:
    zone = literal(writing.timezone)
    if writing.timestamp:
        value = f"try_strptime({text}, {literal(writing.timestamp)})"
        return value if "%z" in writing.timestamp else f"{value} AT TIME ZONE {zone}"
    value = f"TRY_CAST({text} AS timestamptz)"
    if writing.timezone == "UTC":
        return value
    local = f"TRY_CAST({text} AS timestamp) AT TIME ZONE {zone}"
    return f"CASE WHEN regexp_matches({text}, {literal(_OFFSET)}) THEN {value} ELSE {local} END"
