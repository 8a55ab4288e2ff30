"""What names mean at a place of a query: relations with their fields, and how a name is looked up among them.

Knows nothing of SQLGlot's trees: `expressions`, `sources` and `resolve` read those and ask here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from metalayer.core.lineage import ColumnSource, EdgeKind, strongest
from metalayer.core.names import TableName


@dataclass(frozen=True, slots=True)
class Trace:
    """The columns of tables that a value comes from, and the reason where they are not all known."""

    sources: tuple[ColumnSource, ...] = ()
    unknown: str = ""

    def through(self, kind: EdgeKind) -> Trace:
        """Return the trace of something that uses the value."""
        if kind is EdgeKind.COPY:
            return self
        return Trace(tuple(replace(s, kind=s.kind.through(kind)) for s in self.sources), self.unknown)


def union(traces: Iterable[Trace]) -> Trace:
    """Return the trace of a value made from several."""
    found = list(traces)
    if len(found) == 1:
        return found[0]
    reasons = dict.fromkeys(trace.unknown for trace in found if trace.unknown)
    return Trace(strongest(source for trace in found for source in trace.sources), "; ".join(reasons))


@dataclass(frozen=True, slots=True)
class Rest:
    """Columns that are there but not known by name, and why: those of ``tables`` less ``excluded``, or any others."""

    reason: str
    tables: tuple[TableName, ...] = ()
    excluded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a relation. ``rest`` is set, and the name ``*``, where it stands for unknown columns."""

    name: str
    trace: Trace = Trace()
    type: str | None = None
    named: bool = True
    rest: Rest | None = None


def unknown_star(reason: str, trace: Trace | None = None) -> Field:
    """Return the field that stands for columns nobody can name here."""
    return Field("*", Trace(trace.sources if trace is not None else (), reason), rest=Rest(reason))


@dataclass(frozen=True, slots=True)
class Output:
    """What a query yields, with the columns that decided which rows."""

    fields: tuple[Field, ...]
    influences: frozenset[ColumnSource] = frozenset()


@dataclass(frozen=True, slots=True)
class Relation:
    """Something in a FROM clause under its alias (lower case, empty without).

    Attributes:
        table: set for a layer's table without an alias, which ``layer.table`` qualifies too.
        hidden: columns (lower case) that USING merged into another relation's: only a qualified name finds them.
        merged: what such a column became, on the relation that shows it.
        shape: why a star over it yields other columns than its fields (PIVOT), else empty.
    """

    alias: str
    fields: tuple[Field, ...]
    table: TableName | None = None
    hidden: frozenset[str] = frozenset()
    merged: Mapping[str, Field] = field(default_factory=dict, hash=False)
    shape: str = ""

    @property
    def is_open(self) -> bool:
        """Tell whether it may have columns that are not known."""
        return bool(self.shape) or any(entry.rest is not None for entry in self.fields)

    def named(self, name: str) -> Field | None:
        """Return the field that surely has the name."""
        folded = name.lower()
        return next((entry for entry in self.fields if entry.rest is None and entry.name.lower() == folded), None)

    def shown(self, name: str) -> Field | None:
        """Return the field that an unqualified name surely finds."""
        folded = name.lower()
        return None if folded in self.hidden else self.merged.get(folded) or self.named(folded)

    def guessed(self, name: str) -> Field | None:
        """Return the field that an open relation must have if the query is right."""
        rests = [e.rest for e in self.fields if e.rest is not None and name.lower() not in e.rest.excluded]
        if len(rests) == 1 and len(rests[0].tables) == 1 and not self.shape:
            return Field(name, Trace((ColumnSource(rests[0].tables[0], name.lower(), EdgeKind.COPY),)))
        if rests or self.shape:
            reasons = dict.fromkeys([self.shape] if self.shape else [rest.reason for rest in rests])
            return Field(name, Trace((), "; ".join(reasons)))
        return None

    def star(self) -> tuple[Field, ...]:
        """Return what ``alias.*`` yields."""
        if self.shape:
            everything = union(entry.trace for entry in self.fields).through(EdgeKind.EXPRESSION)
            return (unknown_star(self.shape, everything),)
        return self.fields

    def shown_star(self) -> Iterator[Field]:
        """Yield what an unqualified ``*`` takes from it."""
        for entry in self.star():
            folded = entry.name.lower()
            if entry.rest is not None and self.hidden:
                yield replace(entry, rest=replace(entry.rest, excluded=entry.rest.excluded | self.hidden))
            elif folded not in self.hidden:
                yield self.merged.get(folded, entry) if entry.rest is None else entry


def base_table(alias: str, table: TableName, schema: Mapping[str, str | None] | None) -> Relation:
    """Return the relation of a layer's table: its columns where they are known, else one that stands for them."""
    own = table if not alias else None
    if schema is None:
        reason = f"the columns of {table} are not known"
        everything = Trace((ColumnSource(table, "*", EdgeKind.COPY),), reason)
        return Relation(alias or table.name, (Field("*", everything, rest=Rest(reason, (table,))),), own)
    fields = [Field(name, Trace((ColumnSource(table, name, EdgeKind.COPY),)), kind) for name, kind in schema.items()]
    return Relation(alias or table.name, tuple(fields), own)


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a look-up: the field, and how many of the name's parts it took; the rest are fields of a struct."""

    field: Field
    parts: int


class AmbiguousError(Exception):
    """Several relations have the column. Stays within this room, where it becomes a problem with its place."""

    def __init__(self, owners: Sequence[str]) -> None:
        super().__init__(*owners)
        self.owners = owners


@dataclass(slots=True)
class Scope:
    """The names that are visible in one SELECT. Grows while its FROM clause is read, then asks its outer scope.

    Attributes:
        ctes: what WITH names here, lower case.
        aliases: the columns of the SELECT list read so far, which later ones may use.
        windows: what named windows depend on.
        influences: the columns found so far that decide which rows there are.
        lenient: set where a NATURAL join merges columns that are not known: nothing is ambiguous then.
    """

    outer: Scope | None = None
    ctes: Mapping[str, Output] = field(default_factory=dict)
    relations: list[Relation] = field(default_factory=list)
    aliases: dict[str, Field] = field(default_factory=dict)
    windows: dict[str, Trace] = field(default_factory=dict)
    influences: set[ColumnSource] = field(default_factory=set)
    lenient: bool = False

    def inner(self, ctes: Mapping[str, Output] | None = None) -> Scope:
        """Return an empty scope within this one."""
        return Scope(self, self.ctes if ctes is None else ctes)

    def note(self, trace: Trace, kind: EdgeKind) -> None:
        """Record that columns decide which rows there are."""
        self.influences.update(source for source in trace.through(kind).sources if source.column != "*")

    def chain(self) -> Iterator[Scope]:
        """Yield this scope and those around it."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer

    def around(self) -> list[Relation]:
        """Return the relations of this scope and those around it, the nearest first."""
        return [relation for scope in self.chain() for relation in scope.relations]

    @property
    def is_closed(self) -> bool:
        """Tell whether every column that is visible is known, so that another name is a mistake."""
        return not any(relation.is_open for relation in self.around())

    def visible(self) -> list[str]:
        """Return every name that could have been meant, for "did you mean"."""
        columns = [entry.name for relation in self.around() for entry in relation.fields if entry.rest is None]
        return columns + [name for scope in self.chain() for name in scope.aliases]

    def star(self) -> tuple[Field, ...]:
        """Return what an unqualified ``*`` yields: columns merged by USING once, in the place of the left one."""
        return tuple(entry for relation in self.relations for entry in relation.shown_star())

    def find(self, parts: Sequence[str]) -> Found | None:
        """Look a dotted name up: as DuckDB does, the qualified readings first, the nearest scope first.

        Raises:
            AmbiguousError: several relations of one scope have the column.
        """
        for scope in self.chain():
            if found := _qualified(scope, parts) or _sure(scope, parts):
                return found
        # What is qualified by a relation that is there, and that surely has no such column, is no guess at another's.
        if len(parts) > 1 and any(relation.alias == parts[0].lower() for relation in self.around()):
            return None
        return next((found for scope in self.chain() if (found := _guess(scope, parts))), None)


def _qualified(scope: Scope, parts: Sequence[str]) -> Found | None:
    words = [part.lower() for part in parts]
    for relation in scope.relations:
        by_layer = relation.table is not None and words[:2] == str(relation.table).split(".")
        if len(words) > 2 and by_layer and (found := relation.named(words[2]) or relation.guessed(parts[2])):
            return Found(found, 3)
    for relation in scope.relations:
        by_alias = len(words) > 1 and relation.alias == words[0]
        if by_alias and (found := relation.named(words[1]) or relation.guessed(parts[1])):
            return Found(found, 2)
    return None


def _sure(scope: Scope, parts: Sequence[str]) -> Found | None:
    name = parts[0].lower()
    found = [(relation, entry) for relation in scope.relations if (entry := relation.shown(name)) is not None]
    if len(found) > 1 and not scope.lenient:
        raise AmbiguousError([relation.alias for relation, _ in found])
    if found:
        return Found(found[0][1], 1)
    if name in scope.aliases:
        return Found(scope.aliases[name], 1)
    whole = next((relation for relation in scope.relations if relation.alias == name), None)
    if whole is not None and len(parts) == 1 and not any(relation.is_open for relation in scope.relations):
        return Found(Field(parts[0], union(e.trace for e in whole.fields).through(EdgeKind.EXPRESSION)), 1)
    return None


def _guess(scope: Scope, parts: Sequence[str]) -> Found | None:
    able = [relation for relation in scope.relations if relation.is_open and parts[0].lower() not in relation.hidden]
    candidates = [(relation, found) for relation in able if (found := relation.guessed(parts[0])) is not None]
    if len(candidates) > 1 and not scope.lenient:
        names = ", ".join(sorted(relation.alias or "a subquery" for relation, _ in candidates))
        return Found(Field(parts[0], Trace((), f"it could be a column of any of {names}")), 1)
    return Found(candidates[0][1], 1) if candidates else None
