"""Where columns come from and where they go: frozen values and pure walks over them.

Lineage of one query is a `Lineage`; those of a whole project make a `Graph`. Nothing here reads SQL (`core.sql` does) or
draws (`catalog.lineage` does).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TypedDict

from metalayer.core.errors import UsageError, did_you_mean
from metalayer.core.names import TableName


class EdgeKind(StrEnum):
    """How a column acts on what is computed from it, from the weakest to the strongest of the direct kinds first.

    The direct kinds make a column's value: a plain copy, an expression, an aggregate. The others decide which rows
    there are or in which order they are looked at.
    """

    WINDOW = "window"
    COPY = "copy"
    EXPRESSION = "expression"
    AGGREGATE = "aggregate"
    FILTER = "filter"
    JOIN = "join"
    GROUP = "group"
    ORDER = "order"

    @property
    def is_direct(self) -> bool:
        """Tell whether the column's values flow into the other's."""
        return self in _DIRECT

    def through(self, outer: EdgeKind) -> EdgeKind:
        """Return what becomes of this kind when its result is used by ``outer``.

        >>> EdgeKind.AGGREGATE.through(EdgeKind.COPY)
        <EdgeKind.AGGREGATE: 'aggregate'>
        """
        if not (self.is_direct and outer.is_direct):
            return outer if self.is_direct else self
        return max(self, outer, key=_DIRECT.index)


_DIRECT = (EdgeKind.COPY, EdgeKind.EXPRESSION, EdgeKind.AGGREGATE)
_STRENGTH = (EdgeKind.WINDOW, *_DIRECT)


@dataclass(frozen=True, slots=True, order=True)
class ColumnSource:
    """A column of an input and how it acts; the column ``*`` stands for all columns of a table that are not known."""

    table: TableName
    column: str
    kind: EdgeKind


def strongest(sources: Iterable[ColumnSource]) -> tuple[ColumnSource, ...]:
    """Return each column once, sorted, with the strongest of its kinds."""
    best: dict[tuple[TableName, str], EdgeKind] = {}
    for source in sources:
        place = (source.table, source.column)
        known = best.get(place)
        if known is None or (source.kind in _STRENGTH and _STRENGTH.index(source.kind) > _STRENGTH.index(known)):
            best[place] = source.kind
    return tuple(ColumnSource(table, column, kind) for (table, column), kind in sorted(best.items()))


@dataclass(frozen=True, slots=True)
class ColumnLineage:
    """Where one output column comes from. ``unknown`` is the reason why its sources are not all known, else empty."""

    name: str
    sources: tuple[ColumnSource, ...] = ()
    unknown: str = ""


class SourceJson(TypedDict):
    """`ColumnSource` as JSON."""

    table: str
    column: str
    kind: str


class ColumnJson(TypedDict):
    """`ColumnLineage` as JSON."""

    name: str
    sources: list[SourceJson]
    unknown: str


class LineageJson(TypedDict):
    """`Lineage` as JSON; ``version`` changes when the meaning does."""

    version: int
    inputs: list[str]
    columns: list[ColumnJson]
    influences: list[SourceJson]


@dataclass(frozen=True, slots=True)
class Lineage:
    """The lineage of one query.

    Attributes:
        inputs: the tables it reads, sorted.
        columns: the output columns in order; a column ``*`` stands for those that are not known.
        influences: the columns that decide which rows there are (filter, join, group, order, window).
    """

    inputs: tuple[TableName, ...]
    columns: tuple[ColumnLineage, ...]
    influences: tuple[ColumnSource, ...] = ()

    def as_json(self) -> LineageJson:
        """Return the lineage as JSON values, in a stable order."""
        return {
            "version": 1,
            "inputs": [str(table) for table in self.inputs],
            "columns": [
                {"name": column.name, "sources": [_source_json(s) for s in column.sources], "unknown": column.unknown}
                for column in self.columns
            ],
            "influences": [_source_json(source) for source in self.influences],
        }

    @classmethod
    def from_json(cls, value: LineageJson) -> Lineage:
        """Read what `as_json` wrote."""
        return cls(
            tuple(TableName.parse(name) for name in value["inputs"]),
            tuple(
                ColumnLineage(column["name"], tuple(map(_source, column["sources"])), column["unknown"])
                for column in value["columns"]
            ),
            tuple(map(_source, value["influences"])),
        )


def _source_json(source: ColumnSource) -> SourceJson:
    return {"table": str(source.table), "column": source.column, "kind": source.kind.value}


def _source(value: SourceJson) -> ColumnSource:
    return ColumnSource(TableName.parse(value["table"]), value["column"], EdgeKind(value["kind"]))
