"""Types that cannot meet: a check against the type of its column, where both are known without looking at data."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from metalayer.core.check import AcceptedValues, Freshness, Length, Matches, Range, Rule, Value
from metalayer.core.schema import DataType, Scalar


class Family(StrEnum):
    """Types whose values can be compared with each other; the word is how people call them."""

    NUMBER = "numbers"
    TEXT = "text"
    TIME = "dates or times"
    TRUTH = "true or false"
    OTHER = "nested or binary values"


_OTHER = frozenset({"blob", "json", "interval"})


def family(type_: DataType) -> Family:
    """Return the family of a type."""
    if not isinstance(type_, Scalar) or type_.name in _OTHER:
        return Family.OTHER
    match type_.name:
        case "varchar" | "uuid":
            return Family.TEXT
        case "boolean":
            return Family.TRUTH
        case "date" | "time" | "timetz":
            return Family.TIME
        case name if name.startswith("timestamp"):
            return Family.TIME
        case _:
            return Family.NUMBER


def clash(rule: Rule, type_: DataType) -> tuple[str, str] | None:
    """Return what is wrong with a rule over a column of a type, as words for "which holds X" and a mend."""
    found = family(type_)
    match rule:
        case Matches() | Length():
            if type_ != Scalar("varchar"):
                return "judges text", "Check it with `between` or `accepted_values`, or cast the column to varchar."
        case Freshness():
            if found is not Family.TIME or str(type_) in {"time", "timetz"}:
                return "needs a date or timestamp", "Name a column that says when, for example updated_at."
        case Range():
            if found in {Family.TRUTH, Family.OTHER}:
                return "compares values by size", "Use `accepted_values`, or a row check with `sql:`."
            for bound in (rule.minimum, rule.maximum):
                if bound is not None and not _fits(bound, found, type_):
                    return f"is given {_shown(bound)}", _mend(found, str(type_))
        case AcceptedValues():
            for value in rule.values:
                if found is not Family.TEXT and value is not None and not _fits(value, found, type_):
                    return f"is given {_shown(value)}", _mend(found, str(type_))
        case _:
            return None
    return None


def _shown(value: Value) -> str:
    return f"the text '{value}'" if isinstance(value, str) else f"the value {str(value).lower()}"


def _mend(found: Family, type_: str) -> str:
    match found:
        case Family.NUMBER:
            return "Write a number."
        case Family.TIME:
            example = {"date": "2026-01-31", "time": "12:30:00", "timetz": "12:30:00"}.get(type_, "2026-01-31 12:30:00")
            return f"Write it as text: '{example}'."
        case Family.TRUTH:
            return "Write true or false."
        case Family.TEXT | Family.OTHER:
            return "Quote the value to compare it as text, or cast the column."


def _fits(value: Value, found: Family, type_: DataType) -> bool:
    """Tell whether a constant can be a value of a type."""
    match found:
        case Family.NUMBER:
            return not isinstance(value, bool) and _is_number(str(value))
        case Family.TIME:
            return isinstance(value, str) and _is_time(value, str(type_))
        case Family.TRUTH:
            return isinstance(value, bool)
        case Family.TEXT:
            return isinstance(value, str)
        case Family.OTHER:
            return True


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_time(text: str, type_: str) -> bool:
    if type_ in {"time", "timetz"}:
        return ":" in text
    try:
        (date if type_ == "date" else datetime).fromisoformat(text)
    except ValueError:
        return False
    return True
