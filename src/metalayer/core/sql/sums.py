"""Aggregates that follow from what came and went alone: counts and sums are added and taken away.

A group's new count is the old one, plus the rows that came, less those that went; so is a sum of exact numbers.
Greatest and least follow where rows only came; any other aggregate does so for groups that were not there. What cannot
be told so is doubtful, and computed again from all rows of the group: a group that lost rows where nothing counts them,
and a sum that comes to 0 after values went, for it may be NULL now. Which types are exact is for the caller to see.
Pure: it writes SQL. The names that it gives begin with an arrow, so that no column of a query has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from sqlglot import exp

from metalayer.core.names import quote
from metalayer.core.sql.blocks import Leaf, Role, Select, canonical_of, leaves
from metalayer.core.sql.images import Image, Images, Shape


class MeasureKind(StrEnum):
    """How a measure follows from what came and went."""

    COUNT = "count"
    SUM = "sum"
    GREATEST = "greatest"
    LEAST = "least"
    ANEW = "anew"


@dataclass(frozen=True, slots=True)
class Measure:
    """One aggregate of a SELECT. ``is_rows`` marks ``count(*)``, which tells when a group is gone."""

    name: str
    kind: MeasureKind
    is_rows: bool = False


@dataclass(frozen=True, slots=True)
class Sums:
    """A grouped SELECT whose groups follow from what came and went.

    Attributes:
        key: the output columns that it groups by.
        columns: all output columns in order.
        measures: those that are no keys.
        plus: the same SELECT over the rows that came, with their number as ``→n``; None where none did.
        minus: as ``plus``, of the rows that went.
    """

    key: tuple[str, ...]
    columns: tuple[str, ...]
    measures: tuple[Measure, ...]
    plus: str | None
    minus: str | None

    def delta(self) -> str:
        """Return the SELECT of what came and went for each group, with the numbers of rows."""
        plus, minus = self.plus or _none(self.minus), self.minus or _none(self.plus)
        keys = ", ".join(
            f"CASE WHEN p.{quote('→n')} IS NULL THEN m.{_q(k)} ELSE p.{_q(k)} END AS {_q(k)}" for k in self.key
        )
        values = "".join(
            f", {side}.{_q(measure.name)} AS {_q(f'→{side}{place}')}"
            for place, measure in enumerate(self.measures)
            for side in ("p", "m")
        )
        return (
            f"SELECT {keys}{values}, coalesce(p.{quote('→n')}, 0) AS {_CAME}, coalesce(m.{quote('→n')}, 0) AS {_WENT} "
            f"FROM ({plus}) AS p FULL JOIN ({minus}) AS m ON {_same(self.key, 'p', 'm')}"
        )

    def doubtful(self, keys: str, delta: str, old: str, waiting: str | None) -> str:
        """Return the SELECT of the keys whose rows have to be computed again.

        Args:
            keys: a FROM item of all affected keys.
            delta: a FROM item of what `delta` yields.
            old: a FROM item of the table's rows.
            waiting: a FROM item of rows that were set aside, if there may be any.
        """
        conditions = [f"d.{_q(self.key[0])} IS NULL AND d.{_CAME} IS NULL", f"(d.{_WENT} > 0 AND o.{_FOUND} IS NULL)"]
        counts = [measure for measure in self.measures if measure.is_rows]
        if not counts:
            conditions.append(f"d.{_WENT} > 0")
        for place, measure in enumerate(self.measures):
            value = self._value(place, measure)
            if measure.is_rows:
                conditions.append(f"{value} < 0")
            elif measure.kind is MeasureKind.SUM:
                conditions.append(
                    f"({self._side('m', place)} IS NOT NULL AND ({value} = 0 OR o.{_q(measure.name)} IS NULL))"
                )
            elif measure.kind is MeasureKind.ANEW:
                conditions.append(f"o.{_FOUND}")
            elif measure.kind is not MeasureKind.COUNT:
                conditions.append(f"d.{_WENT} > 0")
        if waiting is not None:
            conditions.append(f"EXISTS (FROM {waiting} AS w WHERE {_same(self.key, 'w', 'k')})")
        names = ", ".join(f"k.{_q(name)}" for name in self.key)
        return (
            f"SELECT {names} FROM {keys} AS k LEFT JOIN {delta} AS d ON {_same(self.key, 'd', 'k')} "
            f"LEFT JOIN (SELECT *, true AS {_FOUND} FROM {old}) AS o ON {_same(self.key, 'o', 'k')} "
            f"WHERE {' OR '.join(conditions)}"
        )

    def merged(self, delta: str, old: str, doubtful: str | None) -> str:
        """Return the SELECT of the new rows of all groups that are not doubtful; a group without rows has none."""
        values = {measure.name: self._value(place, measure) for place, measure in enumerate(self.measures)}
        fields = ", ".join(f"{values.get(name, f'd.{_q(name)}')} AS {_q(name)}" for name in self.columns)
        text = f"SELECT {fields} FROM {delta} AS d LEFT JOIN {old} AS o ON {_same(self.key, 'o', 'd')}"
        if doubtful is not None:
            text += f" ANTI JOIN {doubtful} AS x ON {_same(self.key, 'x', 'd')}"
        rows = next((values[measure.name] for measure in self.measures if measure.is_rows), None)
        return text if rows is None else f"{text} WHERE {rows} <> 0"

    @staticmethod
    def _side(side: str, place: int) -> str:
        return f"d.{_q(f'→{side}{place}')}"

    def _value(self, place: int, measure: Measure) -> str:
        old, came, went = f"o.{_q(measure.name)}", self._side("p", place), self._side("m", place)
        match measure.kind:
            case MeasureKind.COUNT:
                return f"(coalesce({old}, 0) + coalesce({came}, 0) - coalesce({went}, 0))"
            case MeasureKind.SUM:
                changed = f"coalesce({old}, 0) + coalesce({came}, 0) - coalesce({went}, 0)"
                return f"(CASE WHEN {came} IS NULL AND {went} IS NULL THEN {old} ELSE {changed} END)"
            case MeasureKind.GREATEST:
                return f"greatest({old}, {came})"
            case MeasureKind.LEAST:
                return f"least({old}, {came})"
            case MeasureKind.ANEW:
                return came

    def exact(self, types: Mapping[str, str]) -> Sums | None:
        """Return what follows exactly, given the columns' types by names in lower case; None where not all does.

        What cannot be added to exactly follows for groups that were not there, where rows only came.
        """
        measures = tuple(
            measure if types.get(measure.name.lower(), "").startswith(EXACT.get(measure.kind, "")) else None
            for measure in self.measures
        )
        if None in measures and self.minus is not None:
            return None
        return replace(
            self,
            measures=tuple(
                kept or Measure(measure.name, MeasureKind.ANEW)
                for kept, measure in zip(measures, self.measures, strict=True)
            ),
        )


def sums_of(block: Select, key: Sequence[str], images: Images, inserts: bool, deletes: bool) -> Sums | None:  # noqa: FBT001 - what moved
    """Return how a SELECT's groups follow from the rows of the one table that changed; None where they do not."""
    tree = block.tree
    plain = not any(tree.args.get(part) for part in ("having", "qualify", "distinct", "windows"))
    if not block.is_aggregate or not block.unit or not plain or block.flips or None in block.columns:
        return None
    moved = [
        index
        for index, source in enumerate(block.sources)
        if source.block is not None and leaves(source.block) & images.changed
    ]
    asked = any(leaves(probe.block) & images.changed for probe in block.probes)
    if len(moved) != 1 or asked:
        return None
    source = block.sources[moved[0]]
    if not isinstance(source.block, Leaf) or source.role is not Role.ROW:
        return None
    names = tuple(str(name) for name in block.columns)
    units = {canonical_of(block, part) for part in block.unit}
    keys = {name for name in names if canonical_of(block, block.items[name.lower()]) in units}
    if {name.lower() for name in key} != {name.lower() for name in keys} or len(keys) != len(units):
        return None
    measures = []
    for name in names:
        if name not in keys:
            item = block.items[name.lower()]
            measure = _measure(name, item)
            if measure is None and not deletes and item.find(exp.Window) is None:
                measure = Measure(name, MeasureKind.ANEW)
            if measure is None:
                return None
            measures.append(measure)

    def over(image: Image) -> str:
        rows = images.leaf(source.block.name, image) if isinstance(source.block, Leaf) else ""
        shape = Shape(overrides={moved[0]: rows}, extra=(f"count(*) AS {quote('→n')}",))
        return images.select(block, Image.NEW, shape)

    ordered = tuple(name for name in names if name in keys)
    plus, minus = over(Image.PLUS) if inserts else None, over(Image.MINUS) if deletes else None
    return Sums(ordered, names, tuple(measures), plus, minus) if plus or minus else None


def _measure(name: str, item: exp.Expr) -> Measure | None:
    node = item.unnest()
    is_filtered = isinstance(node, exp.Filter)
    if is_filtered:
        node = node.this
    if node.find(exp.Distinct) is not None or node.find(exp.Window) is not None or node.find(exp.Order) is not None:
        return None
    match node:
        case exp.Count():
            is_rows = isinstance(node.this, exp.Star) and not is_filtered
            return Measure(name, MeasureKind.COUNT, is_rows) if len(node.expressions) == 0 else None
        case exp.Sum():
            return Measure(name, MeasureKind.SUM)
        case exp.Max() if not node.expressions:
            return Measure(name, MeasureKind.GREATEST)
        case exp.Min() if not node.expressions:
            return Measure(name, MeasureKind.LEAST)
        case _:
            return None


_CAME, _WENT, _FOUND = quote("→came"), quote("→went"), quote("→found")


def _q(name: str) -> str:
    return quote(name)


def _same(key: Sequence[str], left: str, right: str) -> str:
    return " AND ".join(f"{left}.{quote(name)} IS NOT DISTINCT FROM {right}.{quote(name)}" for name in key)


def _none(other: str | None) -> str:
    return f"SELECT * FROM ({other}) LIMIT 0"


EXACT: Mapping[MeasureKind, tuple[str, ...]] = {
    MeasureKind.COUNT: ("bigint",),
    MeasureKind.SUM: ("decimal", "hugeint", "bigint"),
}
"""The types, by how they begin, of which a measure may be added to: sums of doubles depend on the order of the rows."""
