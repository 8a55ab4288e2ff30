"""Rules as SQL: what a row must not be, how a table is measured, and which rows are set aside.

Pure: it writes SQL and judges what it returned; it runs nothing (`build.checks` does).

Every statement names the judged rows ``_judged``, so that a rule never meets a parent's column of the same name. NULL
never fails a rule other than `NotNull`; a NaN is greater than every number, so it fails a maximum and passes a minimum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from metalayer.core.check import (
    AcceptedValues,
    Action,
    Check,
    Freshness,
    Length,
    Matches,
    NotNull,
    Outcome,
    Range,
    References,
    RowCount,
    RowSql,
    TableSql,
    Unique,
    Value,
    Verdict,
)
from metalayer.core.errors import BuildError, did_you_mean
from metalayer.core.names import TableName, literal, quote
from metalayer.core.schema import DataType, ListOf, Scalar

if TYPE_CHECKING:
    from metalayer.lake import StagedFiles

ROWS = quote("_judged")
FAILED, ROW_HASH = "_failed", "_row_hash"
SAMPLES = 5
_LONGEST_SAMPLE = 300
_INTEGERS = frozenset(
    {"tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger", "ubigint", "uhugeint"}
)
_TIMES = frozenset({"date", "timestamp", "timestamptz", "timestamp_s", "timestamp_ms", "timestamp_ns"})


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is known for certain of a column's values in files.

    ``minima`` and ``maxima`` hold the least and greatest value of each file that has any, as text; None where that of
    some file is not known.
    """

    rows: int
    nulls: int
    minima: tuple[str, ...] | None = None
    maxima: tuple[str, ...] | None = None


def statistics_of(files: StagedFiles) -> dict[str, Bounds]:
    """Return what staged files say of their columns; a column that some file does not report is left out.

    Bounds are taken only of numbers and times: those of texts may be cut, and a NaN lies outside of any.
    """
    found = {}
    for column in files.schema.columns:
        parts = [(file.rows, next((s for s in file.statistics if s.column_id == column.id), None)) for file in files]
        known = [(rows, part) for rows, part in parts if part is not None]
        if known and len(known) == len(parts):
            filled = [part for rows, part in known if part.nulls < rows]
            bounded = _is(column.type, *_INTEGERS, *_TIMES, "decimal") or (
                _is(column.type, "real", "double") and all(part.has_nan is False for part in filled)
            )
            found[column.name] = Bounds(
                rows=sum(rows for rows, _ in known),
                nulls=sum(part.nulls for _, part in known),
                minima=_known([part.minimum for part in filled]) if bounded else None,
                maxima=_known([part.maximum for part in filled]) if bounded else None,
            )
    return found


def _known(texts: Sequence[str | None]) -> tuple[str, ...] | None:
    known = tuple(value for value in texts if value is not None)
    return known if len(known) == len(texts) else None


@dataclass(frozen=True, slots=True)
class Subject:
    """What checks judge.

    Attributes:
        rows: a FROM item, without an alias, of the rows to judge.
        columns: their names and types, in the order of the declaration.
        key: the columns that identify a row; samples show them.
        now: the run's start, which freshness is measured against.
        table: a FROM item of the whole table after the run, which table rules and `Unique` judge; None where the rows
            are the whole table.
        references: FROM items of the parents.
        statistics: what the files say of columns, where the rows are whole files; empty where they are not.
        hashed: the columns that a row's hash covers; None is all.
    """

    rows: str
    columns: Mapping[str, DataType] = field(hash=False)
    key: tuple[str, ...]
    now: datetime
    table: str | None = None
    references: Mapping[TableName, str] = field(default_factory=dict, hash=False)
    statistics: Mapping[str, Bounds] = field(default_factory=dict, hash=False)
    hashed: tuple[str, ...] | None = None

    @property
    def is_whole(self) -> bool:
        """Tell whether the rows are the whole table."""
        return self.table is None or self.table == self.rows


def failing(check: Check, subject: Subject) -> str | None:
    """Return the SQL condition that is true where a row fails; None where the rule does not judge single rows.

    It may be NULL where a row passes: count with ``FILTER``, or ask ``IS TRUE``.

    Raises:
        BuildError: the check does not fit the columns, or a parent is not known.
    """
    fields = _columns(check, subject)
    match check.rule:
        case NotNull():
            return _any(f"{field_} IS NULL" for field_ in fields)
        case AcceptedValues(values):
            return _any(_not_accepted(values, name, field_, subject) for name, field_ in _named(check, fields))
        case Range(minimum, maximum):
            bounds = (("<", minimum), (">", maximum))
            return _any(
                f"{field_} {sign} {_constant(bound, subject.columns[name])}"
                for name, field_ in _named(check, fields)
                for sign, bound in bounds
                if bound is not None
            )
        case Matches(pattern):
            return _any(
                f"NOT regexp_full_match({_as_text(field_, subject.columns[name])}, {text(pattern)})"
                for name, field_ in _named(check, fields)
            )
        case Length(minimum, maximum):
            return _any(
                f"{_length(field_, subject.columns[name])} {sign} {int(bound)}"
                for name, field_ in _named(check, fields)
                for sign, bound in (("<", minimum), (">", maximum))
                if bound is not None
            )
        case References():
            return _orphan(check, check.rule, fields, subject)
        case RowSql(expression):
            # A comment at the end of the expression must not swallow the bracket.
            return f"NOT (\n{expression}\n)"
        case Unique() | RowCount() | Freshness() | TableSql():
            return None


def flagged(checks: Sequence[Check], subject: Subject) -> str:
    """Return a SELECT of every row with `_failed` and `_row_hash`, which splits good from bad rows in one pass.

    `_failed` names, in order, the quarantine checks a row fails, and is NULL for a good row. `Unique` sets aside every
    row of a duplicated key: nothing says which of them is right. `_row_hash` covers the values of the hashed columns
    in the order of the declaration; equal rows have equal hashes in every run.

    Raises:
        BuildError: a check does not fit the columns, or the table has a column of one of the two names.
    """
    for taken in (FAILED, ROW_HASH):
        if taken in subject.columns:
            raise BuildError(
                f"The table has a column {taken}, which rows that are set aside need for themselves.",
                hint=f"Give the column {taken} another name in the query.",
            )
    conditions = [(check, aside(check, subject)) for check in checks if check.on_fail is Action.QUARANTINE]
    columns = [f"{ROWS}.{quote(name)}" for name in subject.columns]
    prefix = "_fails"
    while any(name.startswith(prefix) for name in subject.columns):
        prefix += "_"
    marks = [quote(f"{prefix}{place}") for place in range(len(conditions))]
    inner = [*columns, *(f"{condition} AS {mark}" for (_, condition), mark in zip(conditions, marks, strict=True))]
    named = [(mark, check.name) for (check, _), mark in zip(conditions, marks, strict=True)]
    outer = [*columns, f"{_failed_names(named)} AS {FAILED}", f"{row_hash(subject)} AS {ROW_HASH}"]
    return _select(outer, f"(\n{_select(inner, subject.rows)}\n)")


def kept(checks: Sequence[Check], subject: Subject) -> str:
    """Return a FROM item of the rows that no quarantine check fails."""
    columns = ", ".join(map(quote, subject.columns))
    return f"(SELECT {columns} FROM ({flagged(checks, subject)}) WHERE {FAILED} IS NULL)"


def aside(check: Check, subject: Subject) -> str:
    """Return the condition that is true where a quarantine check sets a row aside.

    Raises:
        BuildError: the rule judges the table as a whole, so there is no row to set aside.
    """
    condition = failing(check, subject)
    if condition is not None:
        return condition
    if isinstance(check.rule, Unique):
        return is_duplicate(check, subject)
    raise BuildError(
        f"The check {check.name} judges the whole table, so it cannot set rows aside.",
        hint="Use `on_fail: warn` or `on_fail: block`.",
        location=check.location,
    )


def is_duplicate(check: Check, subject: Subject) -> str:
    """Return the condition that a row's key occurs more than once in the table."""
    fields = _columns(check, subject)
    keys = ", ".join(map(quote, check.columns))
    compared = fields[0] if len(fields) == 1 else f"({', '.join(fields)})"
    return (
        _all(f"{field_} IS NOT NULL" for field_ in fields)
        + f" AND {compared} IN (SELECT {keys} FROM {subject.table or subject.rows}"
        + f" WHERE {_all(f'{quote(name)} IS NOT NULL' for name in check.columns)}"
        + f" GROUP BY {keys} HAVING count(*) > 1)"
    )


def row_hash(subject: Subject) -> str:
    """Return the hash of a row's values as SQL: NULL is a value of its own, and names count."""
    names = subject.columns if subject.hashed is None else subject.hashed
    return f"md5({_json(names)})"


def count_of(condition: str) -> str:
    """Return the aggregate that counts the rows where a condition is true."""
    return f"count(*) FILTER (WHERE {condition})"


def scan(terms: Iterable[str], item: str) -> str:
    """Return the statement that counts an item's rows and computes further aggregates beside it."""
    return _select(["count(*)", *terms], item)


def proof(check: Check, subject: Subject) -> str | None:
    """Return SQL without a table that is true only if no row can fail; None where statistics cannot tell."""
    found = [subject.statistics.get(name) for name in check.columns]
    known = [bounds for bounds in found if bounds is not None]
    if not known or len(known) < len(found):
        return None
    match check.rule:
        case NotNull():
            return "false" if any(bounds.nulls for bounds in known) else "true"
        case Range(minimum, maximum):
            conditions = []
            for name, bounds in zip(check.columns, known, strict=True):
                type_ = subject.columns[name]
                for sign, bound, extremes in ((">=", minimum, bounds.minima), ("<=", maximum, bounds.maxima)):
                    if bound is not None and extremes is None:
                        return None
                    if bound is not None:
                        conditions += [
                            f"{_constant(extreme, type_)} {sign} {_constant(bound, type_)}"
                            for extreme in extremes or ()
                        ]
            return _all(conditions) or "true"
        case _:
            return None


def integers(name: str, subject: Subject) -> range | None:
    """Return the integers among which all values of a column lie; None where that is not known, or it has no value."""
    if not _is(subject.columns[name], *_INTEGERS):
        return None
    bounds = subject.statistics.get(name)
    if bounds is None or not bounds.minima or not bounds.maxima:
        return None
    return range(min(map(int, bounds.minima)), max(map(int, bounds.maxima)) + 1)


def surplus(name: str, among: range) -> str:
    """Return the aggregate that is 0 exactly if no two rows have the same integer, of a column within a range.

    One bit stands for each integer of the range.
    """
    field_ = f"{ROWS}.{quote(name)}"
    return f"count({field_}) - coalesce(bit_count({_bitmap(field_, among)}), 0)"


def orphans(name: str, parent: str, parent_column: str, among: range) -> str:
    """Return the aggregate that counts the integers of a column, within a range, which the parent does not have."""
    have = f"(SELECT {_bitmap(quote(parent_column), among)} {_whole_numbers(parent, parent_column, among)})"
    ours = _bitmap(f"{ROWS}.{quote(name)}", among)
    return f"coalesce(bit_count(coalesce({ours} & ~{have}, {ours})), 0)"


def gaps(parent: str, parent_column: str, among: range) -> str:
    """Return the statement that counts the integers of a range which a parent does not have."""
    have = f"coalesce(bit_count({_bitmap(quote(parent_column), among)}), 0)"
    return f"SELECT {len(among)} - {have} {_whole_numbers(parent, parent_column, among)}"


def _bitmap(field_: str, among: range) -> str:
    return f"bitstring_agg(CAST({field_} AS bigint), {among[0]}, {among[-1]})"


def _whole_numbers(parent: str, column: str, among: range) -> str:
    name = quote(column)
    return f"FROM {parent} WHERE {name} BETWEEN {among[0]} AND {among[-1]} AND {name} = TRY_CAST({name} AS bigint)"


def newest(check: Check, rule: Freshness, subject: Subject) -> tuple[str, str]:
    """Return the newest value as text and whether it is fresh enough, as two terms of a scan."""
    (field_,) = _columns(check, subject)
    type_ = subject.columns[check.columns[0]]
    if not (isinstance(type_, Scalar) and type_.name in _TIMES):
        raise BuildError(
            f"The check {check.name} needs a date or a timestamp, but {check.columns[0]} is {type_}.",
            hint="Name a column of the type date, timestamp or timestamptz.",
            location=check.location,
        )
    oldest = (subject.now.astimezone(UTC) - rule.within).replace(tzinfo=None)
    match type_.name:
        case "date":
            bound = oldest.date().isoformat()
        case "timestamptz":
            bound = oldest.isoformat(sep=" ") + "+00"
        case _:
            bound = oldest.isoformat(sep=" ")
    bounds = subject.statistics.get(check.columns[0])
    latest = f"max({field_})"
    if bounds is not None and bounds.maxima:
        latest = f"greatest({', '.join(_constant(value, type_) for value in bounds.maxima)})"
    return f"CAST({latest} AS varchar)", f"{latest} >= CAST({literal(bound)} AS {type_})"


def duplicated(check: Check, subject: Subject, part: int = 0, parts: int = 1) -> str:
    """Return the statement that counts the table's rows whose key occurs more than once, and shows five such keys.

    The keys may be taken in several parts, one after the other, so that not all of them are in memory at once.
    """
    _columns(check, subject)
    keys = ", ".join(map(quote, check.columns))
    conditions = [f"{quote(name)} IS NOT NULL" for name in check.columns]
    if parts > 1:
        conditions.append(f"hash({keys}) % {parts} = {part}")
    return (
        f"SELECT coalesce(sum(copies), 0)::bigint, min({_json(check.columns, '')}, {SAMPLES})\n"
        f"FROM (SELECT {keys}, count(*) AS copies FROM {subject.table or subject.rows}\n"
        f"WHERE {_all(conditions)} GROUP BY {keys} HAVING count(*) > 1)"
    )


def answer(rule: TableSql, item: str) -> str:
    """Return the statement that asks a table's query: its value as text, and whether it is the expected one."""
    match rule.expected:
        case None:
            expected = "NULL"
        case bool() as truth:
            expected = "true" if truth else "false"
        case str() as words:
            expected = text(words)
        case number:
            expected = repr(number)
    return (
        f"WITH this AS (SELECT * FROM {item})\n"
        f"SELECT CAST(value AS varchar), value IS NOT DISTINCT FROM {expected}\n"
        f"FROM (SELECT (\n{rule.query}\n) AS value)"
    )


def samples(conditions: Sequence[tuple[Check, str]], subject: Subject) -> str:
    """Return the statement that fetches, for each failed check by its place, the keys of its first failing rows."""
    return "\nUNION ALL\n".join(
        f"(SELECT {place}, {_sample(check, subject)} FROM {subject.rows} AS {ROWS} WHERE {condition}"
        # A join with the parent does not keep the order of the rows.
        f"{' ORDER BY 2' if isinstance(check.rule, References) else ''} LIMIT {SAMPLES})"
        for place, (check, condition) in enumerate(conditions)
    )


def outcome(check: Check, checked: int, failed: int) -> Outcome:
    """Judge a count by the check's action and tolerance; quarantine knows no tolerance."""
    if failed == 0:
        return Outcome.PASSED
    if check.on_fail is Action.QUARANTINE:
        return Outcome.QUARANTINED
    if check.tolerance.allows(failed, checked):
        return Outcome.PASSED
    return Outcome.BLOCKED if check.on_fail is Action.BLOCK else Outcome.WARNED


def verdict(
    check: Check, checked: int, failed: int, *, sample: Iterable[str] = (), observed: str | None = None
) -> Verdict:
    """Return what a check found."""
    return Verdict(check, checked, failed, outcome(check, checked, failed), tuple(sample), observed)


def constants(check: Check, subject: Subject) -> tuple[tuple[str, BuildError], ...]:
    """Return SQL that is true where a constant can be used, each with the error to raise where it cannot."""
    _columns(check, subject)
    if isinstance(check.rule, Matches):
        tried = f"regexp_full_match('', {text(check.rule.pattern)}) IS NOT NULL"
        return ((tried, _bad_pattern(check, check.rule.pattern)),)
    values: tuple[Value, ...] = ()
    if isinstance(check.rule, AcceptedValues):
        values = check.rule.values
    elif isinstance(check.rule, Range):
        values = (check.rule.minimum, check.rule.maximum)
    return tuple(
        (_fits(value, subject.columns[name]), _bad_constant(check, value, name, subject.columns[name]))
        for name in check.columns
        for value in values
        if value is not None
    )


def text(value: str) -> str:
    """Return a text as an SQL expression, also where it holds the character NUL, which no literal can.

    Raises:
        BuildError: it holds half of a surrogate pair, which is not text.
    """
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BuildError(
            f"{value!r} is not valid text: {error.reason}.",
            hint="Write the character itself, or both halves of its surrogate pair.",
        ) from error
    parts = [literal(part) for part in value.split("\0")]
    return parts[0] if len(parts) == 1 else "(" + " || chr(0) || ".join(parts) + ")"


def _select(terms: Sequence[str], item: str) -> str:
    return "SELECT\n  " + ",\n  ".join(terms) + f"\nFROM {item} AS {ROWS}"


def _any(conditions: Iterable[str]) -> str:
    listed = list(conditions)
    return f"({' OR '.join(listed)})" if len(listed) > 1 else (listed[0] if listed else "false")


def _all(conditions: Iterable[str]) -> str:
    return " AND ".join(conditions)


def _columns(check: Check, subject: Subject) -> tuple[str, ...]:
    """Return the check's columns as SQL.

    Raises:
        BuildError: the table has no such column.
    """
    for name in check.columns:
        if name not in subject.columns:
            raise BuildError(
                f"The check {check.name} names the column {name}, which the table does not have.",
                hint=f"{did_you_mean(name, subject.columns)}The table has: {', '.join(subject.columns)}.",
                location=check.location,
            )
    return tuple(f"{ROWS}.{quote(name)}" for name in check.columns)


def _named(check: Check, fields: tuple[str, ...]) -> Iterable[tuple[str, str]]:
    return zip(check.columns, fields, strict=True)


def _spelled(value: Value) -> str:
    """Return a constant as the text that is cast to a column's type."""
    match value:
        case bool() as truth:
            return "true" if truth else "false"
        case _:
            return str(value)


def _constant(value: Value, type_: DataType) -> str:
    return f"CAST({text(_spelled(value))} AS {type_})"


def _not_accepted(values: tuple[Value, ...], name: str, field_: str, subject: Subject) -> str:
    listed = ", ".join(_constant(value, subject.columns[name]) for value in values if value is not None)
    if not listed:
        return f"{field_} IS NOT NULL"
    if _is(subject.columns[name], "varchar"):
        # Unlike IN, the engine evaluates this function once for each entry of a file's dictionary.
        return f"NOT list_contains([{listed}], {field_})"
    return f"{field_} NOT IN ({listed})"


def _is(type_: DataType, *names: str) -> bool:
    return isinstance(type_, Scalar) and type_.name in names


def _as_text(field_: str, type_: DataType) -> str:
    return field_ if _is(type_, "varchar") else f"CAST({field_} AS varchar)"


def _length(field_: str, type_: DataType) -> str:
    if _is(type_, "blob"):
        return f"octet_length({field_})"
    return f"length({field_})" if isinstance(type_, ListOf) else f"length({_as_text(field_, type_)})"


def _orphan(check: Check, rule: References, fields: tuple[str, ...], subject: Subject) -> str:
    """Return the condition that a row names a parent that does not exist."""
    parent = subject.references.get(rule.table)
    if parent is None:
        raise BuildError(
            f"The check {check.name} refers to {rule.table}, which has not been built.",
            hint=f"Build {rule.table} first, or take the check away.",
            location=check.location,
        )
    if len(rule.columns) != len(fields):
        raise BuildError(
            f"The check {check.name} compares {len(fields)} columns with {len(rule.columns)} of {rule.table}.",
            hint="Name as many columns of the parent as of the table itself.",
            location=check.location,
        )
    there = _all(f"{field_} IS NOT NULL" for field_ in fields)
    names = [quote(name) for name in rule.columns]
    compared = fields[0] if len(fields) == 1 else f"({', '.join(fields)})"
    return (
        f"{there} AND {compared} NOT IN (SELECT {', '.join(names)} FROM {parent}"
        f" WHERE {_all(f'{name} IS NOT NULL' for name in names)})"
    )


def _failed_names(named: Sequence[tuple[str, str]]) -> str:
    """Return the list of the names whose mark is true; NULL where none is."""
    if not named:
        return "CAST(NULL AS varchar[])"
    cases = ", ".join(f"CASE WHEN {mark} THEN {text(name)} END" for mark, name in named)
    some = _any(mark for mark, _ in named)
    return f"CASE WHEN {some} THEN list_filter([{cases}], lambda name: name IS NOT NULL) END"


def _json(names: Iterable[str], of: str = f"{ROWS}.") -> str:
    fields = ", ".join(f"{literal(name)}: {of}{quote(name)}" for name in names)
    return f"CAST(to_json({{{fields}}}) AS varchar)"


def _sample(check: Check, subject: Subject) -> str:
    return f"left({_json(subject.key or check.columns or subject.columns)}, {_LONGEST_SAMPLE})"


def _fits(value: Value, type_: DataType) -> str:
    """Return SQL that is true where a constant can be cast to a type and stays what it is."""
    spelled = _spelled(value)
    if _is(type_, "decimal", *_INTEGERS) and _is_rounded(spelled, type_):
        return "false"
    tried = f"TRY_CAST({text(spelled)} AS {type_})"
    if _is(type_, "date"):
        # A date made of a timestamp would lose its time without a word.
        whole = f"CAST({tried} AS timestamp) IS NOT DISTINCT FROM TRY_CAST({text(spelled)} AS timestamp)"
        return f"{tried} IS NOT NULL AND {whole}"
    return f"{tried} IS NOT NULL"


def _is_rounded(spelled: str, type_: DataType) -> bool:
    """Tell whether a number has more digits after the point than the type keeps."""
    try:
        number = Decimal(spelled.strip())
    except InvalidOperation:
        return False  # the engine's own cast decides
    if not number.is_finite():
        return False
    exponent = number.normalize().as_tuple().exponent
    kept = type_.scale or 0 if isinstance(type_, Scalar) else 0
    return isinstance(exponent, int) and -exponent > kept


def _bad_constant(check: Check, value: Value, name: str, type_: DataType) -> BuildError:
    return BuildError(
        f"The check {check.name} compares {name} with {_spelled(value)!r}, which is not exactly a {type_}.",
        hint=f"Write a value of the type {type_}, or change the column's type.",
        location=check.location,
    )


def _bad_pattern(check: Check, pattern: str) -> BuildError:
    return BuildError(
        f"The check {check.name} has the pattern {pattern!r}, which is not a regular expression.",
        hint="Write an expression that RE2 understands (no look-around or back references), in single quotes in YAML.",
        location=check.location,
    )
