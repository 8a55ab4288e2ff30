"""Where columns come from and where they go: frozen values and pure walks over them.

Lineage of one query is a `Lineage`; those of a whole project make a `Graph`. Nothing here reads SQL (`core.sql` does)
or draws (`catalog.lineage` does).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypedDict

from metalayer.core.errors import UsageError, did_you_mean
from metalayer.core.names import TableName


class EdgeKind(StrEnum):
    """How a column acts on what is computed from it.

    The direct kinds make a column's value: a plain copy, an expression, an aggregate. The others decide which rows
    there are, or which of them a value is computed from.
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

    def as_history(self, time: str, deleted: str | None) -> Lineage:
        """Return the lineage of the scd2 table that the query's rows become.

        The columns ``time`` and ``deleted`` make ``valid_from``, ``valid_to`` and ``is_current``.
        """
        dropped = {time.lower(), (deleted or time).lower()}
        moments = [column for column in self.columns if column.name.lower() in dropped]
        reasons = "; ".join(dict.fromkeys(column.unknown for column in moments if column.unknown))
        sources = (source for column in moments for source in column.sources)
        made = strongest(
            ColumnSource(source.table, source.column, source.kind.through(EdgeKind.EXPRESSION)) for source in sources
        )
        history = tuple(ColumnLineage(name, made, reasons) for name in ("valid_from", "valid_to", "is_current"))
        kept = tuple(column for column in self.columns if column.name.lower() not in dropped)
        return Lineage(self.inputs, kept + history, self.influences)

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


def opaque(inputs: Iterable[TableName]) -> Lineage:
    """Return the lineage of what may do anything with its inputs, such as a Python model."""
    return Lineage(tuple(inputs), (ColumnLineage("*", (), "its code is not read"),))


def _source_json(source: ColumnSource) -> SourceJson:
    return {"table": str(source.table), "column": source.column, "kind": source.kind.value}


def _source(value: SourceJson) -> ColumnSource:
    return ColumnSource(TableName.parse(value["table"]), value["column"], EdgeKind(value["kind"]))


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """A table, or one of its columns."""

    table: TableName
    column: str | None = None

    def __str__(self) -> str:
        """Return ``layer.table`` or ``layer.table.column``."""
        return str(self.table) if self.column is None else f"{self.table}.{self.column}"

    @classmethod
    def parse(cls, text: str) -> Point:
        """Read ``layer.table`` or ``layer.table.column``.

        Raises:
            UsageError: the text is not of that form.

        >>> Point.parse("gold.daily_sales.revenue").column
        'revenue'
        """
        layer, _, rest = text.partition(".")
        table, _, column = rest.partition(".")
        return cls(TableName.parse(f"{layer}.{table}" if rest else text), column or None)


@dataclass(frozen=True, slots=True, order=True)
class TableEdge:
    """One table reads another."""

    source: TableName
    target: TableName


@dataclass(frozen=True, slots=True)
class ColumnEdge:
    """One column acts on another, or, where the target has no column, on which rows its table has."""

    source: Point
    target: Point
    kind: EdgeKind


@dataclass(frozen=True, slots=True)
class Branch:
    """A point reached by a walk, how it hangs on the one before it, and what is reached from it.

    ``repeated`` marks a point whose own branches are shown elsewhere in the tree; ``more`` one where the depth ended.
    ``unknown`` is the reason why the sources of a column are not all known.
    """

    point: Point
    kinds: tuple[EdgeKind, ...] = ()
    children: tuple[Branch, ...] = ()
    repeated: bool = False
    more: bool = False
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Reached:
    """A point that a change would reach: how far it is, and by which kinds of the last step."""

    point: Point
    distance: int
    kinds: tuple[EdgeKind, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """The lineage of a whole project. Companions (``T__current``) count as the table that they belong to.

    Attributes:
        tables: every table, those that only are read included, sorted.
        table_edges: which table reads which, sorted.
        column_edges: which column acts on which column, or on the rows of which table.
        columns: the output columns of each table whose query was read, in order.
        unknown: why the sources of a column are not all known.
    """

    tables: tuple[TableName, ...]
    table_edges: tuple[TableEdge, ...] = ()
    column_edges: tuple[ColumnEdge, ...] = ()
    columns: Mapping[TableName, tuple[str, ...]] = field(default_factory=dict, hash=False)
    unknown: Mapping[Point, str] = field(default_factory=dict, hash=False)

    @classmethod
    def of(
        cls,
        lineages: Mapping[TableName, Lineage | None],
        inputs: Mapping[TableName, Iterable[TableName]] | None = None,
    ) -> Graph:
        """Join the lineages of tables into one graph.

        ``lineages`` holds None for a table whose query cannot be read (a source, a Python model); ``inputs`` tells what
        such a table reads.
        """
        table_edges: set[TableEdge] = set()
        column_edges: dict[ColumnEdge, None] = {}
        unknown: dict[Point, str] = {}
        for table, lineage in lineages.items():
            reads = [*(lineage.inputs if lineage is not None else ()), *(inputs or {}).get(table, ())]
            table_edges |= {TableEdge(source.owner, table) for source in reads if source.owner != table}
            if lineage is not None:
                column_edges |= dict.fromkeys(_column_edges(table, lineage))
                unknown |= {Point(table, column.name): column.unknown for column in lineage.columns if column.unknown}
        tables = {*lineages, *(edge.source for edge in table_edges)}
        columns = {t: tuple(c.name for c in found.columns) for t, found in lineages.items() if found is not None}
        return cls(tuple(sorted(tables)), tuple(sorted(table_edges)), tuple(column_edges), columns, unknown)

    def upstream(self, start: Point, depth: int | None = None) -> Branch:
        """Return what a table or column comes from, as a tree; None is any depth.

        Raises:
            UsageError: the project has no such table or column.
        """
        return _grow(self._checked(start), self._sources(), self.unknown, depth)

    def downstream(self, start: Point, depth: int | None = None) -> Branch:
        """Return what is made from a table or column, as a tree.

        Raises:
            UsageError: the project has no such table or column.
        """
        return _grow(self._checked(start), self._targets(), {}, depth)

    def impact(self, start: Point, depth: int | None = None) -> tuple[Reached, ...]:
        """Return every point that a change of ``start`` reaches, once, the nearest first.

        Raises:
            UsageError: the project has no such table or column.
        """
        return _reached(self.downstream(start, depth))

    def touched(self, start: Point) -> tuple[str, ...]:
        """Return the columns of other tables that are made from a column; none where the column is not known."""
        try:
            reached = self.impact(start)
        except UsageError:
            return ()
        return tuple(sorted(str(item.point) for item in reached if item.point.column is not None))

    def _checked(self, start: Point) -> Point:
        table = start.table if start.table in self.tables else start.table.owner
        if table not in self.tables:
            near = did_you_mean(str(start.table), map(str, self.tables))
            raise UsageError(f"There is no table {start.table}.", hint=f"{near}`metalayer validate` lists the tables.")
        if start.column is None:
            return Point(table)
        known = self._known_columns(table)
        found = next((name for name in known if name.lower() == start.column.lower()), None)
        if found is None and "*" not in known and table in self.columns:
            near = did_you_mean(start.column, known)
            raise UsageError(
                f"{table} has no column '{start.column}'.", hint=f"{near}Its columns are: {', '.join(known)}."
            )
        return Point(table, found or start.column)

    def _known_columns(self, table: TableName) -> tuple[str, ...]:
        read = (edge.source.column for edge in self.column_edges if edge.source.table == table)
        own = self.columns.get(table, ())
        return tuple(dict.fromkeys([*own, *(name for name in read if name is not None and name != "*")]))

    def _sources(self) -> _Steps:
        tables: dict[Point, list[_Step]] = {}
        for read in self.table_edges:
            tables.setdefault(Point(read.target), []).append((Point(read.source), ()))
        columns: dict[Point, list[_Step]] = {}
        for edge in self.column_edges:
            if edge.target.column is not None:
                columns.setdefault(_folded(edge.target), []).append((edge.source, (edge.kind,)))

        def steps(point: Point) -> Iterator[_Step]:
            if point.column is None:
                yield from tables.get(point, ())
                return
            known = columns.get(_folded(point))
            # A column of a table that takes over columns nobody could name: it comes from its namesake there.
            for source, kinds in known if known is not None else columns.get(Point(point.table, "*"), ()):
                named = known is None and source.column == "*"
                yield (Point(source.table, point.column) if named else source), kinds

        return steps

    def _targets(self) -> _Steps:
        tables: dict[Point, list[_Step]] = {}
        for read in self.table_edges:
            tables.setdefault(Point(read.source), []).append((Point(read.target), ()))
        columns: dict[Point, list[_Step]] = {}
        for edge in self.column_edges:
            columns.setdefault(_folded(edge.source), []).append((edge.target, (edge.kind,)))

        def steps(point: Point) -> Iterator[_Step]:
            if point.column is None:
                yield from tables.get(point, ())
                return
            grouped: dict[Point, tuple[EdgeKind, ...]] = {}
            for target, kinds in columns.get(_folded(point), ()):
                grouped[target] = (*grouped.get(target, ()), *kinds)
            if point.column != "*":
                for target, kinds in columns.get(Point(point.table, "*"), ()):
                    namesake = Point(target.table, point.column) if target.column == "*" else target
                    grouped[namesake] = (*grouped.get(namesake, ()), *kinds)
            yield from grouped.items()

        return steps


_Step = tuple[Point, tuple[EdgeKind, ...]]
_Steps = Callable[[Point], Iterable[_Step]]


def _folded(point: Point) -> Point:
    return Point(point.table, point.column.lower() if point.column is not None else None)


def _column_edges(table: TableName, lineage: Lineage) -> Iterator[ColumnEdge]:
    for column in lineage.columns:
        for source in column.sources:
            yield ColumnEdge(Point(source.table.owner, source.column), Point(table, column.name), source.kind)
    for source in lineage.influences:
        yield ColumnEdge(Point(source.table.owner, source.column), Point(table), source.kind)


@dataclass(slots=True)
class _Sprout:
    """A branch that still grows: branches are frozen, so they are made from the leaves back to the root."""

    point: Point
    kinds: tuple[EdgeKind, ...]
    parent: int
    depth: int
    repeated: bool = False
    more: bool = False
    children: list[Branch] = field(default_factory=list)


def _grow(start: Point, steps: _Steps, unknown: Mapping[Point, str], depth: int | None) -> Branch:
    """Walk the nearest points first: a point grows where it is nearest to the start, so cycles and diamonds end."""
    sprouts = [_Sprout(start, (), -1, 0)]
    grown: set[Point] = set()
    index = 0
    while index < len(sprouts):
        sprout = sprouts[index]
        further = list(steps(sprout.point))
        if _folded(sprout.point) in grown:
            sprout.repeated = bool(further)
        elif depth is not None and sprout.depth >= depth:
            sprout.more = bool(further)
        else:
            grown.add(_folded(sprout.point))
            sprouts += [_Sprout(point, kinds, index, sprout.depth + 1) for point, kinds in further]
        index += 1
    for sprout in reversed(sprouts[1:]):
        sprouts[sprout.parent].children.insert(0, _branch(sprout, unknown))
    return _branch(sprouts[0], unknown)


def _branch(sprout: _Sprout, unknown: Mapping[Point, str]) -> Branch:
    reason = unknown.get(sprout.point, "")
    return Branch(sprout.point, sprout.kinds, tuple(sprout.children), sprout.repeated, sprout.more, reason)


def _reached(root: Branch) -> tuple[Reached, ...]:
    found: dict[Point, Reached] = {}
    level, distance = [root], 0
    while level:
        level, distance = [child for branch in level for child in branch.children], distance + 1
        for branch in level:
            if branch.point != root.point:
                found.setdefault(branch.point, Reached(branch.point, distance, branch.kinds))
    return tuple(found.values())
