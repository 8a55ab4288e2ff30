"""From what a declaration says to checks of `core`: rules, names, dimensions, and the checks that a key implies.

It looks at one declaration alone; whether columns and other tables exist is asked in `judging`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace

from metalayer.core.check import (
    ROW_RULES,
    AcceptedValues,
    Action,
    Check,
    Dimension,
    Freshness,
    Length,
    Matches,
    NotNull,
    Range,
    References,
    RowCount,
    RowSql,
    Rule,
    TableSql,
    Unique,
)
from metalayer.core.errors import Location
from metalayer.core.model import Kind
from metalayer.project import shapes
from metalayer.project.files import Mistakes
from metalayer.project.nodes import MapNode, locate
from metalayer.project.reading import ShapeReader

VALID_FROM = "valid_from"


@dataclass(frozen=True, slots=True)
class DeclaredCheck:
    """A check and the mapping that declares it; ``key`` is the key under which its columns stand."""

    check: Check
    node: MapNode
    key: str

    def at(self, *path: str | int) -> Location:
        """Return the place of a part of the declaration."""
        return locate(self.node, *path)

    def at_column(self, index: int) -> Location:
        """Return the place of one of the columns."""
        return locate(self.node, self.key, index)


def declared_checks(declared: Iterable[shapes.AnyCheck], reader: ShapeReader) -> tuple[DeclaredCheck, ...]:
    """Turn check shapes into checks, noting what contradicts itself."""
    result: list[DeclaredCheck] = []
    for shape in declared:
        node = reader.node_of(shape)
        result += _one(shape, node, reader.mistakes)
    return _uniquely_named(result, reader.mistakes)


def _one(shape: shapes.AnyCheck, node: MapNode, mistakes: Mistakes) -> list[DeclaredCheck]:
    rule, columns = _rule(shape)
    _note_contradictions(shape, rule, node, mistakes)
    if isinstance(rule, NotNull):
        if shape.name and len(columns) > 1:
            mistakes.add(
                f"One name stands for {len(columns)} checks: each column is judged by itself.",
                hint="Write a check for each column, or leave out 'name'.",
                location=locate(node, "name"),
            )
            columns = columns[:1]
        return [
            DeclaredCheck(_check(shape, rule, (column,), node), _only(node, shape.rule, index), shape.rule)
            for index, column in enumerate(columns)
        ]
    return [DeclaredCheck(_check(shape, rule, columns, node), node, shape.rule)]


def _only(node: MapNode, key: str, index: int) -> MapNode:
    """Return the mapping with only one of the columns of a not_null, so that its place is found by index 0."""
    value = node.value(key)
    items = getattr(value, "items", ())
    if not items:
        return node
    return replace(node, items=tuple((name, items[index] if name.text == key else each) for name, each in node.items))


def _check(shape: shapes.AnyCheck, rule: Rule, columns: tuple[str, ...], node: MapNode) -> Check:
    return Check(
        name=shape.name or check_name(rule, columns, shape.rule),
        rule=rule,
        columns=columns,
        on_fail=shape.on_fail,
        dimension=shape.dimension or dimension_of(rule),
        tolerance=shape.tolerance,
        description=shape.description,
        location=node.location,
    )


def check_name(rule: Rule, columns: Iterable[str], key: str) -> str:
    """Return ``<column>_<check>``, or the check alone where it is about no column."""
    return "_".join([*columns, key]) if not isinstance(rule, RowSql | TableSql) else ""


def _rule(shape: shapes.AnyCheck) -> tuple[Rule, tuple[str, ...]]:  # noqa: C901, PLR0912 - 13 cases
    match shape:
        case shapes.NotNullShape():
            return NotNull(), shape.not_null
        case shapes.UniqueShape():
            return Unique(), shape.unique
        case shapes.AcceptedValuesShape():
            return AcceptedValues(shape.values), (shape.accepted_values,)
        case shapes.MinShape():
            return Range(minimum=shape.value), (shape.min,)
        case shapes.MaxShape():
            return Range(maximum=shape.value), (shape.max,)
        case shapes.BetweenShape():
            return Range(shape.min, shape.max), (shape.between,)
        case shapes.MatchesShape():
            return Matches(shape.pattern), (shape.matches,)
        case shapes.LengthShape():
            return Length(shape.min, shape.max), (shape.length,)
        case shapes.ReferencesShape():
            return References(shape.to, shape.to_columns or shape.references), shape.references
        case shapes.RowCountShape():
            return RowCount(shape.row_count.min, shape.row_count.max), ()
        case shapes.FreshnessShape():
            return Freshness(shape.within), (shape.freshness,)
        case shapes.RowSqlShape():
            return RowSql(shape.sql.strip()), ()
        case shapes.TableSqlShape():
            return TableSql(shape.sql.strip(), shape.expect), ()


def dimension_of(rule: Rule) -> Dimension:
    """Return the dimension of quality that a rule speaks of by itself."""
    match rule:
        case NotNull() | RowCount():
            return Dimension.COMPLETENESS
        case Unique():
            return Dimension.UNIQUENESS
        case References() | TableSql():
            return Dimension.CONSISTENCY
        case Freshness():
            return Dimension.TIMELINESS
        case AcceptedValues() | Range() | Matches() | Length() | RowSql():
            return Dimension.VALIDITY


def _note_contradictions(shape: shapes.AnyCheck, rule: Rule, node: MapNode, mistakes: Mistakes) -> None:
    if shape.on_fail is Action.QUARANTINE and not isinstance(rule, (*ROW_RULES, Unique)):
        mistakes.add(
            f"'{getattr(shape, 'word', shape.rule)}' judges the whole table, so there is no row to quarantine.",
            hint="Write `on_fail: warn` or `on_fail: block`.",
            location=locate(node, "on_fail"),
        )
    if isinstance(rule, RowSql | TableSql) and not shape.name:
        mistakes.add(
            "A check in SQL has no name.",
            hint="Add `name:` with a word that says what holds, for example `name: quantity_is_positive`.",
            location=node.location,
        )
    if shape.name and not re.fullmatch(r"[A-Za-z0-9_.-]+", shape.name):
        mistakes.add(
            f"'{shape.name}' is not a check's name.",
            hint="Write letters, digits and _ only; put the sentence under `description:`.",
            location=locate(node, "name"),
        )
    if isinstance(rule, Matches):
        _note_pattern(rule.pattern, locate(node, "pattern"), mistakes)
    _note_bounds(shape, node, mistakes)


_NOT_IN_RE2 = (("(?=", "looks ahead"), ("(?!", "looks ahead"), ("(?<=", "looks behind"), ("(?<!", "looks behind"))
_BROKEN = ("unterminated", "unbalanced", "nothing to repeat", "missing )", "bad escape (end of pattern)")


def _note_pattern(pattern: str, location: Location, mistakes: Mistakes) -> None:
    """Note a regular expression that RE2 refuses, as far as Python's own module tells: the two differ in details."""
    bare = re.sub(r"\\\\.|\[[^\]]*\]", "", pattern)
    for part, does in _NOT_IN_RE2:
        if part in bare:
            mistakes.add(
                f"The pattern {does} with '{part}', which RE2 cannot do.",
                hint="Match the whole text, or write a row check with `sql:`.",
                location=location,
            )
            return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except re.error as error:
        if any(part in error.msg for part in _BROKEN):
            mistakes.add(
                f"The pattern is no regular expression: {error.msg} at character {(error.pos or 0) + 1}.",
                hint="Close what is open, and write \\ before a sign that means itself.",
                location=location,
            )


def _note_bounds(shape: shapes.AnyCheck, node: MapNode, mistakes: Mistakes) -> None:
    """Note bounds that nothing can satisfy, or that ask for nothing."""
    match shape:
        case shapes.LengthShape():
            low, high, place = shape.min, shape.max, node
        case shapes.RowCountShape():
            inner = node.value("row_count")
            low, high, place = shape.row_count.min, shape.row_count.max, inner if isinstance(inner, MapNode) else node
        case shapes.BetweenShape():
            if isinstance(shape.min, str) != isinstance(shape.max, str):
                mistakes.add(
                    "One bound is text and the other a number.",
                    hint="Write both as numbers, or both as text.",
                    location=locate(node, "max"),
                )
            elif shape.min > shape.max:  # type: ignore[operator] # both are texts or both are numbers
                _note_empty(node, mistakes)
            return
        case _:
            return
    if low is None and high is None:
        mistakes.add(f"'{shape.rule}' has no bound.", hint="Write `min:`, `max:` or both.", location=place.location)
    elif low is not None and high is not None and low > high:
        _note_empty(place, mistakes)


def _note_empty(node: MapNode, mistakes: Mistakes) -> None:
    mistakes.add(
        "'min' is greater than 'max', so nothing can pass.", hint="Exchange the two.", location=locate(node, "min")
    )


def _uniquely_named(found: list[DeclaredCheck], mistakes: Mistakes) -> tuple[DeclaredCheck, ...]:
    """Return the checks of which each has a name of its own."""
    seen: dict[str, DeclaredCheck] = {}
    for item in found:
        first = seen.setdefault(item.check.name, item)
        if first is not item and item.check.name:
            mistakes.add(
                f"Two checks are named '{item.check.name}' (the first on line {first.node.location.line}).",
                hint="Give one of them another `name:`, or delete it.",
                location=item.node.location,
            )
    return tuple(seen.values())


def implied_checks(
    kind: Kind, key: tuple[str, ...], required: Iterable[str], declared: Iterable[Check], *, last_wins: bool
) -> tuple[Check, ...]:
    """Return what a key and ``nullable: false`` bring with them, less what is declared anyway.

    Args:
        kind: the model's kind.
        key: its key; empty in bronze, where a key implies nothing.
        required: the columns declared with ``nullable: false``.
        declared: the declared checks; one of the same rule over the same columns takes the implied one's place.
        last_wins: whether the kind itself leaves one row of each key, so that uniqueness needs no check.
    """
    said = {(type(check.rule), check.columns) for check in declared}
    implied: list[tuple[Rule, tuple[str, ...]]] = [
        (NotNull(), (column,)) for column in dict.fromkeys([*key, *required])
    ]
    if key and not last_wins:
        implied.append((Unique(), (*key, VALID_FROM) if kind is Kind.SCD2 else key))
    return tuple(
        Check(
            name=check_name(rule, columns, "unique" if isinstance(rule, Unique) else "not_null"),
            rule=rule,
            columns=columns,
            on_fail=Action.BLOCK,
            dimension=dimension_of(rule),
            implied=True,
        )
        for rule, columns in implied
        if (type(rule), columns) not in said
    )
