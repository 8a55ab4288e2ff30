"""What a table of bronze tells of how its source has drifted: read from what its rows could not hold.

Under `drift: propose` values that no column has are kept in ``_rescued``. The types that could be declared are told by
the values themselves; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metalayer.core.drift import Drift, DriftKind, merged, structure_of
from metalayer.core.model import Model
from metalayer.core.names import literal, quote
from metalayer.core.schema import VARCHAR, Column, DataType, ListOf, Scalar, Struct, widens
from metalayer.core.source import Engine
from metalayer.sources.casting import cast
from metalayer.sources.dialect import Writing
from metalayer.sources.inference import infer
from metalayer.sources.matching import match
from metalayer.sources.naming import column_name

_ALIKE = 0.3
"""From which share of its values on, that a column had before, another one looks like it."""
_VALUES = 10_000
"""How many distinct values are compared."""


def found(model: Model, relation: str, engine: Engine) -> tuple[Drift, ...]:
    """Return how a source differs from its declaration, as far as its rows tell.

    Args:
        model: the table.
        relation: a FROM item of its rows.
        engine: runs the SQL.
    """
    if not model.columns:
        return ()
    rows = f"(SELECT * FROM {relation} WHERE _rescued IS NOT NULL)"
    listed = engine.query(
        f"SELECT key, count(*) FROM (SELECT unnest(json_keys(_rescued)) AS key FROM {rows}) "
        "GROUP BY key ORDER BY count(*) DESC, key"
    )
    labels = [str(key) for key, _ in listed]
    places = match(model.columns, labels).places
    owner = {labels[place]: column for column, place in zip(model.columns, places, strict=True) if place is not None}
    drifts: list[Drift] = []
    for label, (_, count) in zip(labels, listed, strict=True):
        kept = _Kept(label, rows, engine)
        if label in owner:
            drifts += _misfits(owner[label], kept)
        else:
            drifts.append(_new(kept, int(str(count)), {column.name for column in model.columns}))
    renamed = [_renamed(column, drift, relation, engine) for column in model.columns for drift in drifts]
    return (*drifts, *(item for item in renamed if item is not None))


@dataclass(frozen=True, slots=True)
class _Kept:
    """The values of one label that are in ``_rescued``."""

    label: str
    rows: str
    engine: Engine

    @property
    def value(self) -> str:
        """Return the SQL of the value, as JSON."""
        return f"json_extract(_rescued, {literal(_path(self.label))})"

    @property
    def text(self) -> str:
        """Return the SQL of the value, as text."""
        return f"json_extract_string(_rescued, {literal(_path(self.label))})"

    def type(self, condition: str = "true") -> DataType:
        """Return the type that holds the values."""
        where = f"{self.value} IS NOT NULL AND {condition}"
        told = self.engine.query(f"SELECT json_group_structure({self.value}) FROM {self.rows} WHERE {where}")[0][0]
        type_ = VARCHAR if told is None else structure_of(str(told))
        if type_ != VARCHAR:
            return type_
        return infer(self.engine, f"(SELECT * FROM {self.rows} WHERE {where})", [self.text], Writing())[0]


def _path(label: str) -> str:
    return '$."' + label.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _new(kept: _Kept, rows: int, taken: set[str]) -> Drift:
    name = column_name(kept.label)
    while name in taken:
        name += "_2"
    label = kept.label if kept.label != name else ""
    return Drift(DriftKind.NEW, name, kept.type(), None, rows, label=label)


def _misfits(column: Column, kept: _Kept) -> list[Drift]:
    """Return what became of values that a declared column could not hold, unless it could by now."""
    assert column.type is not None  # noqa: S101 - a column of bronze has one
    nested = isinstance(column.type, Struct | ListOf)
    unread = f"({cast(kept.text, column.type, Writing())}) IS NULL" if isinstance(column.type, Scalar) else "true"
    told = kept.engine.query(
        f"SELECT count(*), min({kept.text}) FROM {kept.rows} WHERE {kept.text} IS NOT NULL AND {unread}"
    )
    rows, example = int(str(told[0][0])), str(told[0][1])[:60]
    if not rows:
        return []
    type_ = merged(column.type, _as(column.type, kept.type(unread), kept, unread))
    if type_ == column.type and nested:
        return []
    if type_ is None or type_ == column.type or not (nested or widens(column.type, type_)):
        return [Drift(DriftKind.UNFIT, column.name, None, column.type, rows, example)]
    return [Drift(DriftKind.WIDER, column.name, type_, column.type, rows, example)]


def _as(declared: DataType, type_: DataType, kept: _Kept, condition: str) -> DataType:
    """Return the type of values in the family of the declared one: decimals for a decimal."""
    if not (isinstance(declared, Scalar) and declared.name == "decimal" and isinstance(type_, Scalar)):
        return type_
    if type_.name not in {"bigint", "hugeint", "double", "decimal", "varchar"}:
        return type_
    plain = f"regexp_full_match({kept.text}, '[+-]?[0-9]+([.][0-9]*)?')"
    (all_plain, whole, scale) = kept.engine.query(
        f"SELECT bool_and({plain}), max(length(regexp_extract({kept.text}, '[+-]?0*([0-9]*)', 1))), "
        f"max(length(rtrim(regexp_extract({kept.text}, '[.]([0-9]*)', 1), '0'))) FROM {kept.rows} "
        f"WHERE {kept.text} IS NOT NULL AND {condition}"
    )[0]
    digits = int(str(whole or 0)) + int(str(scale or 0))
    return Scalar("decimal", max(digits, 1), int(str(scale or 0))) if all_plain and digits <= 38 else type_


def _renamed(column: Column, drift: Drift, relation: str, engine: Engine) -> Drift | None:
    """Return that a column looks renamed: where a new one is, it is not, and their values are alike."""
    if drift.kind is not DriftKind.NEW or drift.type is None or not _comparable(column.type, drift.type):
        return None
    kept = _Kept(drift.label or drift.column, relation, engine)
    old, came = quote(column.name), f"{kept.value} IS NOT NULL"
    together, before = engine.query(
        f"SELECT count(*) FILTER ({came} AND {old} IS NOT NULL), count(*) FILTER (NOT coalesce({came}, false) "
        f"AND {old} IS NOT NULL) FROM {relation}"
    )[0]
    if together or not before:
        return None
    new_values = f"SELECT DISTINCT {kept.text} AS v FROM {relation} WHERE {came} LIMIT {_VALUES}"
    old_values = f"SELECT DISTINCT CAST({old} AS varchar) AS v FROM {relation} WHERE {old} IS NOT NULL"
    profile = "count(*), count(DISTINCT v), avg(length(v))"
    shared = engine.query(f"SELECT avg(CAST(v IN ({old_values}) AS integer)) FROM ({new_values})")[0][0]
    was = engine.query(
        f"SELECT {profile} FROM (SELECT CAST({old} AS varchar) AS v FROM {relation} WHERE {old} IS NOT NULL)"
    )
    now = engine.query(f"SELECT {profile} FROM (SELECT {kept.text} AS v FROM {relation} WHERE {came})")
    if float(str(shared or 0)) < _ALIKE and not _alike(was[0], now[0]):
        return None
    return Drift(DriftKind.RENAMED, column.name, None, column.type, drift.rows, like=drift.label or drift.column)


def _comparable(old: DataType | None, new: DataType) -> bool:
    return old is not None and (old == new or merged(old, new) is not None)


def _alike(was: Sequence[object], now: Sequence[object]) -> bool:
    """Tell whether two columns have as many different values to a row, and values as long."""
    (old_rows, old_distinct, old_length), (rows, distinct, length) = (
        [float(str(number or 0)) for number in profile] for profile in (was, now)
    )
    if min(old_rows, rows) < 10:  # too few to tell
        return False
    variety = abs(old_distinct / old_rows - distinct / rows) < 0.1
    return variety and abs(old_length - length) <= 0.15 * max(old_length, length)
